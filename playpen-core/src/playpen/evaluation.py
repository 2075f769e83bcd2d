"""Evaluations: scores of a player in panels of games, with their intervals and their coverage.

Which games are averaged together is for `playpen.panels` to say.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from playpen.cast import Cast
from playpen.completeness import Coverage, coverage_of, refuse_faults, tell_faults
from playpen.episode import Episode
from playpen.instance import Instance
from playpen.panels import PanelScore, check_panels, panel_scores
from playpen.plugins import get_game
from playpen.provenance import InstanceSet, instance_sets
from playpen.rollout import NO_LIMITS, Limits
from playpen.runner import create_run
from playpen.scoring import (
    Aggregate,
    Attempts,
    GameScore,
    Results,
    TokenCount,
    score_ranges,
)
from playpen.statistics import Ranges, Scores, pass_at, score_intervals
from playpen.store import Run, RunError
from playpen.trained_on import Exposure, exposures


class Panel(PanelScore):
    """The scores of some games together, and how sure they are.

    Attributes:
        intervals: the four scores without rounding, with their 95 % intervals; `None` if nothing
            was played.
        coverage: of all games of the panel.
    """

    intervals: Scores | None
    coverage: Coverage


class GameResult(msgspec.Struct):
    """The scores of one game.

    Attributes:
        score: as upstream defines and rounds it.
        intervals: the four scores with their 95 % intervals; `None` if nothing was played.
        coverage: what was planned and played.
        over: the instances and the rules.
        pass_at: the share of instances won in at least one of k plays, for 1 and for the number of
            repeats, where every instance was played equally often.
    """

    score: GameScore
    intervals: Scores | None
    coverage: Coverage
    over: InstanceSet
    pass_at: dict[int, float] = {}


class Evaluation(msgspec.Struct):
    """All that an evaluation found.

    Attributes:
        panels: by title, as `playpen.panels` divides games.
        games: by name.
        tokens: by player.
        seconds: in which at least one episode was played.
        runs: directories of the episodes.
        trained_on: instances that a player was trained on.
    """

    panels: dict[str, Panel]
    games: dict[str, GameResult]
    tokens: dict[str, TokenCount]
    seconds: float
    runs: list[str]
    trained_on: list[Exposure] = []

    @property
    def coverage(self) -> Coverage:
        """Of all games."""
        return sum((result.coverage for result in self.games.values()), Coverage())


def evaluate(
    runs: Sequence[Run],
    *,
    seen: Collection[str] | None = None,
    unseen: Collection[str] | None = None,
    judged: Callable[[Run, Episode, Mapping[str, Any] | None], None] | None = None,
) -> Evaluation:
    """Score what was recorded.

    Args:
        runs: no game may be in two of them.
        seen: games that the player was trained on; the complement of `unseen` if only that is
            given.  With neither, dialogue games are not divided.
        unseen: games that it was not trained on.
        judged: told about every episode and its scores, which are `None` where it counts in no
            mean.

    Raises:
        RunError: a game is both seen and unseen, or neither since it is a static benchmark; a run
            is damaged, a line of it cannot be counted (all such lines are named), or
            a game is in two runs.
        PluginError: a game is not installed.
    """
    check_panels(seen or (), unseen or ())
    owners: dict[str, Run] = {}
    coverage: dict[str, Coverage] = {}
    sets: dict[str, InstanceSet] = {}
    for run in runs:
        coverage |= coverage_of(run, refuse_faults(run))
        sets |= instance_sets(run)
        for name in run.config.assignments:
            if name in owners:
                raise RunError(
                    f"{name!r} is in {owners[name].path} and in {run.path}; evaluate them "
                    "separately, or let `playpen compare` tell them apart"
                )
            owners[name] = run
    games = {name: get_game(name) for name in owners}
    spans: list[tuple[float, float]] = []
    aggregate = Aggregate(games)
    for run in runs:
        for episode in _readable(run):
            spans.append((episode.started, episode.started + episode.seconds))
            row = aggregate.add(episode)
            if judged is not None:
                judged(run, episode, row)
    scores, results = aggregate.score(), aggregate.results
    ranges = score_ranges(games)
    per_game = {
        score.game: GameResult(
            score,
            _intervals(results, [score.game], ranges),
            coverage[score.game],
            sets[score.game],
            _pass_at(results.get(score.game, {}).values()),
        )
        for score in scores.games
    }
    for name in sorted(coverage.keys() - per_game.keys()):
        per_game[name] = GameResult(GameScore(name, 0, 0, None, None, None, 0, 0, 0), None,
                                 coverage[name], sets[name])  # fmt: skip
    panels = {
        panel.title: Panel(
            **msgspec.structs.asdict(panel),
            intervals=_intervals(results, panel.games, ranges),
            coverage=sum((coverage[name] for name in panel.games), Coverage()),
        )
        for panel in panel_scores(
            scores, {name: sets[name] for name in per_game}, seen=seen, unseen=unseen
        )
    }
    paths = [str(run.path) for run in runs]
    return Evaluation(panels, per_game, scores.tokens, _seconds(spans), paths, exposures(runs))


def _readable(run: Run) -> Iterator[Episode]:
    """The episodes of a run; if one cannot be read, all such lines are named."""
    try:
        yield from run.episodes(failed=True)
    except RunError:
        raise tell_faults(run) from None


def as_document(value: Any) -> Any:
    """An evaluation, or a part of one, as plain JSON objects; intervals have named fields."""
    if hasattr(value, "_asdict"):
        return {name: as_document(part) for name, part in value._asdict().items()}
    if isinstance(value, msgspec.Struct):
        return {name: as_document(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, dict):
        return {str(name): as_document(part) for name, part in value.items()}
    return [as_document(part) for part in value] if isinstance(value, list) else value


def _intervals(results: Results, names: Iterable[str], ranges: Ranges) -> Scores | None:
    chosen = {name: results[name] for name in names if results.get(name)}
    return score_intervals(chosen, ranges) if chosen else None


def _pass_at(attempts: Iterable[Attempts]) -> dict[int, float]:
    played = list(attempts)
    counts = {round(one.episodes) for one in played}
    if len(counts) != 1 or counts == {1}:
        return {}
    return {k: pass_at(k, played) for k in (1, *counts)}


def _seconds(spans: Iterable[tuple[float, float]]) -> float:
    """The length of the union of spans: episodes in flight together count once."""
    total, until = 0.0, float("-inf")
    for start, end in sorted(spans):
        total += max(end - max(start, until), 0.0)
        until = max(until, end)
    return total


def evaluation_run(
    path: Path,
    instances: Mapping[str, Sequence[Instance]],
    cast: Cast,
    *,
    repeats: int = 1,
    seed: int = 0,
    concurrency: int = 64,
    split: str | None = None,
    source: str = "",
    limits: Limits = NO_LIMITS,
    command: Sequence[str] = (),
    remote: bool = False,
) -> Run:
    """The run of an evaluation, ready to be played or continued.

    Args:
        path: its directory; what was played there already is kept.
        instances: per game.
        cast: who plays.
        repeats: how often each instance is played.
        seed: of chance moves and sampling.
        concurrency: episodes in flight.
        split: of the instances.
        source: the file the instances come from, "" for the pack's own.
        limits: of every episode.
        command: the command line, for the record.
        remote: an executor will play; so no model is loaded here.

    Raises:
        RunError: the directory holds a run of something else; says what differs.
    """
    if not (path / "run.json").exists():
        return create_run(
            path,
            instances,
            cast,
            repeats=repeats,
            seed=seed,
            concurrency=concurrency,
            split=split,
            source=source,
            limits=limits,
            command=command,
            remote=remote,
        )
    run = Run.open(path)
    refuse_faults(run)
    config = run.config
    wanted = {name: [i.hash for i in found] for name, found in instances.items()}
    recorded: dict[str, list[str]] = {name: [] for name in config.assignments}
    for instance in run.instances():
        recorded[instance.game].append(instance.hash)
    episodes = {name: repeats * len(found) for name, found in instances.items()}
    for what, before, now in (
        ("players", _named(config.players), _named(cast.specs)),
        ("games", ", ".join(sorted(recorded)), ", ".join(sorted(wanted))),
        ("players", config.assignments, cast.assignments([get_game(n) for n in instances])),
        ("split", config.split, split),
        ("source of instances", config.source, source),
        ("instances", recorded, wanted),
        ("numbers of episodes", config.episodes, episodes),
        ("seed", config.seed, seed),
        ("limits", config.limits, limits),
    ):
        _refuse_other(path, what, before, now)
    return run


def refuse_other_evaluation(
    folder: Path, cast: Cast, *, split: str | None, source: str, seed: int
) -> None:
    """Refuse a directory in which something else was evaluated, by whatever suite.

    Args:
        folder: of the runs.
        cast: who plays now.
        split: of the pack's own instances that are played now.
        source: the file the instances come from, "" for the pack's own.
        seed: of chance moves and sampling.

    Raises:
        RunError: a run there has other players, another split or another seed; says which.
    """
    for file in sorted(folder.glob("*/run.json")):
        config = Run.open(file.parent).config
        _refuse_other(folder, "players", _named(config.players), _named(cast.specs))
        if not source and not config.source:
            _refuse_other(folder, "split", config.split, split)
        _refuse_other(folder, "seed", config.seed, seed)


def _named(specs: Mapping[str, str]) -> str:
    return ", ".join(specs.values())


def _refuse_other(path: Path, what: str, before: object, now: object) -> None:
    if before == now:
        return
    told = isinstance(now, str | int | None)
    values = f": {before} there, {now} asked for" if told else " than what is asked for"
    raise RunError(
        f"{path} holds an evaluation with other {what}{values}; choose another directory with "
        "-o, or remove it"
    )
