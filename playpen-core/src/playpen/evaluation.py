"""Evaluations: scores of a player in panels of games, with their intervals and their coverage.

A panel is a set of games whose scores are averaged: the games that a player was trained on (on
instances it has not seen), those it was not trained on, and the static benchmarks.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from playpen.cast import Cast
from playpen.completeness import Coverage, coverage_of, scan_lines
from playpen.episode import Episode
from playpen.instance import Instance
from playpen.plugins import get_game, registry
from playpen.rollout import NO_LIMITS, Limits
from playpen.runner import create_run
from playpen.scoring import (
    Aggregate,
    Attempts,
    GameScore,
    Results,
    TokenCount,
    score_games,
    score_ranges,
)
from playpen.statistics import Ranges, Scores, pass_at, score_intervals
from playpen.store import Progress, Run, RunError

CLEMSCORE, STATSCORE = "clemscore", "statscore"
"""The names that upstream's ``val.json`` has for the scores of the two kinds of games."""
SEEN, UNSEEN, OTHER = "seen games", "unseen games", "other games"
_FAULTS_SHOWN = 10


class Panel(msgspec.Struct):
    """The scores of some games together.

    Attributes:
        score: as upstream defines and rounds it; `None` if no episode has a main score.
        played: average % played over games, rounded as upstream does.
        quality: average quality, the same.
        games: their names.
        intervals: the four scores without rounding, with their 95 % intervals; `None` if nothing
            was played.
        coverage: of all games of the panel.
    """

    score: float | None
    played: float | None
    quality: float | None
    games: list[str]
    intervals: Scores | None
    coverage: Coverage


class GameResult(msgspec.Struct):
    """The scores of one game; `pass_at` is the share of instances won in at least one of k plays.

    It is given for 1 and for the number of repeats, where every instance was played equally often.
    """

    score: GameScore
    intervals: Scores | None
    coverage: Coverage
    pass_at: dict[int, float] = {}


class Evaluation(msgspec.Struct):
    """All that an evaluation found.

    Attributes:
        panels: by name; `CLEMSCORE` and `STATSCORE` hold all dialogue games and all static ones.
        games: by name.
        tokens: by player.
        seconds: in which at least one episode was played.
        runs: directories of the episodes.
    """

    panels: dict[str, Panel]
    games: dict[str, GameResult]
    tokens: dict[str, TokenCount]
    seconds: float
    runs: list[str]

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
    _check_panels(seen or (), unseen or ())
    owners: dict[str, Run] = {}
    coverage: dict[str, Coverage] = {}
    for run in runs:
        coverage |= coverage_of(run, refuse_faults(run))
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
    found = {
        score.game: GameResult(
            score,
            _intervals(results, [score.game], ranges),
            coverage[score.game],
            _pass_at(results.get(score.game, {}).values()),
        )
        for score in scores.games
    }
    for name in sorted(coverage.keys() - found.keys()):
        found[name] = GameResult(GameScore(name, 0, 0, None, None, None, 0, 0, 0), None,
                                 coverage[name])  # fmt: skip
    panels = {
        title: Panel(
            together.clemscore,
            together.played,
            together.quality,
            names,
            _intervals(results, names, ranges),
            sum((coverage[name] for name in names), Coverage()),
        )
        for title, names in _panels(sorted(found), seen, unseen).items()
        for together in [score_games(game for game in scores.games if game.game in names)]
    }
    paths = [str(run.path) for run in runs]
    return Evaluation(panels, found, scores.tokens, _seconds(spans), paths)


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


def refuse_faults(run: Run) -> Progress:
    """Say all that is wrong with the lines of a run at once.

    A line that can be identified and is damaged nevertheless is found only if another one is at
    fault; who reads such a line whole calls `tell_faults`.

    Returns:
        What was played.

    Raises:
        RunError: a line cannot be counted.
    """
    faults, progress = scan_lines(run)
    if not faults:
        return progress
    raise tell_faults(run)


def tell_faults(run: Run) -> RunError:
    """All lines of a run that cannot be counted, as an error to raise."""
    faults = scan_lines(run, thorough=True).faults
    lines = "".join(f"\n  line {line}: {reason}" for line, reason in faults[:_FAULTS_SHOWN])
    if len(faults) > _FAULTS_SHOWN:
        lines += f"\n  ... and {len(faults) - _FAULTS_SHOWN} more"
    return RunError(
        f"{run.path / 'episodes.jsonl'} cannot be counted as it is:{lines}\n"
        f"`playpen resume {run.path} --repair` moves such lines to episodes.damaged and plays what "
        "is missing then"
    )


def is_static(game: str) -> bool:
    """Whether a game is a static benchmark: one of its suites is called ``static...``."""
    claims = registry().games.get(game, [])
    return any(suite.startswith("static") for spec, _ in claims for suite in spec.suites)


def _check_panels(seen: Collection[str], unseen: Collection[str]) -> None:
    """Refuse lists of games that contradict each other, or the panel of static benchmarks."""
    both = sorted(set(seen) & set(unseen))
    if both:
        raise RunError(f"{', '.join(both)}: seen and unseen at once; name a game in one list only")
    static = sorted(name for name in {*seen, *unseen} if is_static(name))
    if static:
        raise RunError(
            f"{', '.join(static)}: static benchmarks have a panel of their own; take them out of "
            "the lists of seen and unseen games"
        )


def _panels(
    games: Sequence[str], seen: Collection[str] | None, unseen: Collection[str] | None
) -> dict[str, list[str]]:
    static = [name for name in games if is_static(name)]
    dialogue = [name for name in games if name not in static]
    panels = {CLEMSCORE: dialogue}
    if seen is not None or unseen is not None:
        if seen is None:
            seen = [name for name in dialogue if name not in (unseen or ())]
        if unseen is None:
            unseen = [name for name in dialogue if name not in seen]
        panels[SEEN] = [name for name in dialogue if name in seen]
        panels[UNSEEN] = [name for name in dialogue if name in unseen]
        panels[OTHER] = [name for name in dialogue if name not in seen and name not in unseen]
    panels[STATSCORE] = static
    return {title: names for title, names in panels.items() if names}


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
        ("players", ", ".join(config.players.values()), ", ".join(cast.specs.values())),
        ("players", config.assignments, cast.assignments([get_game(n) for n in instances])),
        ("games", ", ".join(sorted(recorded)), ", ".join(sorted(wanted))),
        ("split", config.split, split),
        ("source of instances", config.source, source),
        ("instances", recorded, wanted),
        ("numbers of episodes", config.episodes, episodes),
        ("seed", config.seed, seed),
        ("limits", config.limits, limits),
    ):
        if before != now:
            told = isinstance(now, str | int | None)
            values = f": {before} there, {now} asked for" if told else " than what is asked for"
            raise RunError(
                f"{path} holds an evaluation with other {what}{values}; choose "
                "another directory with -o, or remove it"
            )
    return run
