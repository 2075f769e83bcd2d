"""How sure scores are: intervals, and whether one player is better than another.

Episodes on one instance are not independent of each other, so instances are what is drawn anew
(bootstrap clustered by instance), and what is compared (pairs).  Games are fixed: another choice of
games would give other scores, which no interval here covers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from playpen.scoring import Attempts, Results

Array = NDArray[np.float64]

RESAMPLES = 10_000
LEVEL = 0.95
_AT_ONCE = 1_000
"""Resamples that are worked on together, so that many instances need little memory."""
_EXACT = 16
"""Up to so many pairs all assignments of signs are tried."""


class Interval(NamedTuple):
    """An estimate with its confidence interval."""

    value: float
    low: float
    high: float


class Scores(NamedTuple):
    """Scores of a run or of one of its games, in percent or points.

    Attributes:
        played: % of episodes that were not aborted.
        quality: mean main score of those that have one.
        clemscore: their product, as upstream defines it.
        unbiased: mean main score, where an aborted episode counts as 0, averaged over games.
    """

    played: Interval
    quality: Interval
    clemscore: Interval
    unbiased: Interval


def score_intervals(
    results: Results, *, seed: int = 0, resamples: int = RESAMPLES, level: float = LEVEL
) -> Scores:
    """Scores averaged over games, with bootstrap intervals (percentiles).

    Args:
        results: at least one game with at least one instance each.
        seed: of the resampling.
        resamples: how often instances are drawn anew, with replacement, game by game.
        level: of confidence.
    """
    games = [np.array(list(instances.values()), dtype=float) for instances in results.values()]
    exact = _averages(np.stack([counts.sum(axis=0) for counts in games])[None])[0]
    rng = np.random.default_rng(seed)
    parts = []
    for begin in range(0, resamples, _AT_ONCE):
        count = min(_AT_ONCE, resamples - begin)
        sums = [_resampled(counts, count, rng) for counts in games]
        parts.append(_averages(np.stack(sums, axis=1)))
    drawn = np.concatenate(parts)
    tail = (1 - level) / 2
    low, high = (_quantiles(drawn, at) for at in (tail, 1 - tail))
    return Scores(
        *(Interval(*map(float, numbers)) for numbers in zip(exact, low, high, strict=True))
    )


def _quantiles(drawn: Array, at: float) -> Array:
    """The quantile of each column, without the draws that have no number; `nan` if none has."""
    columns = (column[~np.isnan(column)] for column in drawn.T)
    return np.array([np.quantile(c, at) if len(c) else np.nan for c in columns])


def _resampled(counts: Array, resamples: int, rng: np.random.Generator) -> Array:
    """Sums of the counts over instances that were drawn anew: resamples x columns."""
    size = len(counts)
    drawn = rng.multinomial(size, np.full(size, 1 / size), size=resamples)
    sums: Array = drawn.astype(float) @ counts
    return sums


def _averages(sums: Array) -> Array:
    """The four scores: resamples x games x columns of sums to resamples x scores.

    A game without any main score counts in the first average and not in the second
    (docs/rules/clemscore.md, "Over games").
    """
    episodes, played, scored, total = (sums[..., column] for column in range(4))
    share = 100 * (played / episodes).mean(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        qualities = np.where(scored > 0, total / scored, 0)
        quality = qualities.sum(axis=-1) / (scored > 0).sum(axis=-1)  # nan if no game has one
    clemscore = share * np.nan_to_num(quality) / 100
    unbiased = (total / episodes).mean(axis=-1)
    return np.stack([share, quality, clemscore, unbiased], axis=-1)


# --- comparing two players -----------------------------------------------------------------------


class Gain(NamedTuple):
    """What one player does better than another on the same instances of a game.

    Attributes:
        game: its name.
        instances: how many both have played.
        difference: of the mean main score, an aborted episode counting as 0, with its interval.
        p: of the permutation test (two-sided): how often signs at random give so much.
        p_holm: the same, corrected for the number of games (Holm).
        detectable: the difference that would be found in 80 % of such comparisons at 5 %.
        format: the part of the difference that is due to episodes that were not aborted.
        skill: the part that is due to how well those were played.
    """

    game: str
    instances: int
    difference: Interval
    p: float
    p_holm: float
    detectable: float
    format: float
    skill: float


def compare(
    before: Results,
    after: Results,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> list[Gain]:
    """Compare two players game by game, on the instances that both have played.

    Args:
        before: of one player.
        after: of the other one, whose gain is told.
        seed: of resampling and permutations.
        resamples: number of both.
        level: of confidence.
    """
    gains = []
    rng = np.random.default_rng(seed)
    for game in sorted(before.keys() & after.keys()):
        common = sorted(before[game].keys() & after[game].keys())
        if not common:
            continue
        ours = [before[game][instance] for instance in common]
        theirs = [after[game][instance] for instance in common]
        differences = np.array(
            [b.value - a.value for a, b in zip(ours, theirs, strict=True)], dtype=float
        )
        means = _bootstrap_means(differences, rng, resamples)
        tail = (1 - level) / 2
        low, high = np.quantile(means, [tail, 1 - tail])
        form, skill = split_gain(ours, theirs)
        gains.append(
            Gain(
                game=game,
                instances=len(common),
                difference=Interval(float(differences.mean()), float(low), float(high)),
                p=permutation_test(differences, rng=rng, permutations=resamples),
                p_holm=math.nan,
                detectable=minimum_detectable(differences),
                format=form,
                skill=skill,
            )
        )
    corrected = holm([gain.p for gain in gains])
    return [gain._replace(p_holm=p) for gain, p in zip(gains, corrected, strict=True)]


def _bootstrap_means(values: Array, rng: np.random.Generator, resamples: int) -> Array:
    means = []
    for begin in range(0, resamples, _AT_ONCE):
        count = min(_AT_ONCE, resamples - begin)
        means.append(_resampled(values[:, None], count, rng)[:, 0] / len(values))
    return np.concatenate(means)


def permutation_test(
    differences: Array, *, rng: np.random.Generator, permutations: int = RESAMPLES
) -> float:
    """How often the mean is as far from 0 if the sign of each difference is a matter of chance.

    All assignments of signs are tried if there are few differences; else so many at random, the
    one that was found included, so that the result is never 0.
    """
    moved = differences[differences != 0]
    if not len(moved):
        return 1.0
    observed = abs(moved.sum()) * (1 - 1e-12)  # sums in another order may differ in the last digit
    if len(moved) <= _EXACT:
        numbers = np.arange(2 ** len(moved))
        signs = 1.0 - 2.0 * ((numbers[:, None] >> np.arange(len(moved))) & 1)
        return float(np.mean(np.abs(signs @ moved) >= observed))
    extreme = 0
    for begin in range(0, permutations, _AT_ONCE):
        count = min(_AT_ONCE, permutations - begin)
        signs = rng.integers(0, 2, size=(count, len(moved))) * 2.0 - 1.0
        extreme += int(np.sum(np.abs(signs @ moved) >= observed))
    return (1 + extreme) / (1 + permutations)


def holm(values: Sequence[float]) -> list[float]:
    """p-values corrected for their number (Holm 1979), in their order."""
    corrected = [0.0] * len(values)
    least = 0.0
    for rank, place in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        least = max(least, min(1.0, (len(values) - rank) * values[place]))
        corrected[place] = least
    return corrected


def minimum_detectable(differences: Array, *, alpha: float = 0.05, power: float = 0.8) -> float:
    """The mean difference that a paired test at `alpha` finds with this probability.

    From the spread of the differences seen (normal approximation); `nan` for fewer than two.
    """
    if len(differences) < 2:
        return math.nan
    normal = NormalDist()
    spread = float(np.std(differences, ddof=1)) / math.sqrt(len(differences))
    return (normal.inv_cdf(1 - alpha / 2) + normal.inv_cdf(power)) * spread


def split_gain(before: Sequence[Attempts], after: Sequence[Attempts]) -> tuple[float, float]:
    """The parts of a gain in mean main score that are due to format and to skill.

    The score is the share of episodes with a main score times their mean; each factor's part is
    its own change times the mean of the other one, so that both add up to the gain.
    """
    (share, quality), (later, better) = (_factors(part) for part in (before, after))
    return (later - share) * (quality + better) / 2, (better - quality) * (share + later) / 2


def _factors(attempts: Sequence[Attempts]) -> tuple[float, float]:
    """Share of episodes with a main score and the mean of those, each instance weighing as much."""
    share = sum(one.scored / one.episodes for one in attempts) / len(attempts)
    value = sum(one.value for one in attempts) / len(attempts)
    return share, value / share if share else 0.0


# --- repeats -------------------------------------------------------------------------------------


def pass_at(k: int, instances: Sequence[Attempts]) -> float:
    """Probability that at least one of k episodes on an instance is won, averaged over instances.

    The unbiased estimator: from c wins in n episodes, ``1 - C(n - c, k) / C(n, k)``.

    Raises:
        ValueError: an instance has fewer than k episodes.
    """
    total = 0.0
    for one in instances:
        episodes, won = round(one.episodes), round(one.won)
        if episodes < k:
            raise ValueError(f"pass@{k} needs {k} episodes on each instance, not {episodes}")
        total += 1 - math.comb(episodes - won, k) / math.comb(episodes, k)
    return total / len(instances)
