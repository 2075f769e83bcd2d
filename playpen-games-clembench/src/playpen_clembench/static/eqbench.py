"""The rules of EQ-Bench: say how strongly a person in a dialogue feels four emotions."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from functools import partial

from playpen import Instance, Lose, Note, Play, Success, Violation, ask
from playpen_clembench.static.single_turn import ANSWERER, SingleTurn

STRONGEST = 10
MOST_DIGITS = 100
"""Longer numbers are not converted, however many of their digits are zeros in front."""

# The rating is optional, so that a word without one is passed over in one step.
_RATING = re.compile(r"(\w+)(?::\s+(\d+))?")


class EqBench(SingleTurn):
    """Rate four emotions; the closer the ratings, the better, but only exact ones succeed."""

    name = "eqbench"
    generator = "playpen_clembench.static.made_up.eqbench:MADE_UP"
    oracles = {ANSWERER: "playpen_clembench.static.made_up.eqbench:solve"}
    score_range = (-200, 100)

    def play(self, instance: Instance) -> Play:
        """One dialogue, four ratings."""
        target = instance["target"]
        ratings = yield from ask(ANSWERER, instance["input"], partial(read_ratings, target))
        yield Note("parsed", ratings)
        yield Note("target", target)
        if ratings == target:
            return Success()
        return Lose(closeness(ratings, target), fault=ANSWERER)


def read_ratings(target: Mapping[str, int], reply: str) -> dict[str, int]:
    """Emotion to rating, in the order in which the emotions are first named.

    Every `word: number` of the reply counts as a rating; of several for one word the last does.
    """
    rated: dict[str, str] = {}
    for match in _RATING.finditer(reply):
        if match[2] is None:
            continue
        rated[match[1]] = match[2]
        if len(rated) > len(target):
            raise Violation("unknown_emotion", "the reply rates more than was asked for")
    if rated.keys() != target.keys():
        raise Violation("missing_emotion", "the reply does not rate each of the emotions")
    if any(len(digits) > MOST_DIGITS for digits in rated.values()):
        raise Violation("out_of_range", f"a rating has more than {MOST_DIGITS} digits")
    ratings = {name: int(digits) for name, digits in rated.items()}
    if not any(ratings.values()):
        raise Violation("nothing_felt", "no rating is greater than 0")
    if max(ratings.values()) > STRONGEST:
        raise Violation("out_of_range", f"a rating is greater than {STRONGEST}")
    return ratings


def closeness(ratings: Mapping[str, int], target: Mapping[str, int]) -> float:
    """The main score: 100 for exact ratings, down to about -199 (docs/rules/static.md, "Scores").

    Summed in the order of the ratings, as upstream does, to agree to the last bit.
    """
    penalty: float = 0
    for name, rating in ratings.items():
        penalty += _penalty(abs(rating - target[name]))
    return (10 - 0.7477 * penalty) * 10


def _penalty(distance: int) -> float:
    """Small distances count less than their size: the logistic curve leads up to 5."""
    if distance == 0 or distance > 5:
        return distance
    # Not math.exp, which differs in the last bit.
    growth: float = math.e ** (-1.2 * (distance - 4))
    return 6.5 * (1 / (1 + growth))
