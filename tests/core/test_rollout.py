"""The scheduler: concurrency without barriers, failures that stay where they are, cancelling."""

from __future__ import annotations

import asyncio
import time
import types
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import pytest
from tests.core.sample_games import (
    BuggyGame,
    DelayedPlayer,
    GuessingGame,
    RelayGame,
    babble,
    content,
    game_of,
    guessing,
    instance_of,
    relay,
)

from playpen.conversation import Conversation, Reply, TokenTrace
from playpen.episode import Episode
from playpen.game import Game
from playpen.instance import Instance
from playpen.moves import Ask, Draw, Note, Play, Reward, Success, Violation, ask
from playpen.player import Player, PlayerError
from playpen.players.program import FunctionPlayer
from playpen.rollout import AssignmentError, Job, assign, make_jobs, play, play_episode, rollout

LONG_ENOUGH = 60
"""Seconds after which a test that hangs fails; nothing else depends on it."""


class AsyncPlayer(Player):
    """Awaits a function."""

    def __init__(self, function: Callable[[Conversation], Awaitable[Reply]]) -> None:
        self._function = function

    def reply(self, conversation: Conversation) -> Awaitable[Reply]:
        return self._function(conversation)


def two_questions(instance: Instance) -> Play:
    first = yield Ask("a", "one")
    second = yield Ask("a", "two")
    return Success(float(first.text == second.text))


TWO = game_of(two_questions, roles=("a",), name="two")


def jobs_of(count: int, players: Player | Sequence[Player], game: Game = TWO) -> list[Job]:
    """Episodes of a game with one role; each has its own player if several are given."""
    each = [players] * count if isinstance(players, Player) else players
    instances = [instance_of(game, number=i) for i in range(count)]
    return [
        next(make_jobs(game, [instance], {"a": player}, {"a": "x"}))
        for instance, player in zip(instances, each, strict=True)
    ]


def run(
    jobs: Sequence[Job] | Iterator[Job],
    finished: Callable[[Episode], None] = lambda episode: None,
    concurrency: int = 64,
) -> None:
    async def bounded() -> None:
        await asyncio.wait_for(rollout(jobs, finished, concurrency=concurrency), LONG_ENOUGH)

    asyncio.run(bounded())


# --- who plays -----------------------------------------------------------------------------------


def test_everyone_fills_the_roles_that_are_not_named() -> None:
    assert assign(RelayGame(), "x", {"finder": "y"}) == {"giver": "x", "finder": "y"}
    assert assign(RelayGame(), None, {"finder": "y", "giver": "z"}) == {
        "giver": "z",
        "finder": "y",
    }


def test_a_role_that_the_game_has_not_is_refused_with_a_suggestion() -> None:
    with pytest.raises(
        AssignmentError, match=r"'relay' has no role 'findr'; did you mean 'finder'.*giver, finder"
    ):
        assign(RelayGame(), "x", {"findr": "y"})


def test_a_role_that_nobody_plays_is_named_with_the_remedy() -> None:
    with pytest.raises(AssignmentError, match=r"nobody plays finder in 'relay'.*-p finder=SPEC"):
        assign(RelayGame(), None, {"giver": "y"})


def test_play_refuses_a_missing_or_unknown_role() -> None:
    player = FunctionPlayer(babble)
    with pytest.raises(AssignmentError, match="nobody plays finder"):
        play(RelayGame(), {"giver": player}, [relay()])
    with pytest.raises(AssignmentError, match="no role 'judge'"):
        play(RelayGame(), {"giver": player, "finder": player, "judge": player}, [relay()])


def test_two_player_objects_are_two_players_in_the_record() -> None:
    one, two = FunctionPlayer(babble), FunctionPlayer(babble)
    (apart,) = play(RelayGame(), {"giver": one, "finder": two}, [relay()])
    (alone,) = play(RelayGame(), one, [relay()])
    assert len(set(apart.players.values())) == 2
    assert len(set(alone.players.values())) == 1


# --- planning ------------------------------------------------------------------------------------


def planned(instances: Sequence[Instance], episodes: int | None = None) -> list[tuple[Any, int]]:
    jobs = make_jobs(TWO, instances, {"a": FunctionPlayer(babble)}, {"a": "x"}, episodes=episodes)
    return [(job.instance.get("n"), job.episode.repeat) for job in jobs]


def test_by_default_every_instance_is_played_once() -> None:
    assert planned([instance_of(TWO, n=i) for i in range(3)]) == [(0, 0), (1, 0), (2, 0)]


