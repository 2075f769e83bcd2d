"""Intervals and tests, on simulated players whose true scores are known."""

from __future__ import annotations

import math
from itertools import product
from statistics import NormalDist

import numpy as np
import pytest

from playpen import statistics
from playpen.scoring import Attempts, Results
from playpen.statistics import (
    compare,
    difference_limits,
    holm,
    minimum_detectable,
    pass_at,
    permutation_test,
    score_intervals,
    score_limits,
    split_gain,
)

RUNS = 600
PERMUTATIONS = 600


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
        scores = score_intervals(simulated(rng, repeats=repeats))
        held += [one.low <= true <= one.high for one, true in zip(scores, truth, strict=True)]
    assert all(0.93 <= share <= 0.97 for share in held / RUNS), held / RUNS


def test_repeats_alone_do_not_make_an_interval_narrow() -> None:
    """Instances are the sample: ten times as many repeats tell little more."""
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


def test_intervals_need_no_chance_and_no_order() -> None:
    results = simulated(np.random.default_rng(3))
    scores = score_intervals(results)
    assert scores == score_intervals(results)
    turned = {
        name: dict(reversed(list(instances.items())))
        for name, instances in reversed(list(results.items()))
    }
    for one, other in zip(scores, score_intervals(turned), strict=True):
        assert one == pytest.approx(other)


