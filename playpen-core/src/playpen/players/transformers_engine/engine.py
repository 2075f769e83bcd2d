"""Generation with a transformers model: one batch that rows join and leave.

A new request joins the batch that is being generated at its next step, and a finished one leaves
it at once: nobody waits for the longest reply of a batch.  What was read before, as a rule all
earlier turns of a conversation, is not read again (see `prefix_cache`).
"""

from __future__ import annotations

import asyncio
import atexit
import inspect
import random
import threading
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, TypeVar

import torch
from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerBase
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from playpen.player import PlayerError
from playpen.players.transformers_engine.batch_cache import BatchCache
from playpen.players.transformers_engine.gqa import grouped
from playpen.players.transformers_engine.prefix_cache import (
    NOTHING_CACHED,
    CachedPrefix,
    PrefixCache,
    PrefixIndex,
    Weights,
    recall,
)
from playpen.rollout import LoopYield

ResultT = TypeVar("ResultT")


@dataclass(eq=False, slots=True)
class Request:
    """A reply to generate, and what was generated so far.

    Attributes:
        ids: what the model reads first.
        limit: most tokens to sample.
        stops: ids after which the reply is complete.
        temperature, top_p, top_k: as in `HuggingFaceOptions`.
        batch_size: most rows of a batch that it takes part in.
        rng: gives one number in [0, 1) for each token.
        kept_tokens: 0 reads all ids anew and keeps nothing; else most tokens whose keys and
            values are kept.
        sampled: ids sampled, a stop included.
        logprobs: log-probability of each sampled id: after temperature (1 where the temperature
            is 0), before the cuts of `top_k` and `top_p`.
        done: resolved when the reply is complete.
    """

    ids: Sequence[int]
    limit: int
    stops: frozenset[int]
    temperature: float
    top_p: float
    top_k: int
    batch_size: int
    rng: random.Random
    kept_tokens: int = 0
    sampled: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    done: Future[None] = field(default_factory=Future)

    @property
    def length(self) -> int:
        """How many ids are in the cache: all but the last one sampled."""
        return len(self.ids) + len(self.sampled) - 1

    @property
    def complete(self) -> bool:
        """Whether nothing more is to be sampled."""
        return len(self.sampled) >= self.limit or (
            bool(self.sampled) and self.sampled[-1] in self.stops
        )

    @property
    def finished(self) -> bool:
        """Whether the reply is complete, or nobody waits for it any longer."""
        return self.complete or self.done.cancelled()

    def resolve(self, error: Exception | None = None) -> None:
        """Tell who waits, unless they have given up."""
        try:
            if error is None:
                self.done.set_result(None)
            else:
                self.done.set_exception(error)
        except InvalidStateError:
            pass


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
                # The thread must not hold the engine: then nobody could ever let go of it.
                batch = _Batch(self.model, self._kept)
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
        batch = _Batch(self.model, self._kept, Weights(self.model))
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

        A reply takes two turns to wake its episode, and an episode that was playing for long
        pauses for one.
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
    """Let no worker run into the end of the interpreter, where torch would crash it."""
    for worker, inbox in list(_workers.items()):
        inbox.put(None)
        worker.join()


def _stops(model: PreTrainedModel) -> frozenset[int]:
    configured = getattr(model.generation_config, "eos_token_id", None)
    if configured is None:
        return frozenset()
    return frozenset([configured] if isinstance(configured, int) else configured)


def _work(batch: _Batch, inbox: SimpleQueue[Request | None], name: str) -> None:
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


def _failure(error: Exception) -> str:
    if isinstance(error, torch.OutOfMemoryError):
        return "the device is out of memory; lower batch_size or max_new_tokens"
    lines = str(error).strip().splitlines()
    return ": ".join([type(error).__name__, *lines[:1]])


_WORTH_A_PASS = 32
"""How many ids must be saved for it to run the model once more."""


