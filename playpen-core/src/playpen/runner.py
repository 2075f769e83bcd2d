"""Recorded runs: plan one, play what is missing of it, resume it."""

from __future__ import annotations

import asyncio
import datetime
import gc
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

import msgspec

from playpen.episode import Episode
from playpen.game import Game
from playpen.instance import Instance
from playpen.player import Player
from playpen.plugins import CORE, get_game, make_player, registry, resolve_spec
from playpen.rollout import Job, assign, make_jobs, rollout
from playpen.store import MAX_ATTEMPTS, EpisodeWriter, Run, RunConfig, RunError


class Cast(msgspec.Struct):
    """Who plays: a player for all roles, and players for single roles, by label.

    Each ``-p`` is a player of its own: naming the same spec twice gives two players.
    """

    everyone: str | None
    by_role: dict[str, str]
    specs: dict[str, str]


def make_cast(assignments: Sequence[tuple[str | None, str]]) -> Cast:
    """Label the players of ``-p SPEC`` (role `None`) and ``-p ROLE=SPEC`` assignments.

    Raises:
        SpecError: a spec is malformed.
        RunError: a role is given twice, or more than one player is for all roles.
    """
    cast = Cast(None, {}, {})
    for role, text in assignments:
        spec = str(resolve_spec(text))
        label, number = spec, 2
        while label in cast.specs:
            label, number = f"{spec}#{number}", number + 1
        cast.specs[label] = spec
        if role is None:
            if cast.everyone is not None:
                raise RunError(
                    "-p SPEC names the player of all roles and can be given once; "
                    "use -p ROLE=SPEC for single roles"
                )
            cast.everyone = label
        elif role in cast.by_role:
            raise RunError(f"the role {role!r} is given to two players")
        else:
            cast.by_role[role] = label
    return cast


def assignments_of(cast: Cast, games: Sequence[Game]) -> dict[str, dict[str, str]]:
    """Per game, the label of the player in each role.

    A role need not be one of every game, but must be one of some game.

    Raises:
        AssignmentError: a role that no game has, or a role that nobody plays.
    """
    everywhere = {role for game in games for role in game.role_names()}
    result = {}
    for game in games:
        mine = {
            role: label
            for role, label in cast.by_role.items()
            if role in game.role_names() or role not in everywhere
        }
        result[game.name] = assign(game, cast.everyone, mine)
    return result


def create_run(
    path: str | Path,
    instances: Mapping[str, Sequence[Instance]],
    cast: Cast,
    *,
    episodes: int | None = None,
    seed: int = 0,
    concurrency: int = 64,
    split: str | None = None,
    source: str = "",
    command: Sequence[str] = (),
    players: Mapping[str, Player] | None = None,
) -> Run:
    """Write down a run, ready to be played.

    Args:
        path: the directory to make.
        instances: per game, what to play on.
        cast: who plays.
        episodes: per game; one per instance if `None`, else instances cycle as repeats.
        seed: of chance moves and sampling.
        concurrency: episodes in flight.
        split: the split that the instances are of.
        source: the file the instances come from, "" for the pack's own.
        command: the command line, for the record.
        players: the players by label, if they are made already.

    Raises:
        AssignmentError, SpecError, PluginError, PlayerError, RunError: something does not fit;
            nothing was written.
    """
    games = [get_game(name) for name in instances]
    assignments = assignments_of(cast, games)
    players = make_players(cast.specs) if players is None else players
    for game in games:
        if not instances[game.name]:
            raise RunError(f"there are no instances of {game.name!r} to play")
        for role, label in assignments[game.name].items():
            players[label].seat(game, role)  # what is wrong with a player shows here
    config = RunConfig(
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        command=list(command),
        seed=seed,
        concurrency=concurrency,
        players=cast.specs,
        assignments=assignments,
        episodes={
            name: len(found) if episodes is None else episodes for name, found in instances.items()
        },
        split=split,
        source=source,
        descriptions={label: player.describe() for label, player in players.items()},
        prompts=dict.fromkeys(instances, "imported" if source else "pack"),
        rules={game.name: game.rules for game in games},
        versions=versions([game.name for game in games]),
    )
    return Run.create(path, config, [i for found in instances.values() for i in found])


