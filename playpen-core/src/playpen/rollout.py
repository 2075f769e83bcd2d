"""The scheduler: many episodes in flight, no barrier between them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import msgspec

from playpen.conversation import Reply
from playpen.episode import Episode, Failure, Referee, new_episode
from playpen.errors import PlaypenError
from playpen.game import Game
from playpen.instance import Instance
from playpen.player import Player, PlayerError, did_you_mean

DEFAULT_CONCURRENCY = 64
_BREATH = 0.05
"""Seconds after which an episode of instant players lets the event loop run."""


class AssignmentError(PlaypenError, ValueError):
    """Roles and players do not fit the game."""


class Job(msgspec.Struct):
    """One episode to play: its rules, its instance, its empty record, and a player per role."""

    game: Game
    instance: Instance
    episode: Episode
    players: Mapping[str, Player]


def assign(game: Game, everyone: str | None, by_role: Mapping[str, str]) -> dict[str, str]:
    """Give each role of a game a player's name.

    Args:
        game: whose roles are filled.
        everyone: who fills the roles that `by_role` does not name.
        by_role: role to name.

    Raises:
        AssignmentError: a role that the game has not, or a role without a player.
    """
    roles = game.role_names()
    for role in by_role:
        if role not in roles:
            raise AssignmentError(
                f"the game {game.name!r} has no role {role!r}{did_you_mean(role, roles)} "
                f"Its roles: {', '.join(roles)}."
            )
    missing = [role for role in roles if role not in by_role and everyone is None]
    if missing:
        raise AssignmentError(
            f"nobody plays {', '.join(missing)} in {game.name!r}; "
            f"add -p {missing[0]}=SPEC, or -p SPEC for all roles"
        )
    return {role: by_role.get(role) or str(everyone) for role in roles}


async def play_episode(job: Job) -> Episode:
    """Play one episode.  Failures of players or game code end in `Episode.failure`, not here."""
    episode = job.episode
    episode.started = time.time()
    begin = time.perf_counter()
    role: str | None = None
    breath = begin + _BREATH
    try:
        referee = Referee(job.game, job.instance, episode)
        pending = referee.advance()
        while pending is not None:
            role = pending.role
            answer = job.players[role].reply(pending)
            if not isinstance(answer, Reply):
                answer = await answer
            elif time.perf_counter() > breath:
                await asyncio.sleep(0)
                breath = time.perf_counter() + _BREATH
            role = None
            pending = referee.advance(answer)
    except PlayerError as error:
        episode.failure = Failure("player", str(error), role)
    except Exception as error:
        culprit = f"the player of {role}" if role else f"the game {job.game.name}"
        message = f"{culprit} raised {type(error).__name__}: {error}"
        episode.failure = Failure("player" if role else "game", message, role)
    episode.seconds = time.perf_counter() - begin
    return episode


async def rollout(
    jobs: Iterable[Job],
    finished: Callable[[Episode], None],
    *,
    concurrency: int = DEFAULT_CONCURRENCY,
) -> None:
    """Play all jobs, at most `concurrency` at a time; when one ends, the next starts.

    Args:
        jobs: taken one by one as there is room, so an endless or lazy iterable is fine.
        finished: called with each episode as soon as it ends, in the order of their ends.
        concurrency: episodes in flight.

    Cancelling abandons the episodes in flight; those are not handed to `finished`.
    """
    queue = iter(jobs)

    async def work() -> None:
        breath = time.perf_counter() + _BREATH
        for job in queue:
            finished(await play_episode(job))
            if time.perf_counter() > breath:
                await asyncio.sleep(0)
                breath = time.perf_counter() + _BREATH

    if concurrency < 1:
        raise ValueError(f"concurrency must be at least 1, not {concurrency}")
    async with asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(work())


def make_jobs(
    game: Game,
    instances: Sequence[Instance],
    players: Mapping[str, Player],
    names: Mapping[str, str],
    *,
    episodes: int | None = None,
    seed: int = 0,
) -> Iterator[Job]:
    """The jobs of one game: episode number i plays instance i modulo their number.

    Instances with the same content are repeats of each other, wherever they stand.

    Args:
        game: the rules.
        instances: what to play on, in order.
        players: the player object of each role.
        names: the recorded name of each role's player.
        episodes: how many; one per instance if `None`.
        seed: seed of the run.
    """
    seats = {role: player.seat(game, role) for role, player in players.items()}
    seen: dict[str, int] = {}
    for number in range(len(instances) if episodes is None else episodes):
        instance = instances[number % len(instances)]
        repeat = seen.get(instance.hash, 0)
        seen[instance.hash] = repeat + 1
        episode = new_episode(game, instance, dict(names), seed=seed, repeat=repeat)
        yield Job(game, instance, episode, seats)


def play(
    game: Game,
    players: Player | Mapping[str, Player],
    instances: Sequence[Instance],
    *,
    episodes: int | None = None,
    seed: int = 0,
    concurrency: int = DEFAULT_CONCURRENCY,
) -> list[Episode]:
    """Play and return the episodes, in the order in which they were planned.

    Args:
        game: the rules.
        players: one player for all roles (self-play), or one per role.
        instances: what to play on.
        episodes: how many; instances cycle as repeats.
        seed: of chance moves and sampling.
        concurrency: episodes in flight.

    Raises:
        AssignmentError: a role without a player, or a player without a role.
    """
    if isinstance(players, Player):
        by_role = dict.fromkeys(game.role_names(), players)
    else:
        assign(game, None, {role: role for role in players})
        by_role = dict(players)
    labels: dict[int, str] = {}
    for player in by_role.values():
        labels.setdefault(id(player), f"player {len(labels) + 1}")
    names = {role: labels[id(player)] for role, player in by_role.items()}
    planned = list(make_jobs(game, instances, by_role, names, episodes=episodes, seed=seed))
    asyncio.run(rollout(planned, lambda episode: None, concurrency=concurrency))
    return [job.episode for job in planned]
