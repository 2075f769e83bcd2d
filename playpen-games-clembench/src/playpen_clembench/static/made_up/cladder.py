"""Yes/no questions about made-up causes, with all the numbers that are needed to answer them."""

from __future__ import annotations

import random
import re
from typing import NamedTuple

from playpen import Conversation
from playpen_clembench.static.made_up.puzzles import Item, MadeUp, Puzzles


class Story(NamedTuple):
    """A cause, its effect, and what can bring about both."""

    cause: str
    effect: str
    background: str


STORIES = (
    Story("fog in the harbour", "a late ferry", "a cold night"),
    Story("a loose roof tile", "a wet attic", "a storm"),
    Story("an open gate", "a trampled flower bed", "a market day"),
    Story("a blown fuse", "a dark stairwell", "a heat wave"),
    Story("a barking dog", "a sleepless baby", "a full moon"),
    Story("a flat tyre", "a missed lecture", "a frosty morning"),
    Story("a new bell", "an early breakfast", "a feast"),
    Story("a flock of starlings", "an empty cherry tree", "a warm spring"),
)
SHARES = range(5, 96, 5)
"""How often something happens, in percent."""
PLACE = "In a made-up village"
_PERCENT = re.compile(r"(\d+)%")


def _one_cause(story: Story, with_cause: int, without: int) -> Item | None:
    if with_cause == without:
        return None
    text = (
        f"{PLACE}, {story.cause} can lead to {story.effect}, and nothing else there "
        f"leads to either of them. Of the days with {story.cause}, {with_cause}% bring "
        f"{story.effect}; of the days without, {without}% do. "
        f"Does {story.cause} make {story.effect} more likely?"
    )
    return Item(text, _answer(with_cause - without))


def _common_cause(story: Story, share: int, a: int, b: int, c: int, d: int) -> Item | None:
    effect = _effect(share, a, b, c, d)
    if effect == 0:
        return None
    text = (
        f"{PLACE}, {story.background} can lead both to {story.cause} and to "
        f"{story.effect}, and {story.cause} can lead to {story.effect}. Nothing else there leads "
        f"to any of them. There is {story.background} on {share}% of all days. On such days there "
        f"is {story.effect} on {a}% of those with {story.cause}, and on {b}% of those without it. "
        f"On the other days there is {story.effect} on {c}% of those with {story.cause}, and on "
        f"{d}% of those without it. If somebody saw to it that there was {story.cause} every day, "
        f"would there be {story.effect} more often than if somebody saw to it that there never was?"
    )
    return Item(text, _answer(effect))


def _effect(share: int, a: int, b: int, c: int, d: int) -> int:
    """How much more often the effect comes with the cause, over all days, times 10,000."""
    return share * (a - b) + (100 - share) * (c - d)


def _answer(effect: int) -> str:
    return "yes" if effect > 0 else "no"


def solve(conversation: Conversation) -> str:
    """Compare the numbers of the story; guess if it is none of ours."""
    text = conversation.last
    match [int(share) for share in _PERCENT.findall(text)] if PLACE in text else []:
        case [with_cause, without]:
            answer = _answer(with_cause - without)
        case [share, a, b, c, d]:
            answer = _answer(_effect(share, a, b, c, d))
        case _:
            answer = random.Random(conversation.seed).choice(("yes", "no"))
    return answer.capitalize()


MADE_UP = MadeUp(
    game="cladder",
    puzzles={
        "one_cause": Puzzles(_one_cause, (STORIES, range(1, 100), range(1, 100))),
        "common_cause": Puzzles(
            _common_cause, (STORIES, range(10, 91, 10), SHARES, SHARES, SHARES, SHARES)
        ),
    },
    settings={"choices": ["yes", "no"]},
)
