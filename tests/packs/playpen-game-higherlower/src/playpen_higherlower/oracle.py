"""A program that plays perfectly: for tests, demonstrations and upper bounds."""

from __future__ import annotations

import re

from playpen import Conversation


def guesser(conversation: Conversation) -> str:
    """Binary search.  Like a model, it knows only what the guesser was told."""
    told = " ".join(m.content for m in conversation.messages if m.role == "user")

    def numbers(words: str) -> list[int]:
        return [int(number) for number in re.findall(rf"{words} (\d+)", told)]

    low = max([1, *(number + 1 for number in numbers("higher than"))])
    high = min([*numbers("between 1 and"), *(number - 1 for number in numbers("lower than"))])
    return str((low + high) // 2)