def make_players(specs: Mapping[str, str]) -> dict[str, Player]:
    """The players of labels and spec strings; models are loaded when first seated.

    Raises:
        SpecError, PluginError: a spec is wrong, or its extra is not installed.
    """
    return {label: make_player(spec) for label, spec in specs.items()}


def versions(games: Sequence[str] = ()) -> dict[str, str]:
    """Versions of Python, of Playpen and of the distributions that bring the games."""
    plugins = registry()
    wanted = {CORE, *(plugins.distribution_of(name) for name in games)}
    found = {p.distribution: p.version for p in plugins.packs if p.distribution in wanted}
    return {"python": platform.python_version(), **dict(sorted(found.items()))}


class Tally(msgspec.Struct):
    """What one sitting of a run did: finished and failed episodes, and what is left to play."""

    finished: int = 0
    failed: int = 0
    remaining: int = 0
    given_up: int = 0


def missing_jobs(run: Run, players: Mapping[str, Player]) -> tuple[list[Job], Tally]:
    """What of a run is still to be played, in the planned order.

    Units that failed `MAX_ATTEMPTS` times are given up and counted.
    """
    progress = run.progress()
    by_game: dict[str, list[Instance]] = {}
    for instance in run.instances():
        by_game.setdefault(instance.game, []).append(instance)
    jobs: list[Job] = []
    tally = Tally()
    for name, names in run.config.assignments.items():
        for job in make_jobs(
            get_game(name),
            by_game.get(name, []),
            {role: players[label] for role, label in names.items()},
            names,
            episodes=run.config.episodes[name],
            seed=run.config.seed,
        ):
            key = job.episode.key
            if key in progress.done:
                continue
            job.episode.attempts = progress.failed.get(key, 0) + 1
            if job.episode.attempts > MAX_ATTEMPTS:
                tally.given_up += 1
            else:
                jobs.append(job)
    return jobs, tally


def play_run(
    run: Run,
    *,
    planned: Callable[[int], None] = lambda count: None,
    finished: Callable[[Episode], None] = lambda episode: None,
    concurrency: int | None = None,
    players: Mapping[str, Player] | None = None,
) -> Tally:
    """Play what is missing of a run and record it.

    Args:
        run: the run, which no other process plays into.
        planned: told how many episodes are about to be played.
        finished: told about every episode after its line is written.
        concurrency: replaces the run's own.
        players: the players by label, if they are made already; they are closed at the end.

    Raises:
        RunError: the directory is damaged, or another process is playing into it.
        KeyboardInterrupt: after the episodes that had ended were written; resume plays the rest.
    """
    players = make_players(run.config.players) if players is None else players
    hook = registry().manager.hook
    with EpisodeWriter(run) as writer:
        jobs, tally = missing_jobs(run, players)
        tally.remaining = len(jobs)
        planned(len(jobs))
        limit = concurrency or run.config.concurrency
        if any(player.serial for player in players.values()):
            limit = 1

        observed = bool(hook.playpen_episode_finished.get_hookimpls())

        def record(episode: Episode) -> None:
            writer.append(episode)
            if episode.failure is None:
                tally.finished += 1
                tally.remaining -= 1
            else:
                tally.failed += 1
            if observed:
                hook.playpen_episode_finished(run=run, episode=episode)
            finished(episode)

        async def sitting() -> None:
            async with AsyncExitStack() as stack:
                for player in players.values():
                    stack.push_async_callback(player.close)
                await rollout(_released(jobs), record, concurrency=limit)

        hook.playpen_run_started(run=run)
        try:
            with _rare_collections():
                asyncio.run(sitting())
        finally:
            hook.playpen_run_finished(run=run, completed=tally.remaining + tally.given_up == 0)
    return tally


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


def _released(jobs: list[Job]) -> Iterator[Job]:
    """The jobs in order, let go of as they are taken, so that memory does not grow."""
    jobs.reverse()
    while jobs:
        yield jobs.pop()