def counted(played: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Samples x instances x columns, from samples x instances x repeats."""
    count = played.sum(axis=-1).astype(float)
    total = (played * scores).sum(axis=-1)
    return np.stack([np.full_like(count, played.shape[-1]), count, count, total], axis=-1)


@pytest.mark.parametrize(("instances", "least"), [(2, 0.99), (5, 0.93), (10, 0.94), (60, 0.93)])
def test_shares_of_one_game_are_held_whatever_they_are(instances: int, least: float) -> None:
    """Exact: every number of episodes played, with its probability, for shares of 0.1 to 99.9 %."""
    numbers = np.arange(instances + 1)
    played = (np.arange(instances) < numbers[:, None])[..., None]
    limits = score_limits([counted(played, np.full(played.shape, 100.0))], [(0, 100)])
    ways = np.array([math.comb(instances, int(number)) for number in numbers])
    for share in np.arange(0.001, 1, 0.001):
        chances = ways * share**numbers * (1 - share) ** (instances - numbers)
        for score in (0, 3):  # % played, and the same as a mean of scores of 0 and 100
            low, high = limits[:, score, 1], limits[:, score, 2]
            held = chances[(low <= 100 * share) & (100 * share <= high)].sum()
            assert held >= least, (share, held)


@pytest.mark.parametrize("games", [1, 3, 14])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.98])
@pytest.mark.parametrize("repeats", [1, 4])
def test_small_runs_are_not_surer_than_they_can_be(games: int, share: float, repeats: int) -> None:
    """Of 10 instances, difficult ones and easy ones; tests/benchmarks/intervals.py has all."""
    rng = np.random.default_rng(7)
    runs = 1000
    samples = []
    for _ in range(games):
        chances = rng.beta(share, 1 - share, (runs, 10, 1))
        scores = 100.0 * (rng.random((runs, 10, 1)) < 0.5)
        samples.append(counted(rng.random((runs, 10, repeats)) < chances, scores))
    limits = score_limits(samples, [(0, 100)] * games)
    for score, true in enumerate([100 * share, 50, 50 * share, 50 * share]):
        low, high = limits[:, score, 1], limits[:, score, 2]
        told = ~np.isnan(low)
        held = (low[told] <= true) & (true <= high[told])
        # 93 % and three standard errors of such an estimate
        assert held.mean() >= 0.93 - 3 * math.sqrt(0.93 * 0.07 / told.sum())
        assert (high[told] - low[told]).min() > 0


def test_what_is_perfect_in_all_instances_may_fail_in_others() -> None:
    for instances, low in [(12, 75), (139, 97)]:
        results = {"g": {str(n): Attempts(1, 1, 1, 100.0) for n in range(instances)}}
        for one in score_intervals(results):
            assert one.value == one.high == 100
            assert low < one.low < 100


def test_one_instance_tells_no_interval() -> None:
    scores = score_intervals({"g": {"1": Attempts(4, 3, 3, 210.0)}})
    assert [one.value for one in scores] == pytest.approx([75.0, 70.0, 52.5, 52.5])
    assert {(one.low, one.high) for one in scores} == {(None, None)}
    # Of two games with one instance each, too, nothing is known about others.
    scores = score_intervals({name: {"1": Attempts(1, 1, 1, 70.0)} for name in "ab"})
    assert {(one.low, one.high) for one in scores} == {(None, None)}
    # Where one instance alone was played, quality has no interval, and % played has one.
    results = {"g": {"1": Attempts(1, 1, 1, 70.0), "2": Attempts(1, 0, 0, 0.0)}}
    scores = score_intervals(results)
    assert scores.quality == (70, None, None) and scores.clemscore == (35, None, None)
    assert scores.played == (50, 0, 100)


def test_nothing_played_has_no_quality() -> None:
    results = {"g": {str(n): Attempts(1, 0, 0, 0.0) for n in range(20)}}
    scores = score_intervals(results)
    assert scores.quality == scores.clemscore == (None, None, None)
    for one in (scores.played, scores.unbiased):
        assert one.value == one.low == 0
        assert 5 < one.high < 20


def test_intervals_keep_to_the_range_of_the_scores() -> None:
    """A game that gives 0 to 1 is as sure as one that gives 0 to 100."""
    rng = np.random.default_rng(8)
    marks = rng.random(30)
    tables = [
        {"g": {str(n): Attempts(1, 1, 1, scale * mark) for n, mark in enumerate(marks)}}
        for scale in (1, 100)
    ]
    small, large = (
        score_intervals(table, {"g": (0, scale)}).unbiased
        for table, scale in zip(tables, (1, 100), strict=True)
    )
    assert [100 * part for part in small] == pytest.approx(list(large))
    below = {"g": {str(n): Attempts(1, 1, 1, score) for n, score in enumerate([-150.0, 40, 60])}}
    assert score_intervals(below).unbiased.low == -150  # seen, so possible
    assert score_intervals(below, {"g": (-200, 100)}).unbiased.low == -200


def test_an_aborted_episode_is_0_also_where_no_score_is() -> None:
    results = {"g": {str(n): Attempts(1, n > 2, n > 2, 4.0 * (n > 2)) for n in range(12)}}
    scores = score_intervals(results, {"g": (1, 5)})
    assert scores.unbiased.value == 3
    assert 0 < scores.unbiased.low < 3 < scores.unbiased.high < 5
    assert 1 < scores.quality.low < 4 < scores.quality.high <= 5
    silent = {"g": {str(n): Attempts(1, 0, 0, 0.0) for n in range(12)}}
    [gain] = compare(silent, results, {"g": (1, 5)})
    assert gain.difference.value == 3 and 0 < gain.difference.low < 3


def test_the_quantiles_are_students() -> None:
    quantiles = dict(zip(statistics._FREEDOM, statistics._STUDENT, strict=True))
    assert quantiles[1] == pytest.approx(math.tan(0.475 * math.pi), abs=5e-4)
    assert quantiles[2] == pytest.approx(0.95 / math.sqrt(2 * 0.975 * 0.025), abs=5e-4)
    assert quantiles[math.inf] == pytest.approx(NormalDist().inv_cdf(0.975), abs=5e-4)
    for freedom, quantile in quantiles.items():
        if 3 <= freedom < math.inf:  # the area between both by Simpson's rule
            at = np.linspace(-quantile, quantile, 2001)
            density = (1 + at**2 / freedom) ** (-(freedom + 1) / 2)
            density *= math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2))
            density /= math.sqrt(freedom * math.pi)
            weights = np.ones(2001)
            weights[1:-1:2], weights[2:-1:2] = 4, 2
            assert density @ weights * (at[1] - at[0]) / 3 == pytest.approx(0.95, abs=1e-4)


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
    found = [compare(*pairs(rng, 0.0), permutations=PERMUTATIONS)[0].p < 0.05 for _ in range(RUNS)]
    # 5 % and three standard errors of such an estimate
    assert np.mean(found) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / RUNS)
    assert np.mean(found) > 0.01


@pytest.mark.parametrize("instances", [2, 3, 5, 10, 60])
def test_the_interval_of_equal_players_holds_0(instances: int) -> None:
    rng = np.random.default_rng(9)
    for share in (0.02, 0.1, 0.5, 0.9, 0.98):
        won = [100.0 * (rng.random((2000, instances)) < share) for _ in range(2)]
        limits = difference_limits(won[1] - won[0], (0, 100))
        assert np.mean((limits[:, 1] <= 0) & (limits[:, 2] >= 0)) >= 0.93
        assert (limits[:, 2] - limits[:, 1]).min() > 0
    for _ in range(20):
        [gain] = compare(*pairs(rng, 0.0, instances), permutations=10)
        assert gain.difference.low < gain.difference.value < gain.difference.high


def test_one_pair_tells_no_more_than_a_difference() -> None:
    before, after = ({"g": {"1": Attempts(1, 1, 1, score)}} for score in (20.0, 80.0))
    [gain] = compare(before, after)
    assert gain.difference == (60, None, None)
    assert (gain.p, gain.p_holm, gain.detectable) == (None, None, None)
    # It takes no part in the correction for the number of games.
    tables = [{str(n): Attempts(1, 1, 1, score) for n in range(8)} for score in (20.0, 80.0)]
    first, second = compare(before | {"h": tables[0]}, after | {"h": tables[1]})
    assert first.p_holm is None and second.p_holm == second.p == 2 / 2**8


def test_the_detectable_difference_is_detected() -> None:
    rng = np.random.default_rng(5)
    wanted = np.mean([compare(*pairs(rng, 0.0), permutations=50)[0].detectable for _ in range(50)])
    found = [
        compare(*pairs(rng, float(wanted)), permutations=PERMUTATIONS)[0].p < 0.05
        for _ in range(RUNS)
    ]
    assert 0.75 <= np.mean(found) <= 0.87
    smaller = [
        compare(*pairs(rng, float(wanted) / 3), permutations=PERMUTATIONS)[0].p < 0.05
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


def test_a_gain_over_nothing_played_is_not_split() -> None:
    """How well it would have been played is not known, so neither is what better play gave."""
    nothing, perfect = [Attempts(1, 0, 0, 0.0)], [Attempts(1, 1, 1, 100.0)]
    assert split_gain(nothing, perfect) is None
    assert split_gain(perfect, nothing) is None
    assert split_gain(nothing, nothing) is None
    lost = [Attempts(1, 1, 1, 0.0)]
    assert split_gain(lost, perfect) == pytest.approx((0.0, 100.0))
    results = [
        {"g": {str(number): one for number, one in enumerate(4 * each)}}
        for each in (nothing, perfect)
    ]
    [gain] = compare(*results)
    assert gain.difference.value == 100 and (gain.format, gain.skill) == (None, None)


def test_what_can_be_detected_needs_two_pairs() -> None:
    assert minimum_detectable(np.array([1.0])) is None


def test_differences_that_tie_tell_nothing_of_what_can_be_detected() -> None:
    assert minimum_detectable(np.zeros(12)) is None
    assert minimum_detectable(np.full(7, 0.1)) is None
    assert minimum_detectable(np.array([0.0, 0.1])) is not None


def test_pass_at_k() -> None:
    instances = [Attempts(4, 4, 4, 0.0, 1), Attempts(4, 4, 4, 0.0, 4), Attempts(4, 4, 4, 0.0, 0)]
    assert pass_at(1, instances) == pytest.approx((0.25 + 1 + 0) / 3)
    assert pass_at(2, instances) == pytest.approx((0.5 + 1 + 0) / 3)
    assert pass_at(4, instances) == pytest.approx((1 + 1 + 0) / 3)
    with pytest.raises(ValueError, match="needs 5 episodes"):
        pass_at(5, instances)