def test_more_episodes_than_instances_are_repeats() -> None:
    instances = [instance_of(TWO, n=i) for i in range(2)]
    assert planned(instances, 5) == [(0, 0), (1, 0), (0, 1), (1, 1), (0, 2)]
    assert planned(instances, 1) == [(0, 0)]


def test_instances_with_one_content_are_repeats_of_each_other() -> None:
    instances = [instance_of(TWO, n=1, game_id=1), instance_of(TWO, n=1, game_id=2)]
    assert planned(instances) == [(1, 0), (1, 1)]
    assert planned(instances, 3) == [(1, 0), (1, 1), (1, 2)]


def test_episodes_without_any_instance_are_refused_in_words() -> None:
    with pytest.raises((AssignmentError, ValueError), match="instance"):
        planned([], 5)


def test_each_role_gets_its_seat_once() -> None:
    seated: list[tuple[str, str]] = []

    class Seating(Player):
        def seat(self, game: Game, role: str) -> Player:
            seated.append((game.name, role))
            return FunctionPlayer(babble)

    player = Seating()
    jobs = list(
        make_jobs(
            RelayGame(),
            [relay()],
            {"giver": player, "finder": player},
            {"giver": "x", "finder": "x"},
            episodes=4,
        )
    )
    assert sorted(seated) == [("relay", "finder"), ("relay", "giver")]
    assert all(isinstance(p, FunctionPlayer) for job in jobs for p in job.players.values())


def test_play_returns_the_episodes_in_the_planned_order() -> None:
    instances = [guessing(secret=i) for i in range(1, 15)]
    episodes = play(GuessingGame(), DelayedPlayer(), instances, episodes=20, concurrency=6)
    assert [e.instance for e in episodes] == [instances[i % 14].hash for i in range(20)]
    assert [e.repeat for e in episodes] == [0] * 14 + [1] * 6
    assert all(e.outcome is not None for e in episodes)


def test_jobs_are_taken_only_as_there_is_room() -> None:
    taken = 0
    release = asyncio.Event()

    async def wait(conversation: Conversation) -> Reply:
        await release.wait()
        return Reply("x")

    def endless() -> Iterator[Job]:
        nonlocal taken
        while True:
            taken += 1
            yield jobs_of(1, AsyncPlayer(wait))[0]

    async def main() -> None:
        task = asyncio.create_task(rollout(endless(), lambda episode: None, concurrency=5))
        for _ in range(20):
            await asyncio.sleep(0)
        assert taken == 5
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())


# --- concurrency ---------------------------------------------------------------------------------


@pytest.mark.parametrize("concurrency", [1, 3, 10])
def test_as_many_episodes_are_in_flight_as_allowed_and_no_more(concurrency: int) -> None:
    waiting: set[str] = set()
    most = 0

    async def wait(conversation: Conversation) -> Reply:
        nonlocal most
        waiting.add(conversation.instance)
        most = max(most, len(waiting))
        for _ in range(5):
            await asyncio.sleep(0)
        waiting.remove(conversation.instance)
        return Reply("x")

    run(jobs_of(30, AsyncPlayer(wait)), concurrency=concurrency)
    assert most == concurrency


def test_more_room_than_episodes_is_fine() -> None:
    ended: list[Episode] = []
    run(jobs_of(3, FunctionPlayer(babble)), ended.append, concurrency=1000)
    assert len(ended) == 3


@pytest.mark.parametrize("concurrency", [0, -1])
def test_no_room_at_all_is_refused(concurrency: int) -> None:
    with pytest.raises(ValueError, match=rf"at least 1, not {concurrency}"):
        run(jobs_of(1, FunctionPlayer(babble)), concurrency=concurrency)


def test_a_slow_episode_holds_up_nobody() -> None:
    """It is answered only when all others have ended, with two in flight: a barrier would hang."""
    ended: list[str] = []
    all_others = asyncio.Event()

    async def slow(conversation: Conversation) -> Reply:
        await all_others.wait()
        return Reply("x")

    async def quick(conversation: Conversation) -> Reply:
        await asyncio.sleep(0)
        return Reply("x")

    jobs = jobs_of(12, [AsyncPlayer(slow), *[AsyncPlayer(quick)] * 11])

    def finished(episode: Episode) -> None:
        ended.append(episode.instance)
        if len(ended) == 11:
            all_others.set()

    run(jobs, finished, concurrency=2)
    assert ended[-1] == jobs[0].episode.instance
    assert len(ended) == 12


