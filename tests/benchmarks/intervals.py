"""How often the 95 % intervals hold the truth, on simulated players whose true scores are known.

Targets: at least 93.0 % of intervals hold it from 10 instances on and 90 % at 5; every interval has
a width; with 60 instances they are at most 1.15 times as wide as those of a bootstrap.  Beside ours
stands that bootstrap: percentiles, instances drawn anew, as Playpen had it before.

A player is simulated by the share of episodes that it does not abort, the same in all games or
("mixed") going through all shares, and by its scores in the others (`SCORES`).  Instances differ in
difficulty, so that repeats on one resemble each other.  Quality and clemscore are held to the
average over those games of which something was played, as they are defined.  What has no interval
is left out, and counted.

Of thousands of players some miss a target by the chance of the simulation.  Those are simulated
again, ten times as often and from another seed, and judged by that: a target is missed if the
coverage is under it by more than two standard errors of the simulation.

    nice python tests/benchmarks/intervals.py [--simulations 1500] [--json FILE]
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from playpen.statistics import difference_limits, score_limits

Array = NDArray[np.float64]
Generator = np.random.Generator

INSTANCES = (2, 5, 10, 20, 60)
SHARES = (0.02, 0.1, 0.5, 0.9, 0.98)
GAMES = (1, 3, 14)
REPEATS = (1, 2, 4)
KINDS = ("% played", "quality", "clemscore", "unbiased")
ENDS = (0.0, 100.0)

COVERAGE = {5: 0.90, 10: 0.93, 20: 0.93, 60: 0.93}
WIDTH = 1.15
MANY = 60
"""With so many instances widths are compared."""
_BATCH = 500
_RESAMPLES = 400
_TOLERANCE = 1e-9


class ScoreKind(NamedTuple):
    """How an episode that was not aborted is scored.

    Attributes:
        draw: from the generator, the instances' shares (simulations x instances) and the number of
            repeats to scores (simulations x instances x repeats).
        mean: from the share of episodes played to the mean score of those.
        wide: whether widths are compared: the bootstrap, too, sees how much scores differ.
    """

    draw: Callable[[Generator, Array, int], Array]
    mean: Callable[[float], float]
    wide: bool


def difficulty(rng: Generator, share: float, shape: tuple[int, ...]) -> Array:
    """Shares of single instances: half of their variance is between instances."""
    shares: Array = rng.beta(share, 1 - share, shape)
    return shares


def won_or_lost(share: float) -> ScoreKind:
    """100 or 0; so many are won."""

    def draw(rng: Generator, instances: Array, repeats: int) -> Array:
        chances = difficulty(rng, share, instances.shape)[..., None]
        won: Array = np.where(rng.random((*instances.shape, repeats)) < chances, 100.0, 0.0)
        return won

    return ScoreKind(draw, lambda _: 100 * share, wide=0.1 <= share <= 0.9)


def _tries(rng: Generator, instances: Array, repeats: int) -> Array:
    tries = rng.choice(4, p=[0.15, 0.15, 0.2, 0.5], size=(*instances.shape, repeats))
    return np.array([100.0, 50.0, 100 / 3, 0.0])[tries]


def _graded(rng: Generator, instances: Array, repeats: int) -> Array:
    scores = 100 * rng.beta(3, 2, instances.shape)
    return np.repeat(scores[..., None], repeats, axis=-1)


def _hard(rng: Generator, instances: Array, repeats: int) -> Array:
    middle = 0.4 + 0.4 * instances
    scores = 100 * rng.beta(3 * middle, 3 * (1 - middle))
    return np.repeat(scores[..., None], repeats, axis=-1)


def _same(rng: Generator, instances: Array, repeats: int) -> Array:
    return np.full((*instances.shape, repeats), 60.0)


SCORES = {
    "2 % won": won_or_lost(0.02),
    "10 % won": won_or_lost(0.1),
    "50 % won": won_or_lost(0.5),
    "98 % won": won_or_lost(0.98),
    "100, 50, 33 or 0": ScoreKind(_tries, lambda _: 15 + 7.5 + 20 / 3, wide=True),
    "any number": ScoreKind(_graded, lambda _: 60.0, wide=True),
    "worse where often aborted": ScoreKind(
        # the mean of an instance's share, weighted by that share, is (1 + share) / 2
        _hard, lambda share: 40 + 40 * (1 + share) / 2, wide=True
    ),
    "always 60": ScoreKind(_same, lambda _: 60.0, wide=False),
}  # fmt: skip
"""How episodes that are not aborted are scored."""


class Player(NamedTuple):
    """Who is simulated.

    Attributes:
        instances: per game.
        games: how many; 0 if a second player is compared, in one game.
        repeats: of every instance.
        share: of episodes that are not aborted; `None` for all shares by turns.
        scores: name of the kind in `SCORES`.
        kept: the part of the episodes played that the second player plays as well.
    """

    instances: int
    games: int
    repeats: int
    share: float | None
    scores: str
    kept: float = 1.0

    def shares(self) -> list[float]:
        """Of each game."""
        if self.share is not None:
            return [self.share] * max(self.games, 1)
        return [SHARES[number % len(SHARES)] for number in range(self.games)]


class Cell(NamedTuple):
    """How the intervals of one score of a player did.

    Attributes:
        player: who was simulated.
        kind: of score, or "difference".
        coverage: the part of the intervals that hold the truth.
        bootstrap: the same of the bootstrap's.
        untold: the part of simulations without an interval.
        narrowest: the smallest width.
        width: the mean width by that of the bootstrap; `None` where they are not compared.
        draws: number of intervals.
    """

    player: Player
    kind: str
    coverage: float
    bootstrap: float
    untold: float
    narrowest: float
    width: float | None
    draws: int

    @property
    def error(self) -> float:
        """The standard error of the coverage, by the number of simulations."""
        return math.sqrt(self.coverage * (1 - self.coverage) / self.draws)

    def misses(self, errors: float) -> bool:
        """Whether it misses a target, its coverage by more than so many standard errors."""
        wanted = COVERAGE.get(self.player.instances, 0.0)
        short = self.coverage + errors * self.error < wanted
        return short or self.narrowest <= 0 or (self.width or 0) > WIDTH


class Tally:
    """Counts of one cell over batches."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.told = self.held = self.simulated = 0
        self.bootstrapped = self.bootstrap_held = 0
        self.narrowest = float("inf")
        self.widths: list[Array] = []
        self.bootstrap_widths: list[Array] = []

    def add(self, limits: Array, truth: Array, bootstrap: Array | None) -> None:
        """Count a batch: value and limits, what is true, and the bootstrap's limits."""
        told = ~np.isnan(limits[:, 1])
        low, high = limits[told, 1], limits[told, 2]
        self.simulated += len(told)
        self.told += int(told.sum())
        self.held += _holds(low, high, truth[told])
        if told.any():
            self.narrowest = min(self.narrowest, float((high - low).min()))
        if bootstrap is None:
            return
        both = np.flatnonzero(told[: len(bootstrap)])
        low, high = bootstrap[both].T
        self.bootstrapped += len(both)
        self.bootstrap_held += _holds(low, high, truth[both])
        self.bootstrap_widths.append(high - low)
        self.widths.append(limits[both, 2] - limits[both, 1])

    def cell(self, player: Player, kind: str) -> Cell:
        """What was counted."""
        width = None
        if is_compared(player, kind):
            ours, others = (np.concatenate(part) for part in (self.widths, self.bootstrap_widths))
            width = float(ours.mean() / others.mean())
        return Cell(
            player,
            kind,
            coverage=self.held / self.told if self.told else math.nan,
            bootstrap=self.bootstrap_held / self.bootstrapped if self.bootstrapped else math.nan,
            untold=1 - self.told / self.simulated,
            narrowest=self.narrowest,
            width=width,
            draws=self.told,
        )


