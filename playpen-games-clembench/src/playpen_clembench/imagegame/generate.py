"""Instances of the image game (specification, section 9).

A target is a shape in one letter.  Compact grids hold a regular shape or the union of two; random
grids hold 5 to 10 scattered cells.
"""

from __future__ import annotations

import itertools
import random
import string
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, TypeAlias

from playpen.conversation import derive_seed
from playpen.instance import SPLITS, InstanceError, split_of
from playpen.player import did_you_mean
from playpen_clembench.grids import format_grid
from playpen_clembench.imagegame.drawing import EMPTY, shape

Cells: TypeAlias = frozenset[tuple[int, int]]
"""The filled cells of a shape, each as (row, column), counted from 0."""

SIZE = 5
COMPACT, RANDOM = "compact_grids", "random_grids"
LEVELS = (COMPACT, RANDOM)
READY = {"train": 150, "validation": 30, "test": 30}
"""Instances per level in the ready splits; clembench has 30."""
FEWEST_COMPACT = 8
RANDOM_COUNTS = (5, 10)
"""The fewest and the most filled cells of a random grid."""

_LINES = range(SIZE)
_SQUARE = [(row, column) for row in _LINES for column in _LINES]
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


def generate(split: str, *, seed: int, level: str | None, n: int | None) -> dict[str, Any]:
    """Make the instances of a split; a shape occurs once in a level.

    Args:
        split: only shapes that belong to this split are used, in whatever letter.
        seed: of the choice of shapes and letters.
        level: one of `LEVELS`; both if `None`.
        n: instances per level; `READY` if `None`.

    Raises:
        InstanceError: unknown split or level, or the level has fewer than `n` shapes.
    """
    if split not in SPLITS:
        raise InstanceError(f"unknown split {split!r}; choose one of {', '.join(SPLITS)}")
    if level is not None and level not in LEVELS:
        raise InstanceError(
            f"imagegame has no level {level!r}{did_you_mean(level, LEVELS)} "
            f"Its levels: {', '.join(LEVELS)}."
        )
    wanted = READY[split] if n is None else n
    experiments = []
    for name in LEVELS if level is None else [level]:
        rng = random.Random(derive_seed("imagegame", seed, name, split))
        items = list(itertools.islice(_instances(_SHAPES[name](rng), split, rng), wanted))
        if len(items) < wanted:
            raise InstanceError(
                f"imagegame: level {name!r} has {len(items)} shapes in the split {split!r}, "
                f"not {wanted}; ask for fewer, or for {RANDOM!r}"
            )
        experiments.append({"name": name, "game_instances": items})
    return {"experiments": experiments}


def _instances(shapes: Iterator[Cells], split: str, rng: random.Random) -> Iterator[dict[str, Any]]:
    """The shapes that belong to a split, once each, in random letters."""
    seen: set[Cells] = set()
    for cells in shapes:
        if cells in seen or split_of(shape(drawn(cells, "A"))) != split:
            continue
        yield {
            "game_id": len(seen),
            "grid_dimension": SIZE,
            "target_grid": drawn(cells, rng.choice(string.ascii_uppercase)),
        }
        seen.add(cells)


def drawn(cells: Cells, letter: str) -> str:
    """The text of the grid in which the cells hold the letter."""
    return format_grid(
        [letter if (row, column) in cells else EMPTY for column in _LINES] for row in _LINES
    )


def _compact(rng: random.Random) -> Iterator[Cells]:
    """All compact shapes: single ones and unions by turns, until the former are used up."""
    single, unions = (rng.sample(shapes, len(shapes)) for shapes in compact_shapes())
    for pair in itertools.zip_longest(single, unions):
        yield from (cells for cells in pair if cells)


def _random(rng: random.Random) -> Iterator[Cells]:
    """Scattered cells; endless."""
    while True:
        yield frozenset(rng.sample(_SQUARE, rng.randint(*RANDOM_COUNTS)))


_SHAPES: dict[str, Callable[[random.Random], Iterator[Cells]]] = {
    COMPACT: _compact,
    RANDOM: _random,
}


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
    return frozenset(cell for cell in _SQUARE if fills(*cell))


def _box(top: int, bottom: int, left: int, right: int) -> Cells:
    return frozenset(itertools.product(range(top, bottom), range(left, right)))
