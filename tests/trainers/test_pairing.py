"""Comparison of two players on the same instances."""

from __future__ import annotations

import pytest

from playpen.episode import Episode
from playpen.moves import Lose, Success
from playpen_trainers.sign_test import compare, sign_test


@pytest.mark.parametrize(
    ("won", "lost", "p"),
    [(0, 0, 1.0), (1, 0, 1.0), (5, 0, 0.0625), (0, 5, 0.0625), (7, 2, 0.1796875), (3, 3, 1.0)],
)
def test_the_sign_test_is_exact(won: int, lost: int, p: float) -> None:
    assert sign_test(won, lost) == pytest.approx(p, abs=1e-12)


def test_many_instances_do_not_overflow() -> None:
    assert 0 < sign_test(1300, 1100) < 1e-4


def episodes(wins: str) -> list[Episode]:
    outcomes = {"+": Success(100), "-": Lose()}
    return [
        Episode(game="g", instance=str(number), players={}, outcome=outcomes[win])
        for number, win in enumerate(wins)
    ]


def test_wins_and_losses_are_counted_instance_by_instance() -> None:
    found = compare(episodes("+--++"), episodes("+++-+"))
    assert (found.won, found.lost) == (2, 1)
    assert found.difference == pytest.approx(0.2)


def test_other_instances_are_refused() -> None:
    with pytest.raises(ValueError, match="same instances"):
        compare(episodes("+-"), episodes("+-")[::-1])