def _holds(low: Array, high: Array, truth: Array) -> int:
    return int(((low <= truth + _TOLERANCE) & (truth - _TOLERANCE <= high)).sum())


def simulated(
    rng: Generator, size: int, instances: int, share: float, repeats: int, kind: ScoreKind
) -> Array:
    """What a player did in a game: simulations x instances x columns, as `Attempts` has them."""
    chances = difficulty(rng, share, (size, instances))
    played = rng.random((size, instances, repeats)) < chances[..., None]
    total = (kind.draw(rng, chances, repeats) * played).sum(axis=-1)
    count = played.sum(axis=-1).astype(float)
    return np.stack([np.full_like(total, repeats), count, count, total], axis=-1)


def bootstrap_of_scores(rng: Generator, games: Sequence[Array]) -> Array:
    """Percentiles of the scores of instances drawn anew: simulations x scores x limits."""
    sums = []
    for counts in games:
        size = counts.shape[-2]
        drawn = rng.multinomial(size, np.full(size, 1 / size), size=_RESAMPLES).astype(float)
        sums.append(np.tensordot(drawn, counts, axes=(1, 1)))
    episodes, played, scored, total = np.moveaxis(np.stack(sums, axis=2), -1, 0)
    share = 100 * (played / episodes).mean(axis=-1)
    qualities = np.divide(total, scored, out=np.zeros_like(total), where=scored > 0)
    having = (scored > 0).sum(axis=-1)
    quality = np.divide(
        qualities.sum(axis=-1), having, out=np.full(having.shape, np.nan), where=having > 0
    )
    clemscore = share * np.nan_to_num(quality) / 100
    unbiased = (total / episodes).mean(axis=-1)
    quality = np.where(np.isnan(quality), np.nanmedian(quality), quality)
    scores = np.stack([share, quality, clemscore, unbiased], axis=-1)
    return np.moveaxis(np.quantile(scores, [0.025, 0.975], axis=0), 0, -1)


