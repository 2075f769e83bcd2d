"""Shapes on the grids of five by five cells that several games show."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import cache
from typing import TypeAlias

from playpen_clembench.grids import EMPTY, format_grid

Cells: TypeAlias = frozenset[tuple[int, int]]
"""The filled cells of a shape, each as (row, column), counted from 0."""

SIZE = 5
SQUARE = tuple((row, column) for row in range(SIZE) for column in range(SIZE))
"""All cells, row by row."""
FEWEST_COMPACT = 8
"""Filled cells of a compact shape at least."""

_LINES = range(SIZE)
_GLYPHS = {
    "C": "##### #.... #.... #.... #####",
    "E": "##### #.... ##### #.... #####",
    "F": "##### #.... ####. #.... #....",
    "H": "#...# #...# ##### #...# #...#",
    "J": "##### ...#. ...#. #..#. .##..",
    "K": "#..#. #.#.. ##... #.#.. #..#.",
    "L": "#.... #.... #.... #.... #####",
    "M": "#...# ##.## #.#.# #...# #...#",
    "N": "#...# ##..# #.#.# #..## #...#",
    "P": "####. #...# ####. #.... #....",
    "S": ".#### #.... .###. ....# ####.",
    "T": "##### ..#.. ..#.. ..#.. ..#..",
    "U": "#...# #...# #...# #...# #####",
    "V": "#...# #...# #...# .#.#. ..#..",
    "W": "#...# #...# #.#.# ##.## #...#",
    "Y": "#...# .#.#. ..#.. ..#.. ..#..",
    "Z": "##### ...#. ..#.. .#... #####",
}


def drawn(cells: Cells, letter: str, empty: str = EMPTY) -> str:
    """The text of the grid in which the given cells hold the letter."""
    return format_grid(
        [letter if (row, column) in cells else empty for column in _LINES] for row in _LINES
    )


@cache
def compact_shapes() -> tuple[list[Cells], list[Cells]]:
    """Regular shapes, and what else unions of two of them give, of at least 8 cells."""
    # Dictionaries keep the order, which a set of sets would not.
    regular = dict.fromkeys(_regular_shapes())
    unions = dict.fromkeys(a | b for a, b in itertools.combinations(regular, 2))
    single = [cells for cells in regular if len(cells) >= FEWEST_COMPACT]
    return single, [
        cells for cells in unions if len(cells) >= FEWEST_COMPACT and cells not in regular
    ]


def _regular_shapes() -> Iterator[Cells]:
    """Lines, diagonals, triangles, boards, letters, and rectangles with their frames."""
    for count in range(1, SIZE):
        for chosen in itertools.combinations(_LINES, count):
            yield _where(lambda row, column, chosen=chosen: row in chosen)
            yield _where(lambda row, column, chosen=chosen: column in chosen)
    last = SIZE - 1
    yield _where(lambda row, column: row == column)
    yield _where(lambda row, column: row + column == last)
    yield _where(lambda row, column: row in (column, last - column))
    yield _where(lambda row, column: last // 2 in (row, column))
    for inside in (int.__le__, int.__ge__):
        yield _where(lambda row, column, inside=inside: inside(row, column))
        yield _where(lambda row, column, inside=inside: inside(row, last - column))
    for rest in (0, 1):
        yield _where(lambda row, column, rest=rest: (row + column) % 2 == rest)
    yield _where(lambda row, column: abs(row - 2) + abs(column - 2) <= 2)
    yield _where(lambda row, column: abs(row - 2) + abs(column - 2) == 2)
    for glyph in _GLYPHS.values():
        rows = glyph.split(" ")
        yield _where(lambda row, column, rows=rows: rows[row][column] == "#")
    sides = list(itertools.combinations(range(SIZE + 1), 2))
    for (top, bottom), (left, right) in itertools.product(sides, sides):
        box = _box(top, bottom, left, right)
        yield box
        if bottom - top > 2 and right - left > 2:
            yield box - _box(top + 1, bottom - 1, left + 1, right - 1)


def _where(fills: Callable[..., bool]) -> Cells:
    return frozenset(cell for cell in SQUARE if fills(*cell))


def _box(top: int, bottom: int, left: int, right: int) -> Cells:
    return frozenset(itertools.product(range(top, bottom), range(left, right)))
