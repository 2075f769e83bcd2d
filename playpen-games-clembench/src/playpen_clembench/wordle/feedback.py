"""Colour feedback: how a guess is marked, written, read and measured.

See docs/rules/wordle.md, "Flow" and "Scores".
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal, TypeAlias, cast

Colour: TypeAlias = Literal["green", "yellow", "red"]
Marked: TypeAlias = list[tuple[str, Colour]]
"""The letters of a guess, each with its colour."""

_POINTS: dict[Colour, int] = {"green": 5, "yellow": 3, "red": 0}
_MARKED_LETTER = re.compile(r"(\S)<(green|yellow|red)>")


@lru_cache(maxsize=1 << 16)
def colours(guess: str, target: str) -> tuple[Colour, ...]:
    """The colour of each letter of a guess.

    Green letters come first and use up their letter of the target.  Then, from left to right, a
    letter is yellow if the target has an unused copy of it (and uses that up), else red.
    """
    marks: list[Colour] = ["red"] * len(guess)
    unused = list(target)
    for place, (letter, wanted) in enumerate(zip(guess, target, strict=False)):
        if letter == wanted:
            marks[place] = "green"
            unused.remove(letter)
    for place, letter in enumerate(guess):
        if marks[place] == "red" and letter in unused:
            marks[place] = "yellow"
            unused.remove(letter)
    return tuple(marks)


@lru_cache(maxsize=1 << 16)
def written(guess: str, marks: tuple[Colour, ...]) -> str:
    """The feedback as players see it: ``s<yellow> c<red> o<red> n<red> e<green>``."""
    return " ".join(f"{letter}<{colour}>" for letter, colour in zip(guess, marks, strict=True))


def read(feedback: str) -> Marked:
    """The inverse of `written`."""
    return cast("Marked", _MARKED_LETTER.findall(feedback))


@lru_cache(maxsize=1 << 12)
def closeness(marks: tuple[Colour, ...]) -> int:
    """5 for each green letter and 3 for each yellow one: 0 to 25 for five letters."""
    return sum(_POINTS[colour] for colour in marks)


def closeness_gain(marks: tuple[Colour, ...], before: int) -> float:
    """Change in closeness since the last guess, as a share of full marks: -1 to 1."""
    return (closeness(marks) - before) / (_POINTS["green"] * len(marks))


def strategy(previous: Marked, guess: str) -> int:
    """How a guess uses the letters of the feedback before it, whatever their positions.

    20 for each letter that was green, 10 for each that was yellow, -20 for each that was red;
    a letter with several colours counts for each of them, a repeated letter counts once.
    """
    weights: dict[Colour, int] = {"green": 20, "yellow": 10, "red": -20}
    used = set(guess)
    return sum(weights[colour] for letter, colour in set(previous) if letter in used)
