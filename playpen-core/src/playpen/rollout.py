"""The scheduler: many episodes in flight, no barrier between them."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence

import msgspec

from playpen.conversation import Conversation, Reply, storable
from playpen.episode import Episode, Failure, blank_episode
from playpen.errors import PlaypenError
from playpen.game import Game
from playpen.instance import Instance, InstanceError
from playpen.play_loop import PlayLoop
from playpen.player import Player, PlayerError, did_you_mean
from playpen.referee import Referee, blank_copy
from playpen.replay import fork

DEFAULT_CONCURRENCY = 64
_YIELD_AFTER = 0.05
"""Seconds after which instant players let the event loop run."""

_encoder = msgspec.json.Encoder()
_reply_decoder = msgspec.json.Decoder(Reply)


class LoopYield:
    """Lets the event loop run now and then while players that answer at once keep it busy.

    All episodes of a roll-out share one: a turn of the loop takes about `_YIELD_AFTER`, not that
    time for each of them.
    """

    taken = 0
    """How often episodes have paused; whoever waits until all of them wait must know."""

    def __init__(self) -> None:
        self._until = time.perf_counter() + _YIELD_AFTER
        self._renewing = False

    def due(self) -> bool:
        """Whether it is time to pause."""
        return time.perf_counter() > self._until

    async def take(self) -> None:
        """Let everybody else run."""
        LoopYield.taken += 1
        if not self._renewing:
            self._renewing = True
            # Called in the loop's next turn, before the tasks that pause in this one go on.
            asyncio.get_running_loop().call_soon(self._renew)
        await asyncio.sleep(0)

    def _renew(self) -> None:
        self._until = time.perf_counter() + _YIELD_AFTER
        self._renewing = False


class AssignmentError(PlaypenError, ValueError):
    """Roles and players do not fit the game."""


class ForkPoint(msgspec.Struct, frozen=True):
    """Where a recorded episode is taken up again: before its reply number `turn`, over all roles.

    What follows is sampled with `sampling_seed`.
    """

    recorded: Episode
    turn: int
    sampling_seed: int


class Job(msgspec.Struct):
    """One episode to play: its rules, its instance, its empty record, and a player per role.

    With `start` the episode is a fork: the recorded replies and draws up to that point stand.
    """

    game: Game
    instance: Instance
    episode: Episode
    players: Mapping[str, Player]
    start: ForkPoint | None = None

    def forked(self, turn: int, seed: int) -> Job:
        """The job of playing a finished episode on from its reply number `turn`, over all roles.

        The same players play; what follows is sampled with `seed`.
        """
        blank = blank_copy(self.game, self.instance, self.episode)
        start = ForkPoint(self.episode, turn, seed)
        return Job(self.game, self.instance, blank, self.players, start)

    def retried(self) -> Job:
        """The job of trying a failed episode once more."""
        attempts = self.episode.attempts + 1
        blank = blank_copy(self.game, self.instance, self.episode, attempts=attempts)
        return Job(self.game, self.instance, blank, self.players, self.start)


class Limits(msgspec.Struct, frozen=True):
    """Guards against replies that never come and episodes that never end; `None` for no limit.

    Beyond a budget nobody is asked any more: replies are empty, with the `stop_reason`
    ``budget``, and the game's own rules say what that means.  So an episode remains a function of
    its replies.  A reply that does not come is a failure: the episode is tried again on resume.

    Attributes:
        reply_seconds: longest wait for a reply; does not hold for people.
        episode_replies: replies of all roles together.
        episode_tokens: tokens that the players of all roles may write together, as far as they
            count them.
    """

    reply_seconds: float | None = None
    episode_replies: int | None = None
    episode_tokens: int | None = None


NO_LIMITS = Limits()


class _Budget:
    """What is left of an episode's budgets."""

    def __init__(self, limits: Limits) -> None:
        self.replies = math.inf if limits.episode_replies is None else limits.episode_replies
        self.tokens = math.inf if limits.episode_tokens is None else limits.episode_tokens

    def allows(self, conversation: Conversation) -> bool:
        """Whether anybody is asked; if so, the reply has no more tokens than are left."""
        if self.replies <= 0 or self.tokens <= 0:
            return False
        if self.tokens < (conversation.max_new_tokens or math.inf):
            # A game's own limit stands where it is lower; a player's own is for the player to keep.
            conversation.max_new_tokens = int(self.tokens)
        return True

    def spend(self, reply: Reply) -> None:
        """Count a reply."""
        self.replies -= 1
        self.tokens -= reply.completion_tokens or 0


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


def _checked(answer: object, role: str) -> Reply:
    """The reply, if it is one and can be written to a file and read back.

    Raises:
        PlayerError: it is no reply, or it cannot (infinite log-probabilities, say).
    """
    if not isinstance(answer, Reply):
        raise PlayerError(f"the player of {role} returned {type(answer).__name__}, not a Reply")
    extras = (answer.raw, answer.reasoning, answer.tokens)
    if type(answer.text) is str and answer.text.isascii() and extras == (None, None, None):
        return answer
    try:
        _reply_decoder.decode(_encoder.encode(storable(answer)))
    except (msgspec.MsgspecError, TypeError, ValueError, AttributeError) as error:
        message = f"the player of {role} returned a reply that cannot be recorded: {error}"
        raise PlayerError(message) from None
    return answer


