"""The rows that are generated together: who joins, what is read, what is kept, who leaves."""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import torch
from transformers import DynamicCache, PreTrainedModel
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
from playpen.players.transformers_engine.request import Request
from playpen.players.transformers_engine.sampling import sample

ResultT = TypeVar("ResultT")

_WORTH_A_PASS = 32
"""How many ids must be saved for it to run the model once more."""


class Batch:
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
        """Add the requests that can join, and sample one token for every row.

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
        """Take the requests that can join now from the queue, in order."""
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
            prefixes = [self._find(row) for row in rows]
            new = max(
                len(row.ids) - known.length for row, known in zip(rows, prefixes, strict=True)
            )
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
                    [CachedPrefix(n, k.states) for n, k in zip(starts, prefixes, strict=True)]
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
            if not row.complete:  # a complete row that could not be dropped gets nothing more
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


def _failure(error: Exception) -> str:
    if isinstance(error, torch.OutOfMemoryError):
        return "the device is out of memory; lower batch_size or max_new_tokens"
    lines = str(error).strip().splitlines()
    return ": ".join([type(error).__name__, *lines[:1]])