def test_an_answer_is_handed_on_at_once() -> None:
    """One episode makes all its moves while another waits for its first reply."""
    done = asyncio.Event()

    async def slow(conversation: Conversation) -> Reply:
        await done.wait()
        return Reply("x")

    async def quick(conversation: Conversation) -> Reply:
        if conversation.turn == 1:
            done.set()
        return Reply("x")

    ended: list[Episode] = []
    run(jobs_of(2, [AsyncPlayer(slow), AsyncPlayer(quick)]), ended.append, concurrency=2)
    assert len(ended) == 2


def test_ten_thousand_instant_episodes_do_not_starve_one_that_waits() -> None:
    """An engine that shares the loop must get its turns while programs play.

    The programs take their time, so that the event loop has to be given free again and again;
    the waiting episode needs a handful of turns and must not come last.
    """

    def instant(conversation: Conversation) -> str:
        end = time.perf_counter() + 1e-4
        while time.perf_counter() < end:
            pass
        return "x"

    async def waits(conversation: Conversation) -> Reply:
        await asyncio.sleep(0)
        return Reply("x")

    waiting, *others = jobs_of(10_000, [AsyncPlayer(waits), *[FunctionPlayer(instant)] * 9_999])
    order: list[str] = []
    run([waiting, *others], lambda episode: order.append(episode.instance))
    assert len(order) == 10_000
    assert order.index(waiting.episode.instance) < 9_000


def test_one_endless_instant_episode_lets_the_loop_run() -> None:
    async def main() -> None:
        ticks = 0

        async def ticking() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0)
                ticks += 1

        def stop_after_ticks(conversation: Conversation) -> str:
            return "stop" if ticks >= 3 else "on"

        def until_stop(instance: Instance) -> Play:
            while True:
                reply = yield Ask("a", "?", keep=False)
                if reply.text == "stop":
                    return Success()

        ticker = asyncio.create_task(ticking())
        game = game_of(until_stop, roles=("a",), name="two", max_replies=10**7)
        (job,) = jobs_of(1, FunctionPlayer(stop_after_ticks), game)
        episode = await asyncio.wait_for(play_episode(job), LONG_ENOUGH)
        assert episode.success
        ticker.cancel()

    asyncio.run(main())


# --- failures ------------------------------------------------------------------------------------


async def _fails_with_player_error(conversation: Conversation) -> Reply:
    raise PlayerError("the server at 127.0.0.1:1 does not answer")


async def _fails_with_bug(conversation: Conversation) -> Reply:
    raise KeyError("choices")


def _fails_at_once(conversation: Conversation) -> str:
    raise RuntimeError("out of memory")


@pytest.mark.parametrize(
    ("player", "message"),
    [
        (AsyncPlayer(_fails_with_player_error), "the server at 127.0.0.1:1 does not answer"),
        (AsyncPlayer(_fails_with_bug), "the player of a raised KeyError: 'choices'"),
        (FunctionPlayer(_fails_at_once), "the player of a raised RuntimeError: out of memory"),
        (FunctionPlayer(lambda c: 5), "the program returned int, not a text"),  # type: ignore[arg-type]
    ],
)
def test_a_failing_player_ends_its_episode_and_no_other(player: Player, message: str) -> None:
    ended: list[Episode] = []
    players = [player if i % 3 == 0 else FunctionPlayer(babble) for i in range(9)]
    run(jobs_of(9, players), ended.append, concurrency=2)
    failed = [e for e in ended if e.failure is not None]
    assert (len(ended), len(failed)) == (9, 3)
    for episode in failed:
        assert episode.failure is not None
        assert (episode.failure.kind, episode.failure.message) == ("player", message)
        assert episode.failure.role == "a"
        assert (episode.outcome, episode.main_score) == (None, None)


ENDERS = [asyncio.CancelledError, SystemExit, GeneratorExit, BaseException]
"""What usually ends a task or a program, and not one episode."""


