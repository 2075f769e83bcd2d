"""The scheduler under load: an engine with stragglers and failures has no idle time.

Time is virtual, so what is asserted are the seconds that a simulated engine would have taken, and
they are the same on every machine.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest
from tests.core.sample_games import game_of, instance_of
from tests.core.virtual_time import run_virtually

from playpen.conversation import Conversation, Reply
from playpen.episode import Episode
from playpen.game import Ask, Play, Success
from playpen.instance import Instance
from playpen.player import Player, PlayerError
from playpen.rollout import make_jobs, rollout

SLOTS = 256
"""Requests that the simulated engine works on at once, like vLLM's `max_num_seqs`."""


class SimulatedEngine(Player):
    """Log-normal latencies of about a second, 1 % ten times as slow, 5 % failures.

    Attributes:
        worked: seconds in which slots were in use, all slots together.
        waiting: requests without a slot.
        drained: when the last request that had to wait got its slot.
        worked_until_drained: `worked` at that time.
    """

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(SLOTS)
        self._chance = random.Random(5)
        self.worked = 0.0
        self.waiting = 0
        self.drained = 0.0
        self.worked_until_drained = 0.0

    async def reply(self, conversation: Conversation) -> Reply:
        chance = random.Random(self._chance.random())
        self.waiting += 1
        async with self._free:
            self.waiting -= 1
            clock = asyncio.get_running_loop().time
            latency = chance.lognormvariate(-0.1, 0.5) * (10 if chance.random() < 0.01 else 1)
            if self.waiting:
                self.drained, self.worked_until_drained = clock(), self.worked
            await asyncio.sleep(latency)
            self.worked += latency
            if chance.random() < 0.05:
                raise PlayerError("the engine stumbled")
        return Reply("yes")


def varied(instance: Instance) -> Play:
    for number in range(1 + instance["number"] % 8):
        yield Ask("a", f"Question {number}?")
    return Success()


VARIED = game_of(varied, roles=("a",), name="varied")


def played(episodes: int, concurrency: int, engine: SimulatedEngine) -> tuple[Counter[str], float]:
    """How episodes ended, and the seconds it took."""
    instances = [instance_of(VARIED, number=number) for number in range(episodes)]
    jobs = make_jobs(VARIED, instances, {"a": engine}, {"a": "x"})
    ends: Counter[str] = Counter()

    def note(episode: Episode) -> None:
        ends["failed" if episode.failure else "finished"] += 1

    _, seconds = run_virtually(rollout(jobs, note, concurrency=concurrency))
    return ends, seconds


def test_ten_thousand_episodes_keep_the_engine_busy() -> None:
    engine = SimulatedEngine()
    ends, seconds = played(10_000, 1_000, engine)
    assert ends.total() == 10_000
    assert 1_000 < ends["failed"] < 3_000
    assert engine.worked_until_drained / (SLOTS * engine.drained) >= 0.99
    # With the end, when there are fewer episodes left than slots, and the stragglers among them.
    assert engine.worked / (SLOTS * seconds) >= 0.8


@pytest.mark.parametrize("concurrency", [64, 128])
def test_fewer_episodes_than_slots_leave_slots_idle(concurrency: int) -> None:
    """What the measure shows if the scheduler does not ask for enough."""
    engine = SimulatedEngine()
    _, seconds = played(2_000, concurrency, engine)
    share = engine.worked / (SLOTS * seconds)
    assert 0.8 * concurrency / SLOTS < share <= concurrency / SLOTS
