"""How similar a drawn map is to the real one (docs/rules/textmapworld.md, "Scores")."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple, TypeAlias

Edges: TypeAlias = Sequence[Sequence[str]]

FAR = 45
"""From this distance on the similarity is below 1e-7, and a bound of the distance will do."""
STEPS = 20_000
"""Placements of a node that are tried at most; more than maps of eight rooms need."""


class Shape(NamedTuple):
    """A graph without names: the neighbours of each node as bits, and the number of loops."""

    neighbours: tuple[int, ...]
    loops: int

    @property
    def edges(self) -> int:
        """Number of edges that are no loops."""
        return sum(map(int.bit_count, self.neighbours)) // 2


def shape_of(nodes: Sequence[str], edges: Edges) -> Shape:
    """The shape of a graph; case carries no meaning, and the ends of edges are nodes too."""
    number: dict[str, int] = {}
    for name in [*nodes, *(end for edge in edges for end in edge)]:
        number.setdefault(name.lower(), len(number))
    neighbours = [0] * len(number)
    loops = set()
    for first, second in edges:
        a, b = number[first.lower()], number[second.lower()]
        if a == b:
            loops.add(a)
        else:
            neighbours[a] |= 1 << b
            neighbours[b] |= 1 << a
    return Shape(tuple(neighbours), len(loops))


def similarity(real: Shape, drawn: Shape) -> float:
    """Similarity of two maps by their edit distance, from 0 to 100."""
    distance = edit_distance(real, drawn)
    return 100 * (1 - 2 * (1 / (1 + math.exp(-distance / 2)) - 0.5))


def edit_distance(real: Shape, drawn: Shape) -> int:
    """The fewest nodes and edges to add or take away that make one graph of the other.

    Exact up to `FAR` and `STEPS`, and a bound of it beyond.  The real map has no loops; a drawn one
    is an edge too many.
    """
    nodes = abs(len(real.neighbours) - len(drawn.neighbours))
    least = nodes + abs(real.edges - drawn.edges) + drawn.loops
    if least >= FAR:
        return least
    # It costs nothing to take one node for another, so as many as possible are, and the question
    # that is left is how many edges can coincide.
    small, large = sorted([real.neighbours, drawn.neighbours], key=len)
    return nodes + real.edges + drawn.edges + drawn.loops - 2 * common_edges(small, large)


@lru_cache(maxsize=4096)
def common_edges(small: tuple[int, ...], large: tuple[int, ...]) -> int:
    """How many edges coincide at most when every node of `small` is placed on one of `large`.

    Branch and bound over the placements, with many edges first.

    Args:
        small: the neighbours of each node as bits.
        large: those of a graph with at least as many nodes.
    """
    order = _connected_order(small)
    later = [~_bits(order[: depth + 1]) for depth in range(len(order))]
    edges_later = [
        sum((small[node] & later[depth]).bit_count() for node in order[depth + 1 :]) // 2
        for depth in range(len(order))
    ]
    limit = min(sum(map(int.bit_count, small)), sum(map(int.bit_count, large))) // 2
    best = 0
    steps = STEPS

    def place(images: list[int], common: int, free: int) -> None:
        """Place the next node of the order in every way that may do better than the best."""
        nonlocal best, steps
        depth = len(images)
        if depth == len(order):
            best = max(best, common)
            return
        neighbours = [i for i in range(depth) if small[order[depth]] >> order[i] & 1]
        gains: dict[int, tuple[int, int]] = {}
        for image, around in enumerate(large):
            # Nodes with the same neighbours are interchangeable: one of them is enough.
            if free >> image & 1 and around not in gains:
                gains[around] = sum(around >> images[i] & 1 for i in neighbours), image
        for gain, image in sorted(gains.values(), key=lambda option: -option[0]):
            if best == limit or not steps:
                return
            steps -= 1
            placed, left = [*images, image], free & ~(1 << image)
            possible = edges_later[depth] + sum(
                min((small[node] & later[depth]).bit_count(), (large[on] & left).bit_count())
                for node, on in zip(order, placed, strict=False)
            )
            if common + gain + possible > best:
                place(placed, common + gain, left)

    place([], 0, (1 << len(large)) - 1)
    return best


def _connected_order(graph: tuple[int, ...]) -> list[int]:
    """The nodes in an order in which each is next to many earlier ones, or has many edges."""
    order: list[int] = []
    left = set(range(len(graph)))
    while left:
        done = _bits(order)
        node = max(left, key=lambda n: ((graph[n] & done).bit_count(), graph[n].bit_count(), -n))
        order.append(node)
        left.remove(node)
    return order


def _bits(nodes: Sequence[int]) -> int:
    return sum(1 << node for node in nodes)
