"""All numbers of a report, computed once; every format shows these."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

import msgspec

from playpen.completeness import Coverage
from playpen.failure_reasons import Reason, reasons
from playpen.game import Game
from playpen.panels import PanelScore, panel_scores
from playpen.plugins import PluginError, get_game
from playpen.report.sources import Curve, Problem, RecordedRuns, ReportSources, Training, encodable
from playpen.scoring import Aggregate, GameScore, Results, TokenCount, score_ranges
from playpen.statistics import Gain, Interval, Ranges, compare, score_intervals

FORMAT = "playpen-report/2"


class Estimate(msgspec.Struct, frozen=True):
    """A number with its 95 % confidence interval; `None` where there is no number."""

    value: float | None = None
    low: float | None = None
    high: float | None = None


class Headline(msgspec.Struct, frozen=True):
    """The scores of a run or of one of its games, with intervals.

    Attributes:
        played: % of episodes that were not aborted.
        quality: mean main score of those that have one.
        clemscore: their product, divided by 100.
        mean: mean main score, where an aborted episode counts as 0.
    """

    played: Estimate = Estimate()
    quality: Estimate = Estimate()
    clemscore: Estimate = Estimate()
    mean: Estimate = Estimate()


class PanelSummary(msgspec.Struct, frozen=True):
    """The scores of a run over some of its games: see `playpen.panels`.

    Attributes:
        name: ``clemscore``, ``statscore``, or what the games are.
        games: their names.
        coverage: of these games.
        scores: averages over them.
        over: the instances and rules, for people.
        official: whether all instances are published ones.
    """

    name: str
    games: list[str]
    coverage: Coverage
    scores: Headline
    over: str
    official: bool


class GameSummary(msgspec.Struct, frozen=True):
    """A game in a run: coverage, scores, and the counts behind them."""

    game: str
    coverage: Coverage
    scores: Headline
    success: int
    lose: int
    aborted: int
    unscored: int
    role_scores: dict[str, float] = {}
    """Mean of each role's own score, where outcomes state one."""


class RunSummary(msgspec.Struct, frozen=True):
    """A run: what was asked for, coverage, scores by panel and of each game, reasons.

    `notes` tells what is unusual about its numbers.
    """

    name: str
    path: str
    created: str
    players: dict[str, str]
    assignments: dict[str, dict[str, str]]
    split: str | None
    seed: int
    complete: bool
    coverage: Coverage
    panels: list[PanelSummary]
    games: list[GameSummary]
    reasons: list[Reason]
    tokens: dict[str, TokenCount]
    notes: list[str]


class GainSummary(msgspec.Struct, frozen=True):
    """What a run does better than another one in a game: see `playpen.statistics.Gain`."""

    game: str
    instances: int
    difference: Estimate
    p: float | None
    p_holm: float | None
    detectable: float | None
    format: float | None
    skill: float | None


class Comparison(msgspec.Struct, frozen=True):
    """A run against the first one, game by game, on the instances that both have played."""

    first: str
    second: str
    gains: list[GainSummary]


class TrainingSummary(msgspec.Struct, frozen=True):
    """A training: what learned, how far it came, and what it logged (step and value, by name)."""

    name: str
    path: str
    trainer: str
    learner: str
    steps: int
    curves: dict[str, Curve]


class Summary(msgspec.Struct, frozen=True):
    """A whole report; the content of ``--format json``."""

    format: str
    made: str
    runs: list[RunSummary]
    comparisons: list[Comparison]
    trainings: list[TrainingSummary]
    problems: list[Problem]


def summarise(sources: ReportSources, *, seed: int = 0) -> Summary:
    """Compute all numbers of a report.

    Args:
        sources: what was read.
        seed: of the permutations behind p-values.
    """
    games, unknown = _games(sources.runs)
    ranges = score_ranges(games)
    runs, results = [], []
    for recorded in sources.runs:
        aggregate = Aggregate(games)
        for episode in recorded.attempts:
            aggregate.add(episode)
        results.append(aggregate.results)
        runs.append(_run(recorded, aggregate, unknown, ranges))
    return Summary(
        format=FORMAT,
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        runs=runs,
        comparisons=[
            Comparison(
                runs[0].name,
                other.name,
                [_gain(gain) for gain in compare(results[0], theirs, ranges, seed=seed)],
            )
            for other, theirs in zip(runs[1:], results[1:], strict=True)
        ],
        trainings=[training_summary(training) for training in sources.trainings],
        problems=sources.problems,
    )


