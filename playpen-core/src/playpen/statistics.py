"""How sure scores are: intervals, and whether one player is better than another.

Episodes on one instance are not independent of each other, so instances are the sample, and what is
compared (pairs).  Games are fixed: another choice of games would give other scores, which no
interval here speaks of.

An interval has four steps, which hold for every score and for differences:

1. The mean of a game is a ratio of sums over its instances (`_game`), all repeats of an instance
   together; its variance is that of a linearised ratio.
2. The average over games has the sum of the games' variances, and degrees of freedom by
   Satterthwaite (`_average`).
3. The variance is told as an effective number of instances: how many that score nothing or all
   would give the same one (Kish; Korn and Graubard 1998).  It is not taken to be smaller than what
   instances that nobody has seen may add.
4. Two imaginary instances are added, one at each end of the range (after Agresti and Coull 1998),
   and Student's t gives the limits (`_limits`).

What that covers is measured by ``tests/benchmarks/intervals.py`` and told in docs/evaluation.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import NormalDist
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from playpen.scoring import Attempts, Results

Array = NDArray[np.float64]
Ranges: TypeAlias = Mapping[str, tuple[float, float]]
"""Per game, the smallest and the largest main score."""

PERMUTATIONS = 10_000
_AT_ONCE = 1_000
"""Permutations that are worked on together, so that many instances need little memory."""
_EXACT = 16
"""Up to so many pairs all assignments of signs are tried."""
_USUAL_RANGE = (0.0, 100.0)


class Interval(NamedTuple):
    """An estimate with its 95 % confidence interval; `None` is what cannot be told."""

    value: float | None
    low: float | None
    high: float | None


class Scores(NamedTuple):
    """Scores of a run or of one of its games, in percent or points.

    No interval is told where no game has two instances that count for a score.

    Attributes:
        played: % of episodes that were not aborted.
        quality: mean main score of those that have one; `None` if none has.
        clemscore: their product, as upstream defines it; `None` without quality.
        unbiased: mean main score, where an aborted episode counts as 0, averaged over games.
    """

    played: Interval
    quality: Interval
    clemscore: Interval
    unbiased: Interval


def score_intervals(results: Results, ranges: Ranges | None = None) -> Scores:
    """Scores averaged over games, with their intervals.

    Args:
        results: at least one game with at least one instance each.
        ranges: of the games' main scores; 0 to 100 for a game that is not named.  Scores beyond
            them widen them.
    """
    games = [np.array(list(instances.values()), dtype=float) for instances in results.values()]
    ends = [
        _range_of(instances.values(), (ranges or {}).get(name, _USUAL_RANGE))
        for name, instances in results.items()
    ]
    return Scores(*(_interval(*row) for row in score_limits(games, ends)))


def score_limits(games: Sequence[Array], ranges: Sequence[tuple[float, float]]) -> Array:
    """What `score_intervals` tells, for many samples at once.

    Args:
        games: per game the counts of its instances, the fields of `Attempts` as columns:
            samples x instances x columns; without the first axis for a single sample.
        ranges: per game, the smallest and the largest main score.

    Returns:
        samples x scores x (value, low, high), in the order of `Scores`; `nan` is what cannot be
        told.
    """
    shares, qualities, values = [], [], []
    for counts, ends in zip(games, ranges, strict=True):
        episodes, not_aborted, scored, total = (counts[..., column] for column in range(4))
        shares.append(_game(100 * not_aborted, episodes, _USUAL_RANGE))
        qualities.append(_game(total, scored, ends))
        values.append(_game(total, episodes, _with_zero(ends)))
    played, quality = _average(shares), _average(qualities)
    clemscore = _product(played, quality, _covariance(shares, qualities))
    averages = (played, quality, clemscore, _average(values))
    return np.stack([_limits(average) for average in averages], axis=-2)


def _range_of(instances: Iterable[Attempts], declared: tuple[float, float]) -> tuple[float, float]:
    """The declared range, widened to the mean scores seen."""
    means = [one.total / one.scored for one in instances if one.scored]
    return min([declared[0], *means]), max([declared[1], *means])


def _with_zero(ends: tuple[float, float]) -> tuple[float, float]:
    """The range of scores where an aborted episode counts as 0."""
    return min(ends[0], 0.0), max(ends[1], 0.0)


def _interval(value: float, low: float, high: float) -> Interval:
    return Interval(*(None if math.isnan(part) else float(part) for part in (value, low, high)))


# --- intervals -----------------------------------------------------------------------------------

_IMAGINARY = 1.0
"""Instances that are added at each end of the range."""
_UNSEEN = 1.5
"""A sum over instances is taken to vary at least as if so many of them were as far off as can be.

Where all instances seen are alike, those not seen may still differ.
"""
_PRIOR = 0.5
"""Degrees of freedom with which a game's variance is drawn towards that of all games.

