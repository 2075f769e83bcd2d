"""Recorded runs: plan one, play what is missing of it, resume it."""

from __future__ import annotations

import datetime
import gc
import math
import platform
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import msgspec

from playpen.cast import Cast
from playpen.completeness import counted_progress
from playpen.episode import Episode
from playpen.instance import Instance
from playpen.observers import tell
from playpen.player import NoOptions, parse_spec
from playpen.plugins import CORE, get_game, make_named, registry
from playpen.recorded_versions import refuse_other_rules
from playpen.rollout import NO_LIMITS, Job, Limits, rollout
from playpen.scoring import is_uncounted, tokens_of
from playpen.store import (
    MAX_ATTEMPTS,
    EpisodeWriter,
    Run,
    RunConfig,
    RunError,
    planned_episodes,
)


def create_run(
    path: str | Path,
    instances: Mapping[str, Sequence[Instance]],
    cast: Cast,
    *,
    episodes: int | None = None,
    repeats: int = 1,
    seed: int = 0,
    concurrency: int = 64,
    split: str | None = None,
    source: str = "",
    command: Sequence[str] = (),
    limits: Limits = NO_LIMITS,
    remote: bool = False,
) -> Run:
    """Write down a run, ready to be played.

    Args:
        path: the directory to make.
        instances: per game, what to play on.
        cast: who plays.
        episodes: per game; instances cycle as repeats.
        repeats: how often each instance is played where `episodes` is `None`.
        seed: of chance moves and sampling.
        concurrency: episodes in flight.
        split: the split that the instances are of.
        source: the file the instances come from, "" for the pack's own.
        command: the command line, for the record.
        limits: of every episode.
        remote: an executor will play; so nobody is seated here, and no model loaded.

    Raises:
        AssignmentError, SpecError, PluginError, PlayerError, RunError: something does not fit;
            nothing was written.
    """
    games = [get_game(name) for name in instances]
    assignments = cast.assignments(games)
    for game in games:
        if not instances[game.name]:
            raise RunError(f"there are no instances of {game.name!r} to play")
        if not remote:
            cast.seats(game, assignments[game.name])  # what is wrong with a player shows here
    config = RunConfig(
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        command=list(command),
        seed=seed,
        concurrency=concurrency,
        players=cast.specs,
        assignments=assignments,
        episodes={
            name: repeats * len(chosen) if episodes is None else episodes
            for name, chosen in instances.items()
        },
        split=split,
        source=source,
        descriptions=cast.describe(),
        prompts=dict.fromkeys(instances, "imported" if source else "pack"),
        rules={game.name: game.rules for game in games},
        versions=versions([game.name for game in games]),
        limits=limits,
    )
    return Run.create(path, config, [i for chosen in instances.values() for i in chosen])


def versions(games: Sequence[str] = ()) -> dict[str, str]:
    """Versions of Python, of Playpen and of the distributions that bring the games."""
    plugins = registry()
    wanted = {CORE, *(plugins.distribution_of(name) for name in games)}
    packs = {p.distribution: p.version for p in plugins.packs if p.distribution in wanted}
    return {"python": platform.python_version(), **dict(sorted(packs.items()))}


class PlayCounts(msgspec.Struct):
    """What one sitting of a run did: finished and failed episodes, and what is left to play.

    With a budget, `tokens` is what all sittings together used, `uncounted` how many replies are not
    in it because nobody knows what they took, and `exhausted` says that the budget, or such
    replies, kept episodes from being played.
    """

    finished: int = 0
    failed: int = 0
    remaining: int = 0
    given_up: int = 0
    tokens: int = 0
    uncounted: int = 0
    exhausted: bool = False

    def count(self, episode: Episode) -> None:
        """Count an episode that ended."""
        if episode.failure is None:
            self.finished += 1
            self.remaining -= 1
        else:
            self.failed += 1

    def spend(self, episode: Episode) -> None:
        """Count what an episode took."""
        self.tokens += tokens_of(episode)
        self.uncounted += sum(is_uncounted(said.reply) for said in episode.replies())

    def over(self, budget: int | None) -> bool:
        """Whether no further episode may begin."""
        return budget is not None and (self.tokens >= budget or self.uncounted > 0)


