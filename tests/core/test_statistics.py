"""Intervals and tests, on simulated players whose true scores are known."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest

from playpen.scoring import Attempts, Results
from playpen.statistics import (
    compare,
    holm,
    minimum_detectable,
    pass_at,
    permutation_test,
    score_intervals,
    split_gain,
)

RUNS = 600
RESAMPLES = 600


def simulated(
    rng: np.random.Generator,
    *,
    played: float = 0.8,
    quality: float = 60.0,
    spread: float = 20.0,
    instances: int = 60,
    repeats: int = 1,
    games: int = 2,
) -> Results:
    """A player whose instances differ in difficulty: its repeats on one are alike."""
    found: dict[str, dict[str, Attempts]] = {}
    for game in range(games):
        table = found[f"g{game}"] = {}
        for number in range(instances):
            mean = quality + rng.normal(0, spread)
            ok = rng.random(repeats) < played
            scores = mean + rng.normal(0, 5, repeats)
            table[str(number)] = Attempts(
                repeats, float(ok.sum()), float(ok.sum()), float(scores[ok].sum()), 0
            )
    return found


@pytest.mark.parametrize("repeats", [1, 4])
def test_intervals_hold_the_truth_as_often_as_they_say(repeats: int) -> None:
    rng = np.random.default_rng(1)
    held = np.zeros(4)
    truth = [80.0, 60.0, 48.0, 48.0]
    for _ in range(RUNS):
        scores = score_intervals(simulated(rng, repeats=repeats), resamples=RESAMPLES)
        held += [one.low <= true <= one.high for one, true in zip(scores, truth, strict=True)]
    assert all(0.93 <= share <= 0.97 for share in held / RUNS), held / RUNS


def test_repeats_alone_do_not_make_an_interval_narrow() -> None:
    """Instances are what is drawn anew: ten times as many repeats tell little more."""
    rng = np.random.default_rng(2)
    widths = []
    for repeats in (4, 40):
        quality = score_intervals(simulated(rng, repeats=repeats)).quality
        widths.append(quality.high - quality.low)
    assert widths[1] > 0.8 * widths[0]


def test_the_scores_are_upstreams() -> None:
    results = {
        "a": {"1": Attempts(2, 1, 1, 50.0), "2": Attempts(2, 2, 2, 150.0)},
        "b": {"1": Attempts(2, 0, 0, 0.0)},
    }
    scores = score_intervals(results)
    assert scores.played.value == pytest.approx(37.5)
    assert scores.quality.value == pytest.approx(200 / 3)  # game b has none
    assert scores.clemscore.value == pytest.approx(25.0)
    assert scores.unbiased.value == pytest.approx((50 + 0) / 2)
    for one in scores:
        assert one.low <= one.value <= one.high


def test_the_same_seed_gives_the_same_interval() -> None:
    results = simulated(np.random.default_rng(3))
    assert score_intervals(results, seed=1) == score_intervals(results, seed=1)
    assert score_intervals(results, seed=1) != score_intervals(results, seed=2)


# --- comparing -----------------------------------------------------------------------------------


def pairs(rng: np.random.Generator, gain: float, instances: int = 50) -> tuple[Results, Results]:
    """Two players on the same instances, the second better by so much."""
    difficulty = rng.normal(50, 25, instances)
    first, second = (
        {
            "g": {
                str(n): Attempts(1, 1, 1, float(value))
                for n, value in enumerate(difficulty + rng.normal(shift, 10, instances))
            }
        }
        for shift in (0.0, gain)
    )
    return first, second


def test_equal_players_rarely_seem_to_differ() -> None:
    rng = np.random.default_rng(4)
    found = [compare(*pairs(rng, 0.0), resamples=RESAMPLES)[0].p < 0.05 for _ in range(RUNS)]
    # 5 % and three standard errors of such an estimate
    assert np.mean(found) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / RUNS)
    assert np.mean(found) > 0.01


def test_the_detectable_difference_is_detected() -> None:
    rng = np.random.default_rng(5)
    wanted = np.mean([compare(*pairs(rng, 0.0), resamples=50)[0].detectable for _ in range(50)])
    found = [
        compare(*pairs(rng, float(wanted)), resamples=RESAMPLES)[0].p < 0.05 for _ in range(RUNS)
    ]
    assert 0.75 <= np.mean(found) <= 0.87
    smaller = [
        compare(*pairs(rng, float(wanted) / 3), resamples=RESAMPLES)[0].p < 0.05
        for _ in range(RUNS)
    ]
    assert np.mean(smaller) < 0.3


def test_only_common_instances_are_compared() -> None:
    before = {"g": {"1": Attempts(1, 1, 1, 50.0), "2": Attempts(1, 1, 1, 0.0)}, "x": {}}
    after = {"g": {"1": Attempts(1, 1, 1, 80.0), "3": Attempts(1, 1, 1, 99.0)}, "y": {}}
    [gain] = compare(before, after)
    assert (gain.game, gain.instances) == ("g", 1)
    assert gain.difference.value == pytest.approx(30.0)


def test_few_pairs_are_tested_exactly() -> None:
    rng = np.random.default_rng(6)
    differences = np.array([3.0, 1.0, 2.0, -1.0, 4.0])
    sums = [
        abs(sum(s * d for s, d in zip(signs, differences, strict=True)))
        for signs in product((1, -1), repeat=5)
    ]
    expected = sum(total >= 9 for total in sums) / 32
    assert permutation_test(differences, rng=rng) == pytest.approx(expected)
    assert permutation_test(np.zeros(5), rng=rng) == 1.0
    many = np.ones(40)
    assert permutation_test(many, rng=rng, permutations=999) == pytest.approx(1 / 1000)


def test_holm() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_a_gain_is_split_into_format_and_skill() -> None:
    before = [Attempts(1, 1, 1, 40.0), Attempts(1, 0, 0, 0.0)]
    only_format = [Attempts(1, 1, 1, 40.0), Attempts(1, 1, 1, 40.0)]
    only_skill = [Attempts(1, 1, 1, 60.0), Attempts(1, 0, 0, 0.0)]
    both = [Attempts(1, 1, 1, 60.0), Attempts(1, 1, 1, 60.0)]
    assert split_gain(before, only_format) == pytest.approx((20.0, 0.0))
    assert split_gain(before, only_skill) == pytest.approx((0.0, 10.0))
    assert sum(split_gain(before, both)) == pytest.approx(40.0)
    assert split_gain([Attempts(1, 0, 0, 0.0)], both) == pytest.approx((30.0, 30.0))


def test_what_can_be_detected_needs_two_pairs() -> None:
    assert math.isnan(minimum_detectable(np.array([1.0])))


def test_pass_at_k() -> None:
    instances = [Attempts(4, 4, 4, 0.0, 1), Attempts(4, 4, 4, 0.0, 4), Attempts(4, 4, 4, 0.0, 0)]
    assert pass_at(1, instances) == pytest.approx((0.25 + 1 + 0) / 3)
    assert pass_at(2, instances) == pytest.approx((0.5 + 1 + 0) / 3)
    assert pass_at(4, instances) == pytest.approx((1 + 1 + 0) / 3)
    with pytest.raises(ValueError, match="needs 5 episodes"):
        pass_at(5, instances)
