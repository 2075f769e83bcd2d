"""Generation with a transformers model: one batch that rows join and leave.

A new request joins the batch that is being generated at its next step, and a finished one leaves
it at once: no reply waits for the longest one of its batch (see `batch`).  What was read before, as
a rule all earlier turns of a conversation, is not read again (see `prefix_cache`).
"""

from __future__ import annotations

import asyncio
import atexit
import threading
import weakref
from collections import deque
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from playpen.player import PlayerError
from playpen.players.transformers_engine.batch import Batch
from playpen.players.transformers_engine.prefix_cache import PrefixCache, Weights
from playpen.players.transformers_engine.request import Request
from playpen.rollout import LoopYield


class Engine:
    """A loaded model and the worker thread that generates with it.

    Attributes:
        positions: how many ids the model can read and write together.
        stops: ids that end a reply, by the model's generation configuration.
    """

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, name: str
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.name = name
        config = model.config.get_text_config(decoder=True)
        self.positions: int = getattr(config, "max_position_embeddings", None) or 2**31
        self.stops = _stops(model)
        self._kept = PrefixCache()
        self._users = 0
        self._lock = threading.Lock()
        self._inbox: SimpleQueue[Request | None] | None = None
        self._worker: threading.Thread | None = None

    def submit(self, request: Request) -> Future[None]:
        """Queue a request; its future is resolved by the worker.

        The future raises `PlayerError` if generation fails.

        Raises:
            PlayerError: the model is in training mode (dropout, no cache of keys and values).
        """
        if self.model.training:
            raise PlayerError(f"hf:{self.name} is in training mode; call model.eval() before play")
        with self._lock:
            if self._inbox is None:
                self._inbox = SimpleQueue()
                # The thread must not hold the engine, which would then never be freed.
                batch = Batch(self.model, self._kept)
                arguments = (batch, self._inbox, self.name)
                self._worker = threading.Thread(
                    target=_work, args=arguments, name=f"hf:{self.name}", daemon=True
                )
                _workers[self._worker] = self._inbox
                self._worker.start()
                weakref.finalize(self, self._inbox.put, None)
            self._inbox.put(request)
        return request.done

    def acquire(self) -> None:
        """Count a player that uses the engine."""
        with self._lock:
            self._users += 1

    def release(self) -> None:
        """Count a player less; when the last one goes, stop the worker and wait for its end."""
        with self._lock:
            self._users -= 1
            if self._users or self._inbox is None:
                return
            self._inbox.put(None)
            worker, self._inbox, self._worker = self._worker, None, None
        assert worker is not None
        worker.join()
        self._kept.clear()


class LoopEngine(Engine):
    """Generates in the event loop's own thread, a step whenever every other task waits.

    Which requests share a batch then depends on the episodes alone and not on how threads are
    scheduled: on a CPU the same roll-out gives the same ids and log-probabilities, bit by bit, as
    long as all players are programs or engines of this kind.

    So it must not matter what was played before.  Keys and values are kept as long as any task
    lives that has asked: as the tasks of a roll-out end with it, the next one begins with nothing,
    and in between the memory is free.  They also go when weights or adapters change.
    """

    _arrived = 0
    """Requests to all engines of this kind: each of them waits until nobody asks any of them."""

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, name: str
    ) -> None:
        super().__init__(model, tokenizer, name)
        self._waiting: deque[Request] = deque()
        self._askers: set[asyncio.Task[Any]] = set()
        self._task: asyncio.Task[None] | None = None

    def submit(self, request: Request) -> Future[None]:
        """Queue a request; its future is resolved while the running event loop goes on.

        Raises:
            PlayerError: the model is in training mode (dropout, no cache of keys and values).
        """
        if self.model.training:
            raise PlayerError(f"hf:{self.name} is in training mode; call model.eval() before play")
        asker = asyncio.current_task()
        if asker is not None and asker not in self._askers:
            self._askers.add(asker)
            asker.add_done_callback(self._goes)
        self._waiting.append(request)
        LoopEngine._arrived += 1
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._generate())
        return request.done

    def release(self) -> None:
        """Count a player less; there is no worker to stop."""
        with self._lock:
            self._users -= 1

    def _goes(self, asker: asyncio.Task[Any]) -> None:
        self._askers.remove(asker)
        if not self._askers:
            self._kept.clear()

    async def _generate(self) -> None:
        batch = Batch(self.model, self._kept, Weights(self.model))
        try:
            while self._waiting or batch.rows:
                await self.wait_until_idle()
                batch.serve(self._waiting, self.name)
        finally:  # left over only if the loop was cancelled
            for request in [*self._waiting, *batch.rows]:
                request.resolve(PlayerError(f"hf:{self.name} was interrupted"))
            self._waiting.clear()

    async def wait_until_idle(self) -> None:
        """Let other tasks run until no request has come for some turns of the loop.

        A reply takes two turns of the loop to reach its episode, and an episode that was playing
        for long pauses for one.
        """
        quiet = 0
        while quiet < _QUIET_TURNS:
            before = (LoopEngine._arrived, LoopYield.taken)
            await asyncio.sleep(0)
            quiet = quiet + 1 if (LoopEngine._arrived, LoopYield.taken) == before else 0


_QUIET_TURNS = 4

_workers: dict[threading.Thread, SimpleQueue[Request | None]] = {}
"""The running workers and their inboxes."""


@atexit.register
def _stop_workers() -> None:
    """Stop the workers before the interpreter ends: torch would crash in a running thread."""
    for worker, inbox in list(_workers.items()):
        inbox.put(None)
        worker.join()


def _stops(model: PreTrainedModel) -> frozenset[int]:
    configured = getattr(model.generation_config, "eos_token_id", None)
    if configured is None:
        return frozenset()
    return frozenset([configured] if isinstance(configured, int) else configured)


def _work(batch: Batch, inbox: SimpleQueue[Request | None], name: str) -> None:
    """Generate for whoever waits until `None` arrives: the body of the worker thread.

    A batch that begins anew waits for requests as long as they come one after the other: those of
    replies that ended together would otherwise go on out of step, in more and smaller passes.
    """
    waiting: deque[Request] = deque()
    while True:
        idle = not (waiting or batch.rows)
        try:
            arrived = inbox.get(block=idle)
            while True:
                if arrived is None:
                    for request in [*waiting, *batch.rows]:
                        request.resolve(PlayerError(f"hf:{name} was closed"))
                    del _workers[threading.current_thread()]
                    return
                waiting.append(arrived)
                gathering = idle and len(waiting) < arrived.batch_size
                arrived = inbox.get(timeout=_GATHERING) if gathering else inbox.get(block=False)
        except Empty:
            pass
        batch.serve(waiting, name)


_GATHERING = 0.002
"""Seconds without a request after which a new batch begins."""
