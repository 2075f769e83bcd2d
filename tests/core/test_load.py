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
from playpen.instance import Instance
from playpen.moves import Ask, Play, Success
from playpen.player import Player, PlayerError
from playpen.rollout import make_jobs, rollout


class SimulatedEngine(Player):
    """Log-normal latencies of about a second, 1 % ten times as slow, 5 % failures.

    Args:
        slots: requests that it works on at once, like vLLM's `max_num_seqs`.

    Attributes:
        worked: seconds in which slots were in use, all slots together.
        waiting: requests without a slot.
        drained: when the last request that had to wait got its slot.
        worked_until_drained: `worked` at that time.
    """

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._free = asyncio.Semaphore(slots)
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


@pytest.mark.parametrize(("slots", "over_all"), [(64, 0.95), (256, 0.8)])
def test_ten_thousand_episodes_keep_the_engine_busy(slots: int, over_all: float) -> None:
    """No slot is idle while a request waits; at the end they wait for stragglers.

    When the last waiting request gets its slot, every request in flight goes on as fast as it can,
    and the rest of the run takes as long as the slowest episode.  A straggler occupies its slot ten
    times as long as others: of the requests that are in flight at any time about 9 % are stragglers
    (0.1 / (0.1 + 0.99)), 23 of 256, and each has 6.6 s left on average; the slowest of them, with
    the turns that its episode still has, takes 20 to 40 s.  With 256 slots the work fills 175 s,
    and 95 % would leave 9 s for that; with 64 slots it fills 700 s, and 37 s are left.

    The order changes little, as nobody knows beforehand which replies will be slow: with the same
    latencies and 256 slots, first come first served is 88 and 91 % busy over all (two seeds), the
    oldest episode first 87 and 90 %, and longest episodes begun first, if a game could tell, 91 %.
    """
    engine = SimulatedEngine(slots)
    ends, seconds = played(10_000, 1_000, engine)
    assert ends.total() == 10_000
    assert 1_000 < ends["failed"] < 3_000
    assert engine.worked_until_drained / (slots * engine.drained) >= 0.99
    assert engine.worked / (slots * seconds) >= over_all


@pytest.mark.parametrize("concurrency", [64, 128])
def test_fewer_episodes_than_slots_leave_slots_idle(concurrency: int) -> None:
    """What the measure shows if the scheduler does not ask for enough."""
    engine = SimulatedEngine(256)
    _, seconds = played(2_000, concurrency, engine)
    share = engine.worked / (256 * seconds)
    assert 0.8 * concurrency / 256 < share <= concurrency / 256