class _Batch:
    """The rows that are generated together.

    Rows are aligned at their ends: in a cache of S columns a row of n ids fills the last n.  Every
    row's last sampled id is not in the cache yet; it is what the next step feeds.

    Args:
        model: generates.
        kept: keys and values from before.
        weights: of a model whose weights may change while it plays.
    """

    def __init__(
        self, model: PreTrainedModel, kept: PrefixCache, weights: Weights | None = None
    ) -> None:
        self.rows: list[Request] = []
        self._model = model
        self._kept = kept
        self._weights = weights
        self._device = model.device
        # Layers that keep all keys can be joined, compacted and trimmed (sliding windows are kept
        # by the mask); other kinds of memory (linear attention) stay as they are from start to end.
        kinds = {type(layer) for layer in DynamicCache(config=model.config).layers}
        self._flexible = kinds <= {DynamicLayer, DynamicSlidingWindowLayer}
        self._cache = self._empty()
        # An adapter's forward passes on whatever it gets and names none of it.
        base: Any = getattr(model, "get_base_model", lambda: model)
        inner = base()
        keeps = "logits_to_keep" in inspect.signature(inner.forward).parameters
        self._last_only = {"logits_to_keep": 1} if keeps else {}

    def _empty(self) -> DynamicCache:
        return BatchCache() if self._flexible else DynamicCache(config=self._model.config)

    def serve(self, waiting: deque[Request], name: str) -> None:
        """Let in who can join, and sample one token for every row.

        A failure is told to all who wait for a row; it never leaves this method.
        """
        joining = self.admit(waiting)
        try:
            if joining:
                self.join(joining)
            if self.rows:
                self.step()
        except Exception as error:  # whoever waits must learn of it
            for request in [*joining, *self.rows]:
                request.resolve(PlayerError(f"hf:{name}: generation failed: {_failure(error)}"))
            self.clear()
            self._kept.clear()

    def admit(self, waiting: deque[Request]) -> list[Request]:
        """Take from the queue who can join now, in order."""
        admitted: list[Request] = []
        if self.rows and not self._flexible:
            return admitted
        size = min((row.batch_size for row in self.rows), default=2**31)
        while waiting:
            size = min(size, waiting[0].batch_size)
            if len(self.rows) + len(admitted) >= size:
                break
            request = waiting.popleft()
            if not request.done.cancelled():
                admitted.append(request)
        return admitted

    @torch.no_grad()
    def join(self, rows: list[Request]) -> None:
        """Feed the ids of new rows, as far as they are not known, and sample first tokens."""
        if self._weights is not None and self._kept.outdated(self._weights.mark()):
            for row in self.rows:  # in part of the old weights
                row.kept_tokens = 0
        while rows:
            now, awaited = self._choose(rows)
            cache = self._read(now)
            for number, row in enumerate(now):
                if row in awaited:
                    self._keep(row.ids, cache, number, row.kept_tokens)
            self._take_in(cache)
            self.rows += now
            rows = [row for row in rows if row not in now]
        self._drop_finished()

    def _choose(self, rows: list[Request]) -> tuple[list[Request], set[Request]]:
        """Whom to feed next, and who of them is awaited by others that begin alike.

        All rows of a pass feed as many ids as the one that needs most; so those that need much
        more than others come later.
        """
        if not self._flexible:
            return rows, set()
        begun, by_ids = PrefixIndex(), dict[tuple[int, ...], Request]()
        needs: dict[Request, int] = {}
        awaited: set[Request] = set()
        for row in rows:
            known, ids = self._find(row).length, tuple(row.ids[:-1])
            if row.kept_tokens >= len(row.ids):
                shared, other = begun.closest(ids)
                if shared - known >= _WORTH_A_PASS:
                    awaited.add(by_ids[other])
                    continue
                begun.add(ids)
                by_ids[ids] = row
            needs[row] = len(row.ids) - known
        most = 2 * min(needs.values()) + _WORTH_A_PASS
        return [row for row, need in needs.items() if need <= most], awaited

    def _read(self, rows: list[Request]) -> DynamicCache:
        """Feed equally many ids of each row, so that each stays in one piece at its end."""

        def read() -> DynamicCache:
            found = [self._find(row) for row in rows]
            new = max(len(row.ids) - known.length for row, known in zip(rows, found, strict=True))
            starts = [max(0, len(row.ids) - new) for row in rows]
            padding = [[0] * (new - len(row.ids)) for row in rows]
            ids = [pad + list(row.ids[-new:]) for pad, row in zip(padding, rows, strict=True)]
            positions = [
                pad + list(range(start, len(row.ids)))
                for pad, start, row in zip(padding, starts, rows, strict=True)
            ]
            cache = DynamicCache() if self._flexible else self._empty()
            if any(starts):
                cache = recall(
                    [CachedPrefix(n, k.states) for n, k in zip(starts, found, strict=True)]
                )
            self._advance(rows, cache, ids, positions, max(starts) + new)
            return cache

        return self._with_room(read)

    def _find(self, row: Request) -> CachedPrefix:
        return self._kept.find(row.ids) if row.kept_tokens and self._flexible else NOTHING_CACHED

    def _keep(self, ids: Sequence[int], cache: DynamicCache, number: int, limit: int) -> None:
        try:
            self._kept.keep(ids, cache, number, limit)
        except torch.OutOfMemoryError:
            self._kept.clear()

    def _with_room(self, work: Callable[[], ResultT]) -> ResultT:
        """Do it; where the device's memory is too small, drop what is kept and do it again."""
        try:
            return work()
        except torch.OutOfMemoryError:
            if not self._kept.tokens:
                raise
        self._kept.clear()
        return work()

    @torch.no_grad()
    def step(self) -> None:
        """Feed every row's last token and sample the next one."""
        ids = [[row.sampled[-1]] for row in self.rows]
        positions = [[row.length] for row in self.rows]
        width = self._cache.get_seq_length()

        def advance() -> None:
            # A first attempt has filled some layers.
            if isinstance(self._cache, BatchCache) and self._cache.get_seq_length() > width:
                self._cache.narrow(slice(width))
            self._advance(self.rows, self._cache, ids, positions, width + 1)

        self._with_room(advance)
        self._drop_finished()

    def _advance(
        self,
        rows: list[Request],
        cache: DynamicCache,
        ids: list[list[int]],
        positions: list[list[int]],
        width: int,
    ) -> None:
        """Run the model on `ids` (rows x new ids) and sample one token for each row.

        `width` is the number of the cache's columns afterwards.
        """
        lengths = torch.tensor([positions_of_row[-1] + 1 for positions_of_row in positions])
        mask = torch.arange(width) >= width - lengths[:, None]
        with grouped(self._model):
            output = self._model(
                input_ids=torch.tensor(ids, device=self._device),
                attention_mask=mask.long().to(self._device),
                position_ids=torch.tensor(positions, device=self._device),
                past_key_values=cache,
                use_cache=True,
                **self._last_only,
            )
        tokens, logprobs = sample(output.logits[:, -1].float(), rows)
        for row, token, logprob in zip(rows, tokens, logprobs, strict=True):
            if not row.complete:  # rows that could not be dropped go on unheard
                row.sampled.append(token)
                row.logprobs.append(logprob)

    def _take_in(self, cache: DynamicCache) -> None:
        """Put the rows of a cache below those that are generated already."""
        if not isinstance(self._cache, BatchCache):
            self._cache = cache
            return
        for layer in range(len(cache.layers)):
            self._with_room(partial(self._cache.add, cache, layer))

    def _drop_finished(self) -> None:
        for number, row in enumerate(self.rows):
            if row.finished:
                if row.kept_tokens and self._flexible and not row.done.cancelled():
                    ids = [*row.ids, *row.sampled[:-1]]
                    self._keep(ids, self._cache, number, row.kept_tokens)
                row.resolve()
        ended = [number for number, row in enumerate(self.rows) if row.finished]
        if len(ended) == len(self.rows):
            self.clear()
        elif ended and isinstance(self._cache, BatchCache):
            self.rows = [self.rows[number] for number in self._cache.leave(ended)]
            unused = self._cache.get_seq_length() - max(row.length for row in self.rows)
            self._cache.narrow(slice(unused, None))

    def clear(self) -> None:
        """Forget all rows."""
        self.rows = []
        self._cache = self._empty()