async def play_episode(
    job: Job, loop_yield: LoopYield | None = None, limits: Limits = NO_LIMITS
) -> Episode:
    """Play one episode.  Failures of players or game code end in `Episode.failure`, not here."""
    loop_yield = loop_yield or LoopYield()
    budget = None if limits is NO_LIMITS else _Budget(limits)
    episode = job.episode
    episode.started = time.time()
    begin = time.perf_counter()
    role: str | None = None
    task = _current_task()
    try:
        referee, pending = _begin(job)
        while pending is not None:
            role = pending.role
            if budget is not None and not budget.allows(pending):
                role = None
                pending = referee.advance(Reply("", stop_reason="budget"))
                continue
            player = job.players[role]
            answer: object = player.reply(pending)
            if isinstance(answer, Reply):
                if loop_yield.due():
                    await loop_yield.take()
            elif isinstance(answer, Awaitable):
                answer = await _in_time(answer, None if player.serial else limits.reply_seconds)
            reply = _checked(answer, role)
            if budget is not None:
                budget.spend(reply)
            role = None
            pending = referee.advance(reply)
    except PlayerError as error:
        episode.failure = Failure("player", str(error), role)
    except BaseException as error:
        if _ends_play(error, task):
            raise
        culprit = f"the player of {role}" if role else f"the game {job.game.name}"
        message = f"{culprit} raised {type(error).__name__}: {error}"
        episode.failure = Failure("player" if role else "game", message, role)
    episode.seconds = time.perf_counter() - begin
    return episode


def _ends_play(error: BaseException, task: asyncio.Task[object] | None) -> bool:
    """Whether somebody wants the play of a task to end; else the fault is with what raised it.

    Players and games may raise what usually ends a task or a program: by a library's doing, say.
    """
    if isinstance(error, asyncio.CancelledError):
        return task is not None and task.cancelling() > 0
    if isinstance(error, GeneratorExit):  # a coroutine that is thrown away runs in no task
        return task is None or _current_task() is not task
    return isinstance(error, KeyboardInterrupt)


def _current_task() -> asyncio.Task[object] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None


async def _in_time(answer: Awaitable[object], seconds: float | None) -> object:
    """What a player answers.

    Raises:
        PlayerError: it did not come in time.
    """
    if seconds is None:
        return await answer
    try:
        async with asyncio.timeout(seconds) as limit:
            return await answer
    except TimeoutError:
        if not limit.expired():  # the player's own
            raise
        raise PlayerError(f"no reply came within {seconds:g} s") from None


def _begin(job: Job) -> tuple[Referee, Conversation | None]:
    if job.start is None:
        referee = Referee(job.game, job.instance, job.episode)
        return referee, referee.advance()
    start = job.start
    return fork(
        job.game,
        job.instance,
        start.recorded,
        start.turn,
        sampling_seed=start.sampling_seed,
        episode=job.episode,
    )


async def rollout(
    jobs: Iterable[Job],
    finished: Callable[[Episode], None],
    *,
    concurrency: int = DEFAULT_CONCURRENCY,
    limits: Limits = NO_LIMITS,
) -> None:
    """Play all jobs, at most `concurrency` at a time; when one ends, the next starts.

    Args:
        jobs: taken one by one as there is room, so an endless or lazy iterable is fine.
        finished: called with each episode as soon as it ends, in the order of their ends.
        concurrency: episodes in flight.
        limits: of every episode.

    Cancelling abandons the episodes in flight; those are not handed to `finished`.
    """
    queue = iter(jobs)
    loop_yield = LoopYield()

    async def work() -> None:
        for job in queue:
            if loop_yield.due():
                await loop_yield.take()
            finished(await play_episode(job, loop_yield, limits))

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
    if not instances and episodes:
        raise InstanceError(f"there are no instances of {game.name!r} to play")
    for instance, episode in blank_episodes(
        instances, names, rules=game.rules, episodes=episodes, seed=seed
    ):
        yield Job(game, instance, episode, seats)


def blank_episodes(
    instances: Sequence[Instance],
    names: Mapping[str, str],
    *,
    rules: str,
    episodes: int | None = None,
    seed: int = 0,
) -> Iterator[tuple[Instance, Episode]]:
    """The planned episodes of one game, in order: the only place where they are counted.

    Args:
        instances: of one game, at least one if there are episodes.
        names: the recorded name of each role's player.
        rules: version of the game's rules.
        episodes: how many; one per instance if `None`.
        seed: seed of the run.
    """
    seen: dict[str, int] = {}
    for number in range(len(instances) if episodes is None else episodes):
        instance = instances[number % len(instances)]
        repeat = seen.get(instance.hash, 0)
        seen[instance.hash] = repeat + 1
        yield instance, blank_episode(instance, dict(names), rules=rules, seed=seed, repeat=repeat)


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
    if any(player.serial for player in by_role.values()):
        concurrency = 1
    with PlayLoop() as loop:
        loop.run(rollout(planned, lambda episode: None, concurrency=concurrency))
    return [job.episode for job in planned]
