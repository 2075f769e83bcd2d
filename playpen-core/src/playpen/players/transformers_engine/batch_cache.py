"""Keys and values of rows that are generated together, in memory that has room for more.

transformers' own cache is copied as a whole for every token, and again whenever a row joins or
leaves.  Here a token is written behind those before it, a new row below the others, and the last
row takes the place of one that leaves.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

_MORE_COLUMNS = 64
"""For how many more ids there is room when memory is taken."""


class BatchCache(DynamicCache):
    """The states of rows that all end in the same column.

    What stands before a row's own states must be masked: zeros, or states of rows that have left.
    """

    def add(self, cache: DynamicCache, layer: int) -> None:
        """Put the rows of one layer of a cache below those that are here already.

        Where the device's memory is too small nothing has changed.
        """
        if len(self.layers) == layer:
            self.layers.append(_RoomyLayer())  # type: ignore[no-untyped-call]
        added: Any = cache.layers[layer]
        self._roomy[layer].add(added.keys, added.values)

    def leave(self, places: Collection[int]) -> list[int]:
        """Let the rows at some places leave.

        Returns:
            The rows that stay, by their places before, in the order in which they are now.
        """
        rows = list(range(self._roomy[0].keys.shape[0]))
        for place in sorted(places, reverse=True):
            rows[place] = rows[-1]
            rows.pop()
        for layer in self._roomy:
            layer.rearrange(rows)
        return rows

    def narrow(self, columns: slice) -> None:
        """Keep these of the columns only."""
        for layer in self._roomy:
            layer.narrow(columns)

    @property
    def _roomy(self) -> list[_RoomyLayer]:
        layers: list[Any] = self.layers
        return layers


class _Window(NamedTuple):
    """The part of a layer's memory that is in use: the first rows, and some columns."""

    rows: int
    start: int
    end: int

    @property
    def width(self) -> int:
        return self.end - self.start


class _RoomyLayer(DynamicLayer):
    """A layer whose `keys` and `values` are a window of larger memory."""

    keys: torch.Tensor
    values: torch.Tensor
    _memory: tuple[torch.Tensor, ...] = ()
    """Of keys and of values: rows x heads x columns x size."""
    _window = _Window(0, 0, 0)

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Put the states of new ids behind those of each row; gives all states."""
        new = key_states.shape[2]
        if self._window.end + new > self._memory[0].shape[2]:
            self._move(self._window.rows, self._window.width, new)
        rows, start, end = self._window
        for memory, states in zip(self._memory, (key_states, value_states), strict=True):
            memory[:rows, :, end : end + new] = states
        self._show(_Window(rows, start, end + new))
        return self.keys, self.values

    def add(self, keys: torch.Tensor, values: torch.Tensor) -> None:
        """Put rows below the others, at the same end."""
        added, _, width, _ = keys.shape
        if not self._memory:
            self.lazy_initialization(keys, values)
            self._memory = (keys[:0], values[:0])
        rows = self._window.rows + added
        if rows > self._memory[0].shape[0] or width > self._window.end:
            self._move(rows + self._window.rows // 4, max(width, self._window.width))
        before, start, end = self._window
        for memory, states in zip(self._memory, (keys, values), strict=True):
            memory[before:rows, :, end - width : end] = states
        self._show(_Window(rows, min(start, end - width), end))

    def rearrange(self, order: Sequence[int]) -> None:
        """Keep these rows; each one moves up or stays where it is."""
        for place, row in enumerate(order):
            if place != row:
                self.keys[place] = self.keys[row]
                self.values[place] = self.values[row]
        self._show(self._window._replace(rows=len(order)))

    def narrow(self, columns: slice) -> None:
        """Keep these columns only."""
        _, start, _ = self._window
        first, last, _ = columns.indices(self._window.width)
        self._show(self._window._replace(start=start + first, end=start + last))

    def _move(self, rows: int, width: int, new: int = 0) -> None:
        """Take new memory: for so many rows, and columns behind the first `width`."""
        columns = width + new + _MORE_COLUMNS
        used = self._window
        moved = []
        for memory in self._memory:
            _, heads, _, size = memory.shape
            larger = memory.new_zeros((rows, heads, columns, size))
            larger[: used.rows, :, width - used.width : width] = memory[
                : used.rows, :, used.start : used.end
            ]
            moved.append(larger)
        self._memory = tuple(moved)
        self._show(_Window(used.rows, width - used.width, width))

    def _show(self, window: _Window) -> None:
        rows, start, end = self._window = window
        self.keys, self.values = (memory[:rows, :, start:end] for memory in self._memory)
