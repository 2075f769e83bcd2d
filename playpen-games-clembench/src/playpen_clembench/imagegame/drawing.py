"""Drawings as texts: an empty one, how one compares with another, which shape it shows.

A grid text is stripped and split at line ends and single spaces (docs/rules/imagegame.md,
"Scores").
"""

from __future__ import annotations

from typing import NamedTuple

from playpen_clembench.grids import EMPTY, Grid, format_grid, parse_grid


class Similarity(NamedTuple):
    """How well a drawing fits the target, each in whole percent."""

    precision: float
    recall: float
    f1: float


NOTHING = Similarity(0.0, 0.0, 0.0)


def blank(size: int) -> str:
    """An empty square grid."""
    return format_grid([EMPTY] * size for _ in range(size))


def similarity(target: str, drawn: str) -> Similarity | None:
    """Precision, recall and F1 of a drawing's filled cells.

    `None` if the two cannot be compared: one of them has no filled cell, or a later row of the
    drawing is too short.  Another number of rows, or of cells in the first row, is no similarity.
    """
    wanted, given = _cells(target), _cells(drawn)
    if (len(wanted), len(wanted[0])) != (len(given), len(given[0])):
        return NOTHING
    pairs = _pairs(wanted, given) or []
    of_target = [cell == other for cell, other in pairs if cell != EMPTY]
    of_drawing = [cell == other for cell, other in pairs if other != EMPTY]
    if not of_target or not of_drawing:
        return None
    recall = round(sum(of_target) / len(of_target), 4)
    precision = round(sum(of_drawing) / len(of_drawing), 4)
    f1 = round(2 * precision * recall / (precision + recall), 4) if precision and recall else 0.0
    return Similarity(*(round(100 * share, 0) for share in (precision, recall, f1)))


def changed_cells(before: str, after: str) -> int:
    """How many cells of `before` are different in `after`; 0 if one of them is not there."""
    pairs = _pairs(_cells(before), _cells(after)) or []
    return sum(cell != other for cell, other in pairs)


def shape(text: str) -> str:
    """The grid with its letters renamed in the order in which they appear: ``A``, ``B``, ..."""
    names = {EMPTY: EMPTY}
    return format_grid(
        [names.setdefault(cell, chr(ord("A") + len(names) - 1)) for cell in row]
        for row in _cells(text)
    )


def _cells(text: str) -> Grid:
    """The cells in lower case: letters are compared regardless of it."""
    return parse_grid(text.strip().lower())


def _pairs(first: Grid, second: Grid) -> list[tuple[str, str]] | None:
    """Each cell of the first grid with that at the same place of the second.

    `None` if the second has no such place; what it has beyond the first does not matter.
    """
    if len(second) < len(first):
        return None
    rows = list(zip(first, second, strict=False))
    if any(len(other) < len(row) for row, other in rows):
        return None
    return [pair for row, other in rows for pair in zip(row, other, strict=False)]