Two instances that happen to be alike would otherwise tell that there is no variance.
"""
_FREEDOM = np.array([1, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 60, 120, math.inf])
_STUDENT = np.array(
    [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.306, 2.228, 2.131, 2.086, 2.042, 2.000, 1.980,
     1.960]
)  # fmt: skip
"""The 97.5 % quantiles of Student's t for those degrees of freedom."""


class _Game(NamedTuple):
    """The mean of a game's instances, for each sample.

    Attributes:
        mean: of the instances that count; `nan` if none does.
        spread: variance of one instance; 0 where fewer than two count.
        instances: how many count.
        errors: how much each instance moves the mean: samples x instances.
        ends: of the range.
    """

    mean: Array
    spread: Array
    instances: Array
    errors: Array
    ends: tuple[float, float]


class _Average(NamedTuple):
    """The average over the games that have a mean, for each sample.

    Attributes:
        mean: `nan` if no game has one.
        variance: of the mean.
        freedom: degrees of freedom of the variance; 0 where it cannot be told.
        instances: that a single game would need to be known as well, were all variances alike.
        low, high: ends of the range.
        step: by how much an instance that was not seen may differ from those seen.
    """

    mean: Array
    variance: Array
    freedom: Array
    instances: Array
    low: Array
    high: Array
    step: Array


def _game(parts: Array, counts: Array, ends: tuple[float, float]) -> _Game:
    """The ratio of two sums over instances: `parts` by `counts`, both samples x instances."""
    instances = (counts > 0).sum(axis=-1).astype(float)
    whole = counts.sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = parts.sum(axis=-1) / whole
        errors = np.nan_to_num((parts - mean[..., None] * counts) / whole[..., None])
        spread = instances**2 / (instances - 1) * (errors**2).sum(axis=-1)
    return _Game(mean, np.where(instances > 1, spread, 0.0), instances, errors, ends)


def _average(games: Sequence[_Game]) -> _Average:
    """The average over games, each with the same weight."""
    instances = np.stack([game.instances for game in games], axis=-1)
    low, high = (np.array([game.ends[end] for game in games]) for end in (0, 1))
    counted = instances > 0
    number = counted.sum(axis=-1)
    freedom = np.maximum(instances - 1, 0)
    total = freedom.sum(axis=-1)
    # In units of the range, so that games with other ranges can tell something of each other.
    spread = np.stack([game.spread for game in games], axis=-1) / (high - low) ** 2
    with np.errstate(invalid="ignore", divide="ignore"):
        common = (freedom * spread).sum(axis=-1) / total
        drawn = (freedom * spread + _PRIOR * common[..., None]) / (freedom + _PRIOR)
        variances = np.where(counted, drawn * (high - low) ** 2 / instances, 0)
        known = variances.sum(axis=-1) ** 2 / (variances**2 / (freedom + _PRIOR)).sum(axis=-1)
        means = np.where(counted, np.stack([game.mean for game in games], axis=-1), 0)
        bottom, top = (np.where(counted, end, 0).sum(axis=-1) / number for end in (low, high))
        return _Average(
            mean=means.sum(axis=-1) / number,
            variance=variances.sum(axis=-1) / number**2,
            freedom=np.where(np.isnan(known), total, np.minimum(known, total)),
            instances=number**2 / np.where(counted, 1 / instances, 0).sum(axis=-1),
            low=bottom,
            high=top,
            step=top - bottom,
        )


def _covariance(first: Sequence[_Game], second: Sequence[_Game]) -> Array:
    """Of two averages over the same games: hard instances may be aborted and played badly."""
    together = np.stack(
        [(a.errors * b.errors).sum(axis=-1) for a, b in zip(first, second, strict=True)], axis=-1
    )
    counted = [np.stack([game.instances for game in games], axis=-1) for games in (first, second)]
    least = np.minimum(*counted)
    corrected = together * np.where(least > 1, least / np.maximum(least - 1, 1), 0)
    numbers = [(instances > 0).sum(axis=-1) for instances in counted]
    covariance: Array = corrected.sum(axis=-1) / np.maximum(numbers[0] * numbers[1], 1)
    return covariance


def _product(share: _Average, other: _Average, covariance: Array) -> _Average:
    """A share in percent times something else; no instance may be without a share."""
    from_share = (other.mean / 100) ** 2 * share.variance
    from_other = (share.mean / 100) ** 2 * other.variance
    both = share.variance * other.variance / 100**2
    mixed = 2 * share.mean * other.mean / 100**2 * covariance
    low, high = np.minimum(other.low, 0), np.maximum(other.high, 0)
    return _Average(
        mean=share.mean * other.mean / 100,
        variance=np.maximum(from_share + from_other + both + mixed, 0),
        freedom=np.minimum(share.freedom, other.freedom),  # of what is less well known
        instances=share.instances,
        low=low,
        high=high,
        step=high - low,
    )