@pytest.mark.parametrize("kind", ENDERS)
@pytest.mark.parametrize("waits", [False, True], ids=["at once", "awaited"])
def test_point_15_whatever_a_player_raises_ends_its_episode_and_no_other(
    kind: type[BaseException], waits: bool
) -> None:
    async def later(conversation: Conversation) -> Reply:
        await asyncio.sleep(0)
        raise kind("no more")

    def at_once(conversation: Conversation) -> str:
        raise kind("no more")

    bad = AsyncPlayer(later) if waits else FunctionPlayer(at_once)
    players = [bad if i % 3 == 0 else FunctionPlayer(babble) for i in range(9)]
    ended: list[Episode] = []
    run(jobs_of(9, players), ended.append, concurrency=2)
    failed = [e.failure for e in ended if e.failure is not None]
    assert (len(ended), len(failed)) == (9, 3)
    for failure in failed:
        assert (failure.kind, failure.role) == ("player", "a")
        assert failure.message == f"the player of a raised {kind.__name__}: no more"


@pytest.mark.parametrize("kind", ENDERS)
def test_point_15_whatever_a_game_raises_ends_its_episode_and_no_other(
    kind: type[BaseException],
) -> None:
    def rules(instance: Instance) -> Play:
        yield Ask("a", "one")
        if instance["number"] == 1:
            raise kind("no more")
        return Success(1)

    game = game_of(rules, roles=("a",), name="ender")
    ended: list[Episode] = []
    run(jobs_of(3, FunctionPlayer(babble), game), ended.append, concurrency=1)
    assert [e.failure is None for e in ended] == [True, False, True]
    failure = ended[1].failure
    assert failure is not None and (failure.kind, failure.role) == ("game", None)


def test_point_15_a_real_cancellation_still_cancels() -> None:
    ended: list[Episode] = []

    async def never(conversation: Conversation) -> Reply:
        await asyncio.sleep(LONG_ENOUGH)
        return Reply("too late")

    async def cancelled() -> None:
        playing = asyncio.create_task(rollout(jobs_of(5, AsyncPlayer(never)), ended.append))
        await asyncio.sleep(0.01)
        playing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await playing

    asyncio.run(cancelled())
    assert ended == []


def test_point_15_play_that_is_thrown_away_ends_without_a_record() -> None:
    ended: list[Episode] = []

    @types.coroutine
    def forever() -> Iterator[None]:
        yield

    async def never(conversation: Conversation) -> Reply:
        await forever()
        return Reply("too late")

    async def work() -> None:
        ended.append(await play_episode(jobs_of(1, AsyncPlayer(never))[0]))

    thrown_away = work()
    thrown_away.send(None)
    thrown_away.close()
    assert ended == []


def test_a_failure_after_some_replies_keeps_what_was_played() -> None:
    def second_fails(conversation: Conversation) -> str:
        if conversation.turn:
            raise PlayerError("gone")
        return "first"

    (job,) = jobs_of(1, FunctionPlayer(second_fails))
    run([job])
    assert [said.reply.text for said in job.episode.replies()] == ["first"]
    assert job.episode.failure is not None and job.episode.failure.role == "a"


@pytest.mark.parametrize("bug", BuggyGame.bugs)
def test_a_bug_of_a_game_ends_its_episode_and_no_other(bug: str) -> None:
    instances = [instance_of("buggy", bug=b) for b in ("none", bug, "none")]
    episodes = play(BuggyGame(), FunctionPlayer(babble), instances, concurrency=2)
    assert [e.success for e in episodes] == [True, False, True]
    failure = episodes[1].failure
    assert failure is not None
    assert (failure.kind, failure.role) == ("game", None)
    assert "game buggy" in failure.message


@pytest.mark.parametrize("answer", ["a text", None, 5, ["x"]], ids=repr)
@pytest.mark.parametrize("waits", [False, True], ids=["at once", "awaited"])
def test_a_player_that_returns_no_reply_is_to_blame(answer: Any, waits: bool) -> None:
    async def later(conversation: Conversation) -> Any:
        return answer

    class Wrong(Player):
        def reply(self, conversation: Conversation) -> Any:
            return later(conversation) if waits else answer

    (job,) = jobs_of(1, Wrong())
    run([job])
    assert job.episode.failure is not None
    assert (job.episode.failure.kind, job.episode.failure.role) == ("player", "a")


# What cannot be written to a file and read back must not get into a record: in a run it would
# make the line, and with it everything behind it, unreadable.


def _number_message(text: str) -> str:
    raise Violation("x", 5)  # type: ignore[arg-type]


