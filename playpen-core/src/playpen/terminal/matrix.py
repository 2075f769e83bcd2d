"""The matrix of cross-play: in the terminal, and as a picture."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.text import Text

from playpen.crossplay import Cell, Seats
from playpen.terminal.plain_table import PlainTable
from playpen.terminal.tables import MISSING

_ACROSS = 3
_INTERVALS = 3
"""With more columns there is no room for intervals in a terminal."""


def letter(number: int) -> str:
    """What a player is called in a matrix: A, B, ... Z, AA, ..."""
    name = ""
    number += 1
    while number:
        number, place = divmod(number - 1, 26)
        name = string.ascii_uppercase[place] + name
    return name


def matrix_table(title: str, roles: Sequence[str], cells: Mapping[Seats, Cell]) -> PlainTable:
    """A row for each player in the first role, a column for each one in the second.

    With another number of roles there is a row for each seating.  Where there are so many columns
    that intervals have no room, there are none: the file has them.
    """
    if len(roles) == 2:
        table = PlainTable(f"{roles[0]} \\ {roles[1]}", title=title)
        columns = sorted({second for _, second in cells})
        table.add_numbers(*map(letter, columns))
        narrow = len(columns) > _INTERVALS
        for first in sorted({first for first, _ in cells}):
            table.add_row(
                letter(first),
                *(_shown(cells[first, second], narrow=narrow) for second in columns),
            )
        return table
    table = PlainTable(*roles, title=title)
    table.add_numbers("score")
    for seats, cell in cells.items():
        table.add_row(*map(letter, seats), _shown(cell))
    return table


def _shown(cell: Cell, *, narrow: bool = False) -> Text:
    mark = "" if cell.coverage.complete else "*"
    if cell.scores is None:
        return Text(f"{MISSING}{mark}")
    value, low, high = cell.scores.unbiased
    if narrow or low is None or high is None:
        return Text(f"{value:.1f}{mark}")
    return Text.assemble(f"{value:.1f}{mark}", (f" [{low:.0f}, {high:.0f}]", "dim"))


def draw_matrices(
    matrices: Mapping[str, tuple[Sequence[str], Mapping[Seats, Cell]]],
    players: Sequence[str],
    file: Path,
) -> None:
    """Draw the matrices of games with two roles side by side, as SVG or what the name says.

    Args:
        matrices: title to the names of the two roles and the cells.
        players: their names, for the legend.
        file: where the picture goes.
    """
    from matplotlib.figure import Figure

    size = len(players)
    wide = 1.1 * size + 1.6
    figure = Figure(
        figsize=(max(wide * len(matrices), 4), wide + 0.25 * size), layout="constrained"
    )
    for axes, (title, (roles, cells)) in zip(
        figure.subplots(1, len(matrices), squeeze=False)[0], matrices.items(), strict=True
    ):
        values = [
            [_value(cells.get((row, column))) for column in range(size)] for row in range(size)
        ]
        axes.imshow(values, vmin=0, vmax=100, cmap="viridis")
        axes.set_title(title, parse_math=False)
        axes.set_ylabel(roles[0], parse_math=False)
        axes.set_xlabel(roles[1], parse_math=False)
        axes.set_xticks(range(size), [letter(n) for n in range(size)])
        axes.set_yticks(range(size), [letter(n) for n in range(size)])
        for (row, column), cell in cells.items():
            if cell.scores is not None:
                value, low, high = cell.scores.unbiased
                between = "" if low is None or high is None else f"\n{low:.0f} to {high:.0f}"
                axes.text(
                    column, row, f"{value:.0f}{between}",
                    ha="center", va="center", fontsize=8,
                    color="black" if _value(cell) > 60 else "white",
                )  # fmt: skip
    legend = "\n".join(f"{letter(n)} = {name}" for n, name in enumerate(players))
    figure.supxlabel(legend, fontsize=8, parse_math=False)
    figure.savefig(file)


def _value(cell: Cell | None) -> float:
    value = None if cell is None or cell.scores is None else cell.scores.unbiased.value
    return float("nan") if value is None else value
