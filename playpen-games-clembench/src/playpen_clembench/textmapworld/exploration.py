"""How well a walk explores a map (docs/rules/textmapworld.md, "Scores")."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from playpen_clembench.textmapworld.maps import Graph

LOOP_WINDOW = 4
"""Rooms in a row among which fewer than three different ones are a loop."""


@dataclass(frozen=True)
class Exploration:
    """A walk, measured.

    Attributes:
        good_moves: for each move whether it was a good one.
        visited: number of different rooms on the walk, the first one included.
        seen: number of different rooms visited or next to a visited one.
        rooms: number of rooms of the map.
    """

    good_moves: tuple[bool, ...]
    visited: int
    seen: int
    rooms: int

    @property
    def efficiency(self) -> float:
        """Percentage of good moves; 0 for a walk without moves."""
        moves = len(self.good_moves)
        return sum(self.good_moves) / moves * 100 if moves else 0

    @property
    def exploration(self) -> float:
        """Percentage of the rooms that were visited."""
        return self.visited / self.rooms * 100

    @property
    def quality(self) -> float:
        """Harmonic mean of efficiency and exploration; 0 if both are 0."""
        both = self.efficiency + self.exploration
        return 2 * self.efficiency * self.exploration / both if both else 0


def explore(graph: Graph, path: Sequence[str]) -> Exploration:
    """Measure a walk.

    Args:
        graph: all rooms of the map with their neighbours.
        path: the rooms in the order they were entered, the start first.
    """
    number = {room: place for place, room in enumerate(graph)}
    neighbours = tuple(sum(1 << number[other] for other in graph[room]) for room in graph)
    everywhere = (1 << len(number)) - 1
    here = number[path[0]]
    visited = 1 << here
    seen = visited | neighbours[here]
    good = []
    for room in path[1:]:
        there = number[room]
        best = best_next_rooms(neighbours, here, visited)
        good.append(visited != everywhere and bool(best >> there & 1))
        visited |= 1 << there
        seen |= neighbours[there]
        here = there
    return Exploration(tuple(good), visited.bit_count(), seen.bit_count(), len(number))


@lru_cache(maxsize=65536)
def best_next_rooms(neighbours: tuple[int, ...], here: int, visited: int) -> int:
    """Where a shortest search for all rooms on the frontier may go first, as a set of bits.

    The frontier are the unvisited rooms next to visited ones.  The search goes through sequences
    of rooms, level by level, on the whole map.  A sequence continues with rooms that are not in it
    yet where its last room has such neighbours, else with any neighbour.  All sequences that hold
    the frontier on the first level where one does count.

    Args:
        neighbours: for each room, by number, the set of its neighbours as bits.
        here: number of the current room.
        visited: the set of visited rooms as bits.
    """
    frontier = 0
    for room in _members(visited):
        frontier |= neighbours[room]
    frontier &= ~visited
    # Sequences with the same last room and the same rooms continue alike: only the set of their
    # second rooms is kept.
    level = {(here, 1 << here): 0}
    while level:
        longer: dict[tuple[int, int], int] = {}
        best = 0
        for (last, used), firsts in level.items():
            for room in _members(neighbours[last] & ~used or neighbours[last]):
                key = room, used | 1 << room
                second = firsts or 1 << room
                longer[key] = longer.get(key, 0) | second
                if key[1] & frontier == frontier:
                    best |= second
        if best:
            return best
        level = longer
    return 0


def _members(bits: int) -> Iterator[int]:
    while bits:
        lowest = bits & -bits
        yield lowest.bit_length() - 1
        bits ^= lowest


def count_loops(path: Sequence[str], *, forget: bool) -> int:
    """How often the last four rooms were fewer than three different ones.

    Args:
        path: the rooms in the order they were entered, the start first.
        forget: after a loop, only rooms entered later count.
    """
    loops = 0
    start = 0
    for end in range(2, len(path) + 1):
        window = path[max(start, end - LOOP_WINDOW) : end]
        if len(window) == LOOP_WINDOW and len(set(window)) < 3:
            loops += 1
            if forget:
                start = end
    return loops