def _limits(average: _Average) -> Array:
    """Mean and limits, as the last axis."""
    width = average.high - average.low
    with np.errstate(invalid="ignore", divide="ignore"):
        place = np.clip((average.mean - average.low) / width, 0, 1)
        extreme = place * (1 - place)  # the variance of instances that score nothing or all
        least = np.minimum(extreme, _UNSEEN * (average.step / width) ** 2 / average.instances)
        spread = np.maximum(average.instances * average.variance / width**2, least)
        effective = np.where(extreme > 0, average.instances * extreme / spread, average.instances)
        student = np.interp(1 / average.freedom, 1 / _FREEDOM[::-1], _STUDENT[::-1])
    number = effective + 2 * _IMAGINARY
    centre = (effective * place + _IMAGINARY) / number
    reach = student * np.sqrt(centre * (1 - centre) / (number - 1))
    low, high = (
        np.where(
            average.freedom > 0, average.low + width * np.clip(centre + side * reach, 0, 1), np.nan
        )
        for side in (-1, 1)
    )
    return np.stack([average.mean, low, high], axis=-1)


# --- comparing two players -----------------------------------------------------------------------


class Gain(NamedTuple):
    """What one player does better than another on the same instances of a game.

    `None` is what cannot be told: of one instance neither interval nor p.

    Attributes:
        game: its name.
        instances: how many both have played.
        difference: of the mean main score, an aborted episode counting as 0, with its interval.
        p: of the permutation test (two-sided): how often signs at random give so much.
        p_holm: the same, corrected for the number of games that have one (Holm).
        detectable: the difference that would be found in 80 % of such comparisons at 5 %.
        format: the part of the difference that is due to episodes that were not aborted.
        skill: the part that is due to how well those were played.
    """

    game: str
    instances: int
    difference: Interval
    p: float | None
    p_holm: float | None
    detectable: float | None
    format: float | None
    skill: float | None


def compare(
    before: Results,
    after: Results,
    ranges: Ranges | None = None,
    *,
    seed: int = 0,
    permutations: int = PERMUTATIONS,
) -> list[Gain]:
    """Compare two players game by game, on the instances that both have played.

    Args:
        before: of one player.
        after: of the other one, whose gain is told.
        ranges: of the games' main scores, as `score_intervals` takes them.
        seed: of the permutations.
        permutations: how many, where there are too many to try all.
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
        ends = _range_of([*ours, *theirs], (ranges or {}).get(game, _USUAL_RANGE))
        parts = split_gain(ours, theirs)
        gains.append(
            Gain(
                game=game,
                instances=len(common),
                difference=_interval(*difference_limits(differences, ends)),
                p=(
                    permutation_test(differences, rng=rng, permutations=permutations)
                    if len(common) > 1
                    else None
                ),
                p_holm=None,
                detectable=minimum_detectable(differences),
                format=parts and parts[0],
                skill=parts and parts[1],
            )
        )
    corrected = iter(holm([gain.p for gain in gains if gain.p is not None]))
    return [gain if gain.p is None else gain._replace(p_holm=next(corrected)) for gain in gains]


def difference_limits(differences: Array, ends: tuple[float, float]) -> Array:
    """The mean of paired differences and its limits, for many samples at once.

    Args:
        differences: samples x instances, or the instances of a single sample.
        ends: the smallest and the largest main score.

    Returns:
        samples x (value, low, high); `nan` is what cannot be told.
    """
    low, high = _with_zero(ends)
    width = high - low
    average = _average([_game(differences, np.ones_like(differences), (-width, width))])
    # From a difference of 0 an instance can go one width up or down, half of what its range is.
    return _limits(average._replace(step=np.asarray(width)))


def permutation_test(
    differences: Array, *, rng: np.random.Generator, permutations: int = PERMUTATIONS
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


def minimum_detectable(
    differences: Array, *, alpha: float = 0.05, power: float = 0.8
) -> float | None:
    """The mean difference that a paired test at `alpha` finds with this probability.

    From the spread of the differences seen (normal approximation); `None` if there is none: for
    fewer than two, or where all are the same.
    """
    if len(differences) < 2 or np.ptp(differences) == 0:
        return None
    normal = NormalDist()
    spread = float(np.std(differences, ddof=1)) / math.sqrt(len(differences))
    return (normal.inv_cdf(1 - alpha / 2) + normal.inv_cdf(power)) * spread


def split_gain(before: Sequence[Attempts], after: Sequence[Attempts]) -> tuple[float, float] | None:
    """The parts of a gain in mean main score that are due to format and to skill.

    The score is the share of episodes with a main score times their mean; each factor's part is
    its own change times the mean of the other one, so that both add up to the gain.  `None` where
    one of them has no main score at all: how well it would have played is not known.
    """
    (share, quality), (later, better) = (_factors(part) for part in (before, after))
    if quality is None or better is None:
        return None
    return (later - share) * (quality + better) / 2, (better - quality) * (share + later) / 2


def _factors(attempts: Sequence[Attempts]) -> tuple[float, float | None]:
    """Share of episodes with a main score and the mean of those, each instance weighing as much."""
    share = sum(one.scored / one.episodes for one in attempts) / len(attempts)
    value = sum(one.value for one in attempts) / len(attempts)
    return share, value / share if share else None


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