def uncounted(counts: PlayCounts) -> str:
    """What to tell people whose budget cannot be kept."""
    return (
        f"Stopped: --max-tokens-total cannot be kept, as the server did not say how many tokens "
        f"{counts.uncounted} of the replies took."
    )


class Unit(NamedTuple):
    """An episode that is still to be played.

    Attributes:
        number: of its instance in the run.
        instance: what is played.
        episode: its empty record.
    """

    number: int
    instance: Instance
    episode: Episode


class RemainingEpisodes:
    """What of a run is still to be played, in the planned order.

    Nothing is kept of units that have not begun, so that the length of a run costs no memory.

    Attributes:
        count: how many units there are.
        given_up: units that failed so often that they are left out.
    """

    def __init__(self, run: Run, *, most_attempts: float = MAX_ATTEMPTS) -> None:
        """Look at what was recorded.

        Args:
            run: whose episodes.
            most_attempts: a unit that failed so often is left out.

        Raises:
            RunError: the directory is damaged.
        """
        self._config = run.config
        self._progress = run.progress()
        self._instances = list(run.instances())
        self.count = sum(self._config.episodes.values())
        self.given_up = 0
        self._most = most_attempts
        if self._progress.done or self._progress.failed:
            attempts = [unit.episode.attempts for unit in self._units()]
            if self.count - len(attempts) != len(self._progress.done):
                counted_progress(run)  # there are episodes that were not planned
            self.given_up = sum(number > self._most for number in attempts)
            self.count = len(attempts) - self.given_up

    def __iter__(self) -> Iterator[Unit]:
        """The units that are to be played."""
        return (unit for unit in self._units() if unit.episode.attempts <= self._most)

    def _units(self) -> Iterator[Unit]:
        """All units without a finished episode."""
        done, failed = self._progress.done, self._progress.failed
        rules = {name: get_game(name).rules for name in self._config.assignments}
        for number, instance, episode in planned_episodes(self._config, self._instances, rules):
            if episode.key not in done:
                episode.attempts = failed.get(episode.key, 0) + 1
                yield Unit(number, instance, episode)


class Executor:
    """Plays the episodes of a run somewhere; the base class of plug-ins.

    Without one a run is played in this process.  `Options` declares typed options with defaults:
    an executor is named by a spec string, as players are.
    """

    Options: ClassVar[type[msgspec.Struct]] = NoOptions

    def __init__(self, target: str, options: Any) -> None:
        self.target = target
        self.options = options

    def play(
        self,
        run: Run,
        units: Iterator[Unit],
        record: Callable[[Episode], None],
        *,
        concurrency: int,
    ) -> None:
        """Play units and record each as soon as it ends, failed ones included.

        Args:
            run: its configuration names the players; `SeatedGames` makes jobs of units.
            units: taken one by one as there is room.
            record: called in this process, with the unit's episode.
            concurrency: episodes in flight.

        Raises:
            PlayerError: nothing can be played; says why.
        """
        raise NotImplementedError


def make_executor(text: str) -> Executor:
    """Make an executor from its spec string, ``ray:?workers=2`` say.

    Raises:
        PluginError: unknown scheme (with a suggestion) or missing extra.
        SpecError: malformed spec, unknown or wrong option.
    """
    name, mark, options = text.partition("?")
    if ":" not in name:  # it may be left out where no target follows it
        name += ":"
    spec = parse_spec(f"{name}{mark}{options}")
    return make_named("executor", registry().executors, spec, Executor)


class SeatedGames:
    """The games and seated players of a run, in the process where episodes are played."""

    def __init__(self, config: RunConfig, cast: Cast) -> None:
        self._games = {name: get_game(name) for name in config.assignments}
        self._seats = {
            name: cast.seats(self._games[name], labels)
            for name, labels in config.assignments.items()
        }

    def job(self, instance: Instance, episode: Episode) -> Job:
        """What has to be played for a unit."""
        name = episode.game
        return Job(self._games[name], instance, episode, self._seats[name])