def bootstrap_of_differences(rng: Generator, differences: Array) -> Array:
    """The same of mean differences: simulations x limits."""
    size = differences.shape[-1]
    drawn = rng.multinomial(size, np.full(size, 1 / size), size=_RESAMPLES) / size
    limits: Array = np.quantile(drawn @ differences.T, [0.025, 0.975], axis=0).T
    return limits


def players() -> Iterator[Player]:
    """All that are simulated."""
    for instances, games, repeats, scores in itertools.product(INSTANCES, GAMES, REPEATS, SCORES):
        for share in (*SHARES, None) if games > 1 else SHARES:
            yield Player(instances, games, repeats, share, scores)
    for instances, repeats, scores, share, kept in itertools.product(
        INSTANCES, REPEATS, SCORES, SHARES, (1.0, 0.5)
    ):
        yield Player(instances, 0, repeats, share, scores, kept)


def cells_of(player: Player, rng: Generator, simulations: int) -> list[Cell]:
    """Simulate a player."""
    batch = difference_batch if player.kept < 1 or not player.games else scores_batch
    tallies: dict[str, Tally] = {}
    for begin in range(0, simulations, _BATCH):
        size = min(_BATCH, simulations - begin)
        resampled = _BATCH // 2 if begin == 0 else 0
        for kind, limits, truth, bootstrap in batch(player, rng, size, resampled):
            tallies.setdefault(kind, Tally()).add(limits, truth, bootstrap)
    return [tally.cell(player, kind) for kind, tally in tallies.items()]


Batch = Iterator[tuple[str, Array, Array, Array | None]]
"""Per score: value and limits, what is true, and the bootstrap's limits for the first ones."""


def scores_batch(player: Player, rng: Generator, size: int, resampled: int) -> Batch:
    """The four scores."""
    kind = SCORES[player.scores]
    shares = np.array(player.shares())
    means = np.array([kind.mean(share) for share in shares])
    games = [
        simulated(rng, size, player.instances, share, player.repeats, kind) for share in shares
    ]
    having = np.stack([counts[..., 2].sum(axis=-1) > 0 for counts in games], axis=-1)
    played = np.full(size, 100 * shares.mean())
    quality = (having * means).sum(axis=-1) / np.maximum(having.sum(axis=-1), 1)
    truths = (played, quality, played * quality / 100, np.full(size, (shares * means).mean()))
    limits = score_limits(games, [ENDS] * len(games))
    drawn = (
        bootstrap_of_scores(rng, [counts[:resampled] for counts in games]) if resampled else None
    )
    for number, (name, truth) in enumerate(zip(KINDS, truths, strict=True)):
        yield name, limits[:, number], truth, None if drawn is None else drawn[:, number]


