"""Instances of the image game (docs/rules/imagegame.md, "Our own part").

A target is a shape in one letter.  Compact grids hold a regular shape or the union of two; random
grids hold 5 to 10 scattered cells.
"""

from __future__ import annotations

import itertools
import random
import string
from collections.abc import Callable, Iterator
from typing import Any

from playpen.conversation import derive_seed
from playpen.instance import split_of
from playpen_clembench.imagegame.drawing import shape
from playpen_clembench.levels import chosen_levels, first
from playpen_clembench.shapes import SIZE, SQUARE, Cells, compact_shapes, drawn

COMPACT, RANDOM = "compact_grids", "random_grids"
LEVELS = (COMPACT, RANDOM)
READY = {"train": 150, "validation": 30, "test": 30}
"""Instances per level in the ready splits; clembench has 30."""
RANDOM_COUNTS = (5, 10)
"""The fewest and the most filled cells of a random grid."""


def levels() -> tuple[str, ...]:
    """Regular shapes and scattered cells, as in clembench."""
    return LEVELS


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
    names = chosen_levels("imagegame", LEVELS, split, level)
    wanted = READY[split] if n is None else n
    experiments = []
    for name in names:
        rng = random.Random(derive_seed("imagegame", seed, name, split))
        shortage = f"imagegame: level {name!r} has {{}} shapes in the split {split!r}"
        items = first(wanted, _instances(_SHAPES[name](rng), split, rng), shortage, ample=RANDOM)
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


def _compact(rng: random.Random) -> Iterator[Cells]:
    """All compact shapes: single ones and unions by turns, until the former are used up."""
    single, unions = (rng.sample(shapes, len(shapes)) for shapes in compact_shapes())
    for pair in itertools.zip_longest(single, unions):
        yield from (cells for cells in pair if cells)


def _random(rng: random.Random) -> Iterator[Cells]:
    """Scattered cells; endless."""
    while True:
        yield frozenset(rng.sample(SQUARE, rng.randint(*RANDOM_COUNTS)))


_SHAPES: dict[str, Callable[[random.Random], Iterator[Cells]]] = {
    COMPACT: _compact,
    RANDOM: _random,
}
