"""Keys and values of ids that a model has read, kept so that it need not read them again.

The next turn of a conversation begins with all of the turn before; the episodes of a game begin
with the same instructions; forks begin with the same half of an episode.  Keys and values depend
on nothing but the weights and the ids up to their own, so any sequence that begins alike can use
them.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook
from transformers import DynamicCache, PreTrainedModel

States: TypeAlias = list[tuple[torch.Tensor, torch.Tensor]]
"""Keys and values of each layer: key/value heads x ids x head size."""


class CachedPrefix(NamedTuple):
    """How many ids of a sequence were read before, and the states of at least as many."""

    length: int
    states: States | None


NOTHING_CACHED = CachedPrefix(0, None)


class PrefixIndex:
    """Sequences of ids, of which the one that begins most like another is found at once."""

    def __init__(self) -> None:
        self._sorted: list[tuple[int, ...]] = []

    def add(self, ids: tuple[int, ...]) -> None:
        """Add a sequence that is not there yet."""
        self._sorted.insert(bisect_left(self._sorted, ids), ids)

    def remove(self, ids: tuple[int, ...]) -> None:
        """Remove a sequence that is there."""
        del self._sorted[bisect_left(self._sorted, ids)]

    def closest(self, ids: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
        """The longest common beginning with any sequence: its length, and that sequence.

        Where there is none, the length is 0 and the sequence empty.
        """
        place = bisect_left(self._sorted, ids)
        # In sorted order those that begin most alike stand side by side.
        beside = self._sorted[max(0, place - 1) : place + 1]
        return max(((_shared(ids, other), other) for other in beside), default=(0, ()))


def _shared(one: Sequence[int], other: Sequence[int]) -> int:
    """Length of the common beginning."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))


class PrefixCache:
    """Keys and values by the ids that they are of; those that were used last stay longest.

    None of the sequences is the beginning of another one.
    """

    def __init__(self) -> None:
        self._states: dict[tuple[int, ...], States] = {}  # used last at the end
        self._ids = PrefixIndex()
        self._room: int | None = None
        self._limit = 0
        self._mark: object = None
        self.tokens = 0

    def find(self, ids: Sequence[int]) -> CachedPrefix:
        """The states of the longest beginning that is kept.

        The last of the ids never counts as known: the model must read it to say what comes next.
        """
        length, kept = self._ids.closest(tuple(ids[:-1]))
        if not length:
            return NOTHING_CACHED
        states = self._states[kept] = self._states.pop(kept)
        return CachedPrefix(length, states)

    def keep(self, ids: Sequence[int], cache: DynamicCache, row: int, limit: int) -> None:
        """Keep the states of the last `len(ids)` columns of a row of a cache.

        Args:
            ids: what they are of, from the first one on.
            cache: where they are; they are copied.
            row: which row.
            limit: most ids whose states are kept.  Where those who share this memory differ, the
                largest number counts.  It never takes more than a quarter of the device's memory.
        """
        added = tuple(ids)
        shared, beside = self._ids.closest(added)
        if shared == len(added):
            self._states[beside] = self._states.pop(beside)
            return
        layers: list[Any] = cache.layers
        if self._room is None:
            self._room = _room(layers)
        self._limit = max(self._limit, min(limit, self._room))
        if len(added) > self._limit:
            return
        if beside and shared == len(beside):  # it goes on from there
            self._drop(beside)
        while self.tokens + len(added) > self._limit:
            self._drop(next(iter(self._states)))
        self._states[added] = [
            (
                layer.keys[row, :, -len(added) :].clone(),
                layer.values[row, :, -len(added) :].clone(),
            )
            for layer in layers
        ]
        self._ids.add(added)
        self.tokens += len(added)

    def outdated(self, mark: object) -> bool:
        """Drop everything if it is of other weights than these (see `Weights`).

        Returns:
            Whether it was; whoever generates then has begun with other weights.
        """
        if mark == self._mark:
            return False
        self._mark = mark
        self.clear()
        return True

    def clear(self) -> None:
        """Keep nothing any longer."""
        self._states.clear()
        self._ids = PrefixIndex()
        self.tokens = 0

    def _drop(self, ids: tuple[int, ...]) -> None:
        del self._states[ids]
        self._ids.remove(ids)
        self.tokens -= len(ids)


def _room(layers: list[Any]) -> int:
    """For how many ids states fit into a quarter of the device's memory."""
    device = layers[0].keys.device
    if device.type == "cuda":
        memory: int = torch.cuda.get_device_properties(device).total_memory
    else:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    every = [states for layer in layers for states in (layer.keys, layer.values)]
    bytes_of_one: int = sum(s.shape[1] * s.shape[3] * s.element_size() for s in every)
    return memory // 4 // bytes_of_one


def recall(rows: Sequence[CachedPrefix]) -> DynamicCache:
    """A cache that holds the states of some rows: so many ids of each, aligned at their ends."""
    cache = DynamicCache()
    width = max(known.length for known in rows)
    layers = max((len(known.states) for known in rows if known.states), default=0)
    for layer in range(layers if width else 0):
        cache.update(_aligned(rows, layer, 0, width), _aligned(rows, layer, 1, width), layer)
    return cache


def _aligned(rows: Sequence[CachedPrefix], layer: int, which: int, width: int) -> torch.Tensor:
    """Keys (0) or values (1) of a layer: rows x heads x width x size, zeros before a row's own."""
    example = next(known.states for known in rows if known.states)[layer][which]
    aligned = example.new_zeros((len(rows), example.shape[0], width, example.shape[2]))
    for number, (length, states) in enumerate(rows):
        if states is not None and length:
            aligned[number, :, width - length :] = states[layer][which][:, :length]
    return aligned


class Weights:
    """Tells whether the weights of a model, or which of its adapters are in use, may have changed.

    What counts: a step of any optimiser of torch, any other operation in place (`load_state_dict`,
    say), and whatever replaces a parameter's memory.  What is written through ``Parameter.data``
    without an optimiser is not noticed.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        self._parameters = list(model.parameters())
        self._adapters = [m for m in model.modules() if "_disable_adapters" in vars(m)]

    def mark(self) -> tuple[object, ...]:
        """Something that is equal as long as nothing has changed."""
        return (
            _steps,
            tuple((p.data_ptr(), p._version) for p in self._parameters),
            tuple(tuple(map(repr, _switches(adapter))) for adapter in self._adapters),
        )


_steps = 0
"""How many steps optimisers have taken in this process: fused ones do not change versions."""


def _count_step(*_: object) -> None:
    global _steps
    _steps += 1


register_optimizer_step_post_hook(_count_step)


def _switches(adapter: Any) -> Iterator[object]:
    for name in ("_active_adapter", "_disable_adapters", "merged_adapters", "scaling"):
        yield getattr(adapter, name, None)