def _bad_moves(instance: Instance) -> Play:
    kind = instance["kind"]
    yield Ask("a", "?")
    if kind == "yields a text":
        yield "a text"  # type: ignore[misc]
    if kind == "asks a number":
        yield Ask("a", 5)  # type: ignore[arg-type]
    if kind == "notes an object":
        yield Note("n", object())
    if kind == "draws objects":
        yield Draw([object()])
    if kind == "reward is not a number":
        yield Reward("a", float("nan"))
    if kind == "reward is infinite":
        yield Reward("a", float("inf"))
    if kind == "message is a number":
        yield from ask("a", "?", _number_message)
    if kind == "half a character":
        yield Note("n", "\ud83d")
    scores = {"score is a text": "good", "score is a bool": True}
    nan = {"role score is not a number": {"a": float("nan")}}
    return Success(scores.get(kind, 1), nan.get(kind))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "kind",
    [
        "yields a text",
        "asks a number",
        "notes an object",
        "draws objects",
        "reward is not a number",
        "reward is infinite",
        "message is a number",
        "half a character",
        "score is a text",
        "score is a bool",
        "role score is not a number",
    ],
)
def test_whatever_a_game_does_its_record_can_be_stored(kind: str) -> None:
    game = game_of(_bad_moves, roles=("a",))
    (episode,) = play(game, FunctionPlayer(lambda c: "x"), [instance_of(game, kind=kind)])
    assert msgspec.json.decode(msgspec.json.encode(episode), type=Episode) == episode
    if kind != "score is a bool":  # may as well be taken for the number it is
        assert episode.failure is not None
        assert episode.failure.kind == "game"


@pytest.mark.parametrize(
    "reply",
    [
        Reply("half a character: \ud83d"),
        Reply("x", raw="\udcff"),
        Reply("x", reasoning="\udcff"),
        Reply("x", tokens=TokenTrace([1], [2], [float("-inf")])),
        Reply("x", tokens=TokenTrace([1], [2], [float("nan")])),
        Reply(None),  # type: ignore[arg-type]
    ],
    ids=["text", "raw", "reasoning", "minus infinity", "not a number", "none"],
)
def test_whatever_a_player_replies_its_record_can_be_stored(reply: Reply) -> None:
    """A server may send half of an emoji, and a sampler minus infinity."""

    class Odd(Player):
        def reply(self, conversation: Conversation) -> Reply:
            return reply

    (job,) = jobs_of(1, Odd())
    run([job])
    assert msgspec.json.decode(msgspec.json.encode(job.episode), type=Episode) == job.episode
    assert job.episode.failure is None or job.episode.failure.kind == "player"


def test_half_a_character_is_a_reply_like_any_other() -> None:
    (episode,) = play(GuessingGame(), FunctionPlayer(lambda c: "\ud83d"), [guessing()])
    assert episode.aborted
    assert msgspec.json.encode(episode)


def test_every_job_ends_in_the_callback_exactly_once() -> None:
    players = [FunctionPlayer(_fails_at_once if i % 2 else babble) for i in range(101)]
    jobs = jobs_of(101, players)
    ended: list[str] = []
    run(jobs, lambda episode: ended.append(episode.instance), concurrency=7)
    assert sorted(ended) == sorted(job.episode.instance for job in jobs)


# --- cancelling ----------------------------------------------------------------------------------


def test_cancelling_hands_over_nothing_half_finished() -> None:
    ended: list[Episode] = []
    never = asyncio.Event()

    async def stuck(conversation: Conversation) -> Reply:
        if conversation.turn == 1:
            await never.wait()
        return Reply("x")

    jobs = jobs_of(
        40, [AsyncPlayer(stuck) if i % 4 == 0 else FunctionPlayer(babble) for i in range(40)]
    )

    async def main() -> None:
        task = asyncio.create_task(rollout(jobs, ended.append, concurrency=5))
        for _ in range(50):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        for _ in range(10):
            await asyncio.sleep(0)

    asyncio.run(main())
    # Five were stuck at once; all that came before the fifth of them had ended.
    assert len(ended) == 12
    assert all(e.outcome is not None and e.failure is None for e in ended)
    stuck_ones = {job.episode.instance for job in jobs[::4]}
    assert not stuck_ones & {e.instance for e in ended}


def test_an_error_of_the_callback_is_not_swallowed() -> None:
    def full_disk(episode: Episode) -> None:
        raise OSError("No space left on device")

    with pytest.raises((OSError, ExceptionGroup)) as caught:
        run(jobs_of(5, FunctionPlayer(babble)), full_disk)
    error = caught.value
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    assert "No space left" in str(error)


