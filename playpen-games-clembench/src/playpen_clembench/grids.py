"""Character grids as texts: rows are lines, cells are separated by one space."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

Grid: TypeAlias = tuple[tuple[str, ...], ...]
"""Rows from top to bottom, each with its cells from left to right."""

EMPTY = "▢"
"""An empty cell, where a game has no other sign for it."""


def parse_grid(text: str) -> Grid:
    """The cells of a grid text; the inverse of `format_grid`."""
    return tuple(tuple(line.split(" ")) for line in text.split("\n"))


def format_grid(rows: Iterable[Iterable[str]]) -> str:
    """The text of a grid.  A row may be a string: each of its characters is a cell."""
    return "\n".join(" ".join(row) for row in rows)


def edit_distance(first: str, second: str) -> int:
    """Levenshtein distance of two texts.

    Columns of the table are integers whose bits say where the distance goes up or down by one
    (Hyyrö 2003, after Myers 1999), so the cost is one step for each character of `second`.
    """
    if not first:
        return len(second)
    places: dict[str, int] = {}
    for index, character in enumerate(first):
        places[character] = places.get(character, 0) | 1 << index
    column = (1 << len(first)) - 1
    last = 1 << (len(first) - 1)
    up, down = column, 0
    distance = len(first)
    for character in second:
        equal = places.get(character, 0)
        diagonal = (((equal & up) + up) ^ up) | equal | down
        right_up = down | ~(diagonal | up)
        right_down = up & diagonal
        if right_up & last:
            distance += 1
        elif right_down & last:
            distance -= 1
        right_up = right_up << 1 | 1
        up = (right_down << 1 | ~(equal | down | right_up)) & column
        down = right_up & (equal | down) & column
    return distance