def difference_batch(player: Player, rng: Generator, size: int, resampled: int) -> Batch:
    """Two players on the same instances; the second aborts some more, by chance alone."""
    kind = SCORES[player.scores]
    [share] = player.shares()
    chances = difficulty(rng, share, (size, player.instances))
    values = []
    for kept in (1.0, player.kept):
        scores = kind.draw(rng, chances, player.repeats)
        played = rng.random(scores.shape) < kept * chances[..., None]
        values.append((scores * played).mean(axis=-1))
    differences = values[1] - values[0]
    truth = np.full(size, (player.kept - 1) * share * kind.mean(share))
    drawn = bootstrap_of_differences(rng, differences[:resampled]) if resampled else None
    yield "difference", difference_limits(differences, ENDS), truth, drawn


def is_compared(player: Player, kind: str) -> bool:
    """Whether the width of an interval is held to that of the bootstrap.

    It is where the bootstrap has a fair one: the score, too, is from 10 to 90 % of its range, and
    about all instances count for it.
    """
    scores, share = SCORES[player.scores], player.share
    if share is None or not (0.1 <= share <= 0.9 and scores.wide and player.instances == MANY):
        return False
    if kind in ("% played", "quality"):
        return kind == "% played" or share == 0.9
    return share * scores.mean(share) >= 10


# --- the table -----------------------------------------------------------------------------------

_ENOUGH = 200
"""Intervals that a cell needs to be judged: quality may be told in few simulations."""
_AGAIN = 10
"""How many times as often a player is simulated that seems to miss a target."""
_ERRORS = 2.0


def measured(simulations: int, seed: int) -> list[Cell]:
    """The cells of all players that can be judged."""
    cells = []
    for number, player in enumerate(players()):
        first = cells_of(player, np.random.default_rng((seed, number)), simulations)
        missed = {cell.kind for cell in first if cell.draws >= _ENOUGH and cell.misses(0)}
        again = []
        if missed:
            rng = np.random.default_rng((seed + 1, number))
            again = cells_of(player, rng, _AGAIN * simulations)
        cells += [cell for cell in first if cell.kind not in missed]
        cells += [cell for cell in again if cell.kind in missed]
    return [cell for cell in cells if cell.draws >= _ENOUGH]


def table(cells: Sequence[Cell]) -> Iterator[str]:
    """A line for each kind of score and number of instances, and what misses a target."""
    yield (
        f"{'':11} {'n':>3} {'cells':>6} {'coverage':>9} {'mean':>7} {'wanted':>7} {'missed':>7} "
        f"{'bootstrap':>10} {'mean':>7} {'narrowest':>10} {'width':>6}"
    )
    for kind, instances in itertools.product((*KINDS, "difference"), INSTANCES):
        part = [one for one in cells if one.kind == kind and one.player.instances == instances]
        coverage = [one.coverage for one in part]
        bootstrap = [one.bootstrap for one in part]
        widths = [one.width for one in part if one.width is not None]
        wanted = COVERAGE.get(instances)
        yield (
            f"{kind:11} {instances:3} {len(part):6} {min(coverage):9.2%} {np.mean(coverage):7.1%} "
            f"{f'{wanted:.1%}' if wanted else '-':>7} {sum(one.misses(_ERRORS) for one in part):7} "
            f"{min(bootstrap):10.1%} {np.mean(bootstrap):7.1%} "
            f"{min(one.narrowest for one in part):10.2f} "
            f"{f'{max(widths):.2f}' if widths else '-':>6}"
        )
    missed = [cell for cell in cells if cell.misses(_ERRORS)]
    yield f"\n{len(missed)} of {len(cells)} miss a target; without simulation error these would:"
    for cell in cells:
        if not cell.misses(0):
            continue
        width = "not compared" if cell.width is None else f"{cell.width:.2f}"
        yield (
            f"  {cell.kind} of {cell.player}: {cell.coverage:.2%} (± {cell.error:.2%}), "
            f"narrowest {cell.narrowest:.2f}, width {width}"
        )


def main() -> None:
    """Simulate, print the table, and say by the exit code whether the targets are met."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--simulations", type=int, default=1500, help="of each player")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="where all cells go")
    options = parser.parse_args()
    cells = measured(options.simulations, options.seed)
    print("\n".join(table(cells)))
    if options.json:
        rows = [{**cell._asdict(), "player": cell.player._asdict()} for cell in cells]
        options.json.write_text(json.dumps(rows), encoding="utf-8")
    sys.exit(1 if any(cell.misses(_ERRORS) for cell in cells) else 0)


if __name__ == "__main__":
    main()