class Sampled(NamedTuple):
    """One token for each row, and its log-probability."""

    tokens: list[int]
    logprobs: list[float]


def sample(logits: torch.Tensor, rows: Sequence[Request]) -> Sampled:
    """Choose the next token of each row.

    Args:
        logits: rows x vocabulary, float32.
        rows: temperature, cuts and random generator of each row.

    Raises:
        ArithmeticError: the logits hold no usable numbers.
    """
    device = logits.device
    temperatures = torch.tensor([row.temperature or 1.0 for row in rows], device=device)
    # Shifted first, so that a very low temperature does not overflow.
    shifted = logits - logits.amax(dim=-1, keepdim=True)
    logprobs = torch.log_softmax(shifted / temperatures[:, None], dim=-1)
    chosen = logits.argmax(dim=-1)
    drawing = [number for number, row in enumerate(rows) if row.temperature > 0]
    if drawing:
        drawn = _draw(logprobs[drawing].exp(), [rows[number] for number in drawing])
        chosen[drawing] = drawn
    picked = logprobs.gather(-1, chosen[:, None])[:, 0]
    if not torch.isfinite(picked).all():
        raise ArithmeticError("the model gave no finite probabilities; try dtype=float32")
    return Sampled(chosen.tolist(), picked.tolist())


def _draw(probabilities: torch.Tensor, rows: Sequence[Request]) -> torch.Tensor:
    """Draw by inversion: the first token at which the running sum passes the row's number."""
    device = probabilities.device
    exact = torch.float32 if device.type == "mps" else torch.float64
    weights, order = probabilities.to(exact), None
    vocabulary = weights.shape[-1]
    if any(row.top_p < 1 or 0 < row.top_k < vocabulary for row in rows):
        weights, order = weights.sort(dim=-1, descending=True, stable=True)
        top_p = torch.tensor([row.top_p for row in rows], device=device, dtype=exact)
        top_k = torch.tensor([row.top_k or vocabulary for row in rows], device=device)
        # The token at which the sum reaches top_p is still in; so there is always one.
        before = weights.cumsum(dim=-1) - weights
        within = (before < top_p[:, None]) | (top_p[:, None] == 1)
        within &= torch.arange(vocabulary, device=device) < top_k[:, None]
        weights = weights * within
    sums = weights.cumsum(dim=-1)
    numbers = torch.tensor([row.rng.random() for row in rows], device=device, dtype=exact)
    places = torch.searchsorted(sums, numbers[:, None] * sums[:, -1:], right=True)
    places = places.clamp(max=vocabulary - 1)
    return (places if order is None else order.gather(-1, places))[:, 0]
