"""Limits of an episode: replies that never come, and episodes that never end."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.core.command_line import playpen
from tests.core.sample_games import game_of, instance_of
from tests.core.virtual_time import run_virtually

from playpen.conversation import Conversation, Reply
from playpen.episode import Episode
from playpen.instance import Instance
from playpen.moves import Abort, Ask, Play, Success
from playpen.player import Player
from playpen.replay import replay
from playpen.rollout import Limits, make_jobs, rollout
from playpen.store import Run

HOUR = 3600.0


def talk(instance: Instance) -> Play:
    """Ten questions in turn; ends well if all are answered."""
    for number in range(10):
        reply = yield Ask("ab"[number % 2], f"Question {number}?", max_new_tokens=50)
        if not reply.text:
            return Abort("empty", "said nothing")
    return Success()


TALK = game_of(talk, name="talk")


class Talker(Player):
    """Says as many tokens as it may, at most 40; thinks for a while."""

    def __init__(self, seconds: float = 1.0) -> None:
        self.seconds = seconds
        self.limits: list[int | None] = []

    async def reply(self, conversation: Conversation) -> Reply:
        self.limits.append(conversation.max_new_tokens)
        await asyncio.sleep(self.seconds)
        count = min(40, conversation.max_new_tokens or 40)
        return Reply("word " * count, completion_tokens=count)


def played(player: Player, limits: Limits, count: int = 1) -> tuple[list[Episode], float]:
    """Finished episodes, and the virtual seconds that they took."""
    instances = [instance_of(TALK, number=number) for number in range(count)]
    episodes: list[Episode] = []
    jobs = make_jobs(TALK, instances, dict.fromkeys("ab", player), dict.fromkeys("ab", "x"))
    _, seconds = run_virtually(rollout(jobs, episodes.append, limits=limits))
    return episodes, seconds


def test_without_limits_all_is_said() -> None:
    player = Talker()
    [episode], _ = played(player, Limits())
    assert episode.success
    assert player.limits == [50] * 10


def test_beyond_the_tokens_nobody_is_asked() -> None:
    player = Talker()
    [episode], _ = played(player, Limits(episode_tokens=100))
    assert player.limits == [50, 50, 20]
    *said, last = [s.reply for s in episode.replies()]
    assert [reply.completion_tokens for reply in said] == [40, 40, 20]
    assert (last.text, last.stop_reason) == ("", "budget")
    assert episode.aborted and episode.failure is None


def test_beyond_the_replies_nobody_is_asked() -> None:
    player = Talker()
    [episode], _ = played(player, Limits(episode_replies=4))
    assert len(player.limits) == 4
    assert [s.reply.stop_reason for s in episode.replies()] == [None] * 4 + ["budget"]
    assert episode.aborted


def test_a_limited_episode_is_a_function_of_its_replies() -> None:
    [episode], _ = played(Talker(), Limits(episode_tokens=100))
    again = replay(TALK, instance_of(TALK, number=0), episode)
    assert again.episode.outcome == episode.outcome
    assert not again.divergences


class Hangs(Talker):
    """Never answers in every third episode."""

    async def reply(self, conversation: Conversation) -> Reply:
        if int(conversation.instance, 16) % 3 == 0:
            await asyncio.sleep(HOUR)
        return await super().reply(conversation)


def test_a_player_that_hangs_stalls_nobody() -> None:
    episodes, seconds = played(Hangs(), Limits(reply_seconds=60), count=64)
    failed = [episode for episode in episodes if episode.failure]
    assert 10 < len(failed) < 40
    assert {e.failure.message for e in failed if e.failure} == {"no reply came within 60 s"}
    assert all(episode.success for episode in episodes if not episode.failure)
    # All were in flight at once: the others did not wait for those that hung.
    assert [e.failure is None for e in episodes] == sorted(
        (e.failure is None for e in episodes), reverse=True
    )
    assert seconds == pytest.approx(60)


def test_a_time_out_of_the_players_own_is_not_ours() -> None:
    class Impatient(Player):
        async def reply(self, conversation: Conversation) -> Reply:
            raise TimeoutError("mine")

    [episode], _ = played(Impatient(), Limits(reply_seconds=60))
    assert episode.failure is not None
    assert "TimeoutError: mine" in episode.failure.message


def test_people_have_all_the_time() -> None:
    class Person(Talker):
        serial = True

    [episode], seconds = played(Person(HOUR), Limits(reply_seconds=60))
    assert episode.success
    assert seconds == pytest.approx(10 * HOUR)


def test_limits_are_recorded_and_hold_when_a_run_is_resumed(tmp_path: Path) -> None:
    run = tmp_path / "run"
    limits = ("--max-episode-replies", "1", "--reply-timeout", "30")
    done = playpen("play", "taboo", "-p", "program:oracle", "-n", "3", "-o", run, *limits)
    assert done.code == 0, done.err
    opened = Run.open(run)
    assert opened.config.limits == Limits(30.0, 1)
    lines = (run / "episodes.jsonl").read_bytes().splitlines(keepends=True)
    (run / "episodes.jsonl").write_bytes(b"".join(lines[:2]))
    assert playpen("resume", run).code == 0
    episodes = list(Run.open(run).episodes())
    assert len(episodes) == 3
    assert {len([s for s in e.replies() if s.reply.stop_reason is None]) for e in episodes} == {1}
    assert {e.replies()[-1].reply.stop_reason for e in episodes} == {"budget"}