def play_run(
    run: Run,
    cast: Cast | None = None,
    *,
    planned: Callable[[int], None] = lambda count: None,
    finished: Callable[[Episode], None] = lambda episode: None,
    concurrency: int | None = None,
    max_tokens: int | None = None,
    executor: Executor | None = None,
    once_more: bool = False,
) -> PlayCounts:
    """Play what is missing of a run and record it.

    Args:
        run: the run, which no other process plays into.
        cast: who plays, and is the caller's to close; made for this call if `None`.
        planned: told how many episodes are about to be played.
        finished: told about every episode after its line is written.
        concurrency: replaces the run's own.
        max_tokens: once the players have used so many, in all sittings and failed attempts
            together, no further episode is begun; those in flight are finished.  Nor is any
            begun once a reply came whose tokens nobody has counted: it could go on for ever.
        executor: plays somewhere else, where it makes the players anew.
        once_more: also try what failed so often that it was given up.

    Raises:
        RunError: the directory is damaged, another process is playing into it, or a game has other
            rules now than those that the run was begun with.
        KeyboardInterrupt: after the episodes that had ended were written; resume plays the rest.
    """
    seated = Cast(run.config.players) if cast is None else nullcontext(cast)
    with seated as cast, EpisodeWriter(run) as writer:
        remaining = RemainingEpisodes(run, most_attempts=math.inf if once_more else MAX_ATTEMPTS)
        counts = _counts_so_far(run, remaining, max_tokens)
        to_play = 0 if counts.exhausted else remaining.count
        if to_play:
            refuse_other_rules(run)
        planned(to_play)
        limit = 1 if cast.serial else concurrency or run.config.concurrency
        record = _recorder(run, writer, counts, finished, budgeted=max_tokens is not None)
        units = _affordable(remaining, counts, max_tokens)
        tell("playpen_run_started", may_refuse=True, run=run)
        try:
            with _rare_collections():
                if executor is not None:
                    executor.play(run, units, record, concurrency=limit)
                elif to_play:
                    _play_here(run, cast, units, record, limit)
        finally:
            completed = counts.remaining + counts.given_up == 0
            tell("playpen_run_finished", run=run, completed=completed)
    return counts


def _counts_so_far(run: Run, remaining: RemainingEpisodes, max_tokens: int | None) -> PlayCounts:
    """What is left to play, and what was used of a budget."""
    counts = PlayCounts(remaining=remaining.count, given_up=remaining.given_up)
    if max_tokens is not None:
        for episode in run.episodes(failed=True):
            counts.spend(episode)
        counts.exhausted = bool(remaining.count) and counts.over(max_tokens)
    return counts


def _affordable(
    units: Iterable[Unit], counts: PlayCounts, max_tokens: int | None
) -> Iterator[Unit]:
    """Units until the budget is used up."""
    for unit in units:
        if counts.over(max_tokens):
            counts.exhausted = True
            return
        yield unit


def _recorder(
    run: Run,
    writer: EpisodeWriter,
    counts: PlayCounts,
    finished: Callable[[Episode], None],
    *,
    budgeted: bool,
) -> Callable[[Episode], None]:
    """Writes an episode, counts it, and tells everybody who wants to know."""
    observed = bool(registry().manager.hook.playpen_episode_finished.get_hookimpls())

    def record(episode: Episode) -> None:
        writer.append(episode)
        if budgeted:
            counts.spend(episode)
        counts.count(episode)
        if observed:
            tell("playpen_episode_finished", run=run, episode=episode)
        finished(episode)

    return record


def _play_here(
    run: Run,
    cast: Cast,
    units: Iterator[Unit],
    record: Callable[[Episode], None],
    concurrency: int,
) -> None:
    """Play units in this process."""
    games = SeatedGames(run.config, cast)
    jobs = (games.job(unit.instance, unit.episode) for unit in units)
    cast.loop.run(rollout(jobs, record, concurrency=concurrency, limits=run.config.limits))


@contextmanager
def _rare_collections() -> Iterator[None]:
    """Let Python look for garbage less often, and not at all in what is there already.

    Instant episodes make many short-lived objects; looking for cycles among them, and among the
    modules of a large environment, took up to a third of their time.
    """
    thresholds = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(20_000, *thresholds[1:])
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()
