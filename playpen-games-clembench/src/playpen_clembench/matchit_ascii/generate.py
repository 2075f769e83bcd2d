"""Instances of match it (docs/rules/matchit_ascii.md, "Our own part").

The grids are regular shapes and unions of two, half of them inverted, and half of them with two
cells changed at random: so a grid alone does not tell how the other one is related to it.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from typing import Any

from playpen.conversation import derive_seed
from playpen.instance import split_of
from playpen_clembench.levels import chosen_levels
from playpen_clembench.matchit_ascii.fingerprint import fingerprint
from playpen_clembench.shapes import SIZE, SQUARE, Cells, compact_shapes, drawn

SAME, MIRRORED, EDITED, DIFFERENT = (
    "same_grid",
    "similar_grid_1",
    "similar_grid_2",
    "different_grid",
)
LEVELS = (SAME, MIRRORED, EDITED, DIFFERENT)
SOLUTIONS = ("same grid", "different grids")
QUESTIONS = 3
"""Questions of each player."""
FILLED = "X"
CLEARLY_DIFFERENT = 6
"""Cells in which unrelated grids differ at least."""
READY = {"train": 60, "validation": 10, "test": 10}
"""Instances per level in the ready splits; clembench has 10."""

_ALL: Cells = frozenset(SQUARE)
_LAST = SIZE - 1


def levels() -> tuple[str, ...]:
    """How the two grids are related, as in clembench."""
    return LEVELS


def generate(split: str, *, seed: int, level: str | None, n: int | None) -> dict[str, Any]:
    """Make the instances of a split; each pair of grids occurs once in a level.

    Args:
        split: only pairs that belong to this split are used.
        seed: of the choice of grids.
        level: one of `LEVELS`; all of them if `None`.
        n: instances per level; `READY` if `None`.  There are millions of each.

    Raises:
        InstanceError: unknown split or level.
    """
    experiments = []
    for name in chosen_levels("matchit_ascii", LEVELS, split, level):
        rng = random.Random(derive_seed("matchit_ascii", seed, name, split))
        pairs = itertools.islice(_pairs(name, split, rng), READY[split] if n is None else n)
        same, different = SOLUTIONS
        experiments.append(
            {
                "name": name,
                "solution": same if name == SAME else different,
                "wrong_solution": different if name == SAME else same,
                "game_instances": [
                    {
                        "game_id": number,
                        "grid_a": grid_a,
                        "grid_b": grid_b,
                        "decision_turn": QUESTIONS,
                    }
                    for number, (grid_a, grid_b) in enumerate(pairs)
                ],
            }
        )
    return {"experiments": experiments}


def _pairs(level: str, split: str, rng: random.Random) -> Iterator[tuple[str, str]]:
    """Different pairs of grids, as texts, that belong to a split; endless."""
    seen: set[str] = set()
    while True:
        cells = _grid(rng)
        partners = _partners(level, cells, rng)
        if not partners:
            continue
        pair = [drawn(cells, FILLED), drawn(rng.choice(partners), FILLED)]
        rng.shuffle(pair)
        mark = fingerprint(*pair)
        if mark not in seen and split_of(mark) == split:
            seen.add(mark)
            yield pair[0], pair[1]


def _grid(rng: random.Random) -> Cells:
    """A random grid, neither empty nor full."""
    while True:
        cells = rng.choice(rng.choice(compact_shapes()))
        if rng.random() < 0.5:
            cells = _ALL - cells
        if rng.random() < 0.5:
            cells = _edited(cells, rng)
        if cells and cells != _ALL:
            return cells


def _partners(level: str, cells: Cells, rng: random.Random) -> list[Cells]:
    """Grids that make a pair of the level together with the given one."""
    if level == SAME:
        return [cells]
    if level == EDITED:
        return [_edited(cells, rng)]
    if level == MIRRORED:
        quarter = _turned(cells)
        half = _turned(quarter)
        images = [quarter, half, _mirrored(cells), _mirrored(half)]
        return [image for image in images if image != cells]
    other = _grid(rng)
    return [other] if unrelated(cells, other) else []


def unrelated(cells: Cells, other: Cells) -> bool:
    """Whether neither turning, mirroring, inverting nor adding cells makes one the other."""
    if len(cells ^ other) < CLEARLY_DIFFERENT or cells <= other or other <= cells:
        return False
    if other == _ALL - cells:
        return False
    for _ in range(4):
        other = _turned(other)
        if cells in (other, _mirrored(other)):
            return False
    return True


def _edited(cells: Cells, rng: random.Random) -> Cells:
    """The grid with two cells inverted."""
    return cells ^ frozenset(rng.sample(SQUARE, 2))


def _turned(cells: Cells) -> Cells:
    """The grid turned by 90 degrees."""
    return frozenset((column, _LAST - row) for row, column in cells)


def _mirrored(cells: Cells) -> Cells:
    """The grid with left and right exchanged."""
    return frozenset((row, _LAST - column) for row, column in cells)