def _games(runs: Iterable[RecordedRuns]) -> tuple[dict[str, Game], set[str]]:
    """The games of the runs by name, and which of them are not installed here.

    What a missing game would say about its episodes beyond their outcomes is unknown.
    """
    names = {episode.game for run in runs for episode in run.attempts}
    games: dict[str, Game] = {}
    unknown = set()
    for name in sorted(names):
        try:
            games[name] = get_game(name)
        except PluginError:
            games[name] = Game()
            unknown.add(name)
    return games, unknown


def _run(
    recorded: RecordedRuns, aggregate: Aggregate, unknown: set[str], ranges: Ranges
) -> RunSummary:
    score, results = aggregate.score(), aggregate.results
    scored = {game.game: game for game in score.games}
    coverage = recorded.coverage
    total = sum(coverage.values(), Coverage())
    ours = sorted(unknown & coverage.keys())
    notes = [f"{name} is not installed: its own metrics are not known here" for name in ours]
    notes += map(str, recorded.trained_on)
    notes += map(encodable, recorded.versions)
    unscored = sum(game.unscored for game in score.games)
    if unscored:
        notes.append(f"{unscored} episodes are left out of the scores by the rules of their games")
    config = recorded.config
    return RunSummary(
        name=recorded.name,
        path=encodable(recorded.path),
        created=config.created,
        players=config.players,
        assignments=config.assignments,
        split=config.split,
        seed=config.seed,
        complete=total.complete,
        coverage=total,
        panels=[
            PanelSummary(
                name=panel.name,
                games=panel.games,
                coverage=sum((coverage[name] for name in panel.games), Coverage()),
                scores=_panel_headline(panel, results, ranges),
                over=str(panel.over),
                official=panel.over.official,
            )
            for panel in panel_scores(score, {name: recorded.sets[name] for name in coverage})
        ],
        games=[
            _game(name, covered, scored.get(name), results, ranges)
            for name, covered in sorted(coverage.items())
        ],
        reasons=reasons(recorded.episodes),
        tokens=score.tokens,
        notes=notes,
    )


def _game(
    name: str, coverage: Coverage, score: GameScore | None, results: Results, ranges: Ranges
) -> GameSummary:
    if score is None:
        return GameSummary(name, coverage, Headline(), 0, 0, 0, 0)
    alone = {name: results[name]} if name in results else {}
    scores = _headline((score.played, score.quality, score.clemscore), alone, ranges)
    return GameSummary(
        name,
        coverage,
        scores,
        score.success,
        score.lose,
        score.aborted,
        score.unscored,
        score.role_scores,
    )


def _panel_headline(panel: PanelScore, results: Results, ranges: Ranges) -> Headline:
    mine = {name: results[name] for name in panel.games if name in results}
    return _headline((panel.played, panel.quality, panel.score), mine, ranges)


def _headline(
    rounded: tuple[float | None, float | None, float | None], results: Results, ranges: Ranges
) -> Headline:
    """The scores as `playpen score` rounds them (% played, quality, product), with intervals."""
    if not results:
        return Headline()
    intervals = score_intervals(results, ranges)
    played, quality, product = rounded
    return Headline(
        played=_estimate(intervals.played, played),
        quality=_estimate(intervals.quality, quality),
        clemscore=_estimate(intervals.clemscore, product),
        mean=_estimate(intervals.unbiased, intervals.unbiased.value),
    )


def _estimate(interval: Interval, value: float | None) -> Estimate:
    return Estimate(value, interval.low, interval.high)


def _gain(gain: Gain) -> GainSummary:
    return GainSummary(
        game=gain.game,
        instances=gain.instances,
        difference=_estimate(gain.difference, gain.difference.value),
        p=gain.p,
        p_holm=gain.p_holm,
        detectable=gain.detectable,
        format=gain.format,
        skill=gain.skill,
    )


def training_summary(training: Training) -> TrainingSummary:
    """What is told of a training."""
    steps = [curve[-1][0] for curve in training.curves.values()]
    return TrainingSummary(
        name=training.name,
        path=encodable(training.path),
        trainer=training.trainer,
        learner=training.learner,
        steps=max(steps, default=0),
        curves=training.curves,
    )
