"""Comparison of two players on the same instances."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

from playpen.episode import Episode


class Comparison(NamedTuple):
    """What changed from one player to another on the same instances.

    Attributes:
        difference: in the share of won episodes.
        won, lost: instances that only the second, or only the first, has won.
        p: of the two-sided exact sign test: how likely so uneven a split is by chance.
    """

    difference: float
    won: int
    lost: int
    p: float


def compare(first: Sequence[Episode], second: Sequence[Episode]) -> Comparison:
    """Compare the outcomes of two players, instance by instance.

    Raises:
        ValueError: the episodes are not of the same instances in the same order.
    """
    if [episode.instance for episode in first] != [episode.instance for episode in second]:
        raise ValueError("the episodes are not of the same instances")
    pairs = [(x.success, y.success) for x, y in zip(first, second, strict=True)]
    won = sum(y and not x for x, y in pairs)
    lost = sum(x and not y for x, y in pairs)
    return Comparison((won - lost) / len(pairs), won, lost, sign_test(won, lost))


def sign_test(won: int, lost: int) -> float:
    """Two-sided exact sign test (McNemar's exact test) of two counts."""
    count = won + lost
    tail = sum(math.comb(count, k) for k in range(min(won, lost) + 1))
    return float(min(Fraction(1), Fraction(2 * tail, 2**count)))
