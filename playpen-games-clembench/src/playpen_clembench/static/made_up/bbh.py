"""Small exercises with one exact answer: words to sort, a number to follow."""

from __future__ import annotations

import operator
import re

from playpen import Conversation
from playpen_clembench.static.made_up.puzzles import Item, MadeUp, Puzzles

WORDS = (
    *("anchor", "basket", "candle", "copper", "daisy", "engine", "feather", "fiddle"),
    *("garden", "hammer", "island", "jacket", "kettle", "ladder", "lantern", "mirror"),
    *("needle", "orchard", "paddle", "pepper", "quiver", "ribbon", "saddle", "silver"),
    *("thimble", "timber", "umbrella", "velvet", "whistle", "yarrow"),
)
STEPS = {"add": operator.add, "subtract": operator.sub, "multiply by": operator.mul}
AMOUNTS = tuple(
    f"{step} {amount}"
    for step, amounts in zip(STEPS, (range(2, 30), range(2, 30), range(2, 6)), strict=True)
    for amount in amounts
)

_LIST = re.compile(r"Sort these words by the alphabet, with one space between them: ([a-z ]+)\.")
_START = re.compile(r"Take the number (\d+)\.")
_STEP = re.compile(rf"({'|'.join(STEPS)}) (\d+)")


def _sorted_words(*words: str) -> Item | None:
    if len(set(words)) < len(words):
        return None
    text = f"Sort these words by the alphabet, with one space between them: {' '.join(words)}."
    return Item(text, " ".join(sorted(words)))


def _running_number(start: int, first: str, second: str, third: str) -> Item:
    text = f"Take the number {start}. First {first}, then {second}, and last {third}. What is left?"
    return Item(text, _followed(text))


def _followed(text: str) -> str:
    start = _START.search(text)
    number = int(start[1]) if start else 0
    for step, amount in _STEP.findall(text):
        number = STEPS[step](number, int(amount))
    return str(number)


def solve(conversation: Conversation) -> str:
    """Sort or compute; choose the first option of other questions."""
    text = conversation.last
    if words := _LIST.search(text):
        return " ".join(sorted(words[1].split()))
    return _followed(text) if _START.search(text) else "(A)"


MADE_UP = MadeUp(
    game="bbh",
    puzzles={
        "sorted_words": Puzzles(_sorted_words, (WORDS,) * 5),
        "running_number": Puzzles(_running_number, (range(2, 50), AMOUNTS, AMOUNTS, AMOUNTS)),
    },
    settings={},
)