# --- seeds ---------------------------------------------------------------------------------------


class Mixed(Player):
    """Answers some conversations at once and others later, as their seed has it."""

    def __init__(self) -> None:
        self._late = DelayedPlayer()
        self._instant = FunctionPlayer(babble)

    def reply(self, conversation: Conversation) -> Reply | Awaitable[Reply]:
        player: Player = self._late if conversation.seed % 2 else self._instant
        return player.reply(conversation)


PLAYERS: Mapping[str, Callable[[], Player]] = {
    "instant": lambda: FunctionPlayer(babble),
    "delayed": DelayedPlayer,
    "mixed": Mixed,
}


@pytest.mark.parametrize("kind", PLAYERS)
@pytest.mark.parametrize("concurrency", [1, 7, 64])
def test_the_same_seeds_give_the_same_episodes_however_they_are_played(
    kind: str, concurrency: int
) -> None:
    def episodes(player: Player, concurrency: int) -> list[Episode]:
        instances = [relay(), relay(2), relay()]
        made = play(RelayGame(), player, instances, episodes=24, seed=5, concurrency=concurrency)
        return [content(episode) for episode in made]

    reference = episodes(FunctionPlayer(babble), 1)
    assert episodes(PLAYERS[kind](), concurrency) == reference
    # Enough happens for a mix-up to show.
    assert len({repr(e.events) for e in reference}) > 15


def test_another_seed_gives_other_episodes() -> None:
    def said(seed: int) -> list[list[str]]:
        made = play(RelayGame(), FunctionPlayer(babble), [relay()], episodes=5, seed=seed)
        return [[said.reply.text for said in e.replies()] for e in made]

    assert said(1) == said(1)
    assert said(1) != said(2)


def test_play_works_inside_a_running_event_loop() -> None:
    """As in a notebook."""

    async def cell() -> list[Episode]:
        game = game_of(_bad_moves, roles=("a",))
        return play(game, FunctionPlayer(lambda c: "x"), [instance_of(game, kind="none")])

    (episode,) = asyncio.run(cell())
    assert episode.success


def test_a_game_that_never_asks_is_ended() -> None:
    def _endless(instance: Instance) -> Play:
        while True:
            yield Note("still here")

    game = game_of(_endless, roles=("a",))
    (episode,) = play(game, FunctionPlayer(lambda c: "x"), [instance_of(game)])
    assert episode.failure is not None
    assert "without asking anybody" in episode.failure.message


# --- jobs once more ------------------------------------------------------------------------------


def _identity(episode: Episode) -> dict[str, Any]:
    """All that a blank record says of itself, but how often it was tried."""
    names = ("game", "instance", "players", "seed", "repeat", "rules", "experiment", "instance_id")
    return {name: getattr(episode, name) for name in (*names, "split")}


def _relay_job(player: Player) -> Job:
    instances = [relay()] * 3
    players = {"giver": player, "finder": player}
    jobs = make_jobs(RelayGame(), instances, players, dict.fromkeys(players, "x"), seed=5)
    return list(jobs)[2]


def test_a_forked_job_plays_on_from_a_reply_under_the_same_identity() -> None:
    job = _relay_job(FunctionPlayer(babble))
    run([job])
    said = job.episode.replies()
    forked = job.forked(1, 77)
    assert (forked.episode.events, forked.episode.outcome, forked.episode.attempts) == ([], None, 1)
    assert _identity(forked.episode) == _identity(job.episode)
    assert forked.episode.repeat == 2
    assert forked.players is job.players
    run([forked])
    assert forked.episode.failure is None
    assert forked.episode.replies()[:1] == said[:1]
    again = forked.forked(2, 78)
    assert again.start is not None
    assert (again.start.recorded, again.start.turn) == (forked.episode, 2)


def test_a_retried_job_is_the_same_one_an_attempt_later() -> None:
    job = _relay_job(FunctionPlayer(babble))
    run([job])
    broken = FunctionPlayer(_fails_at_once)
    failing = job.forked(1, 77)
    failing.players = {"giver": broken, "finder": broken}
    run([failing])
    assert failing.episode.failure is not None
    retried = failing.retried()
    assert _identity(retried.episode) == _identity(failing.episode) == _identity(job.episode)
    assert (retried.episode.events, retried.episode.failure) == ([], None)
    assert (retried.start, retried.players) == (failing.start, failing.players)
    assert retried.episode.attempts == 2
    assert retried.retried().episode.attempts == 3
