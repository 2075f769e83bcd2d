"""Tables that fit the terminal: nothing is cut, whatever its width."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, JustifyMethod, RenderResult
from rich.table import Table
from rich.text import Text

from playpen.escape import escape

_GAP = 2
"""Spaces between two columns."""
_PROSE = 24
"""Prose that gets less than this is not read in a column."""


@dataclass
class _Column:
    header: Text
    justify: JustifyMethod
    style: str
    prose: bool
    least: int
    cells: list[Text] = field(default_factory=list)

    def widest(self) -> int:
        """The width that needs no line break, in cells of the terminal."""
        texts = [self.header.plain, *(cell.plain for cell in self.cells)]
        return max(self.least, *map(cell_len, texts))

    def narrowest(self) -> int:
        """The width in which numbers and names are still whole."""
        words = self.header.plain.split()
        if not self.prose:
            words += [cell.plain for cell in self.cells]
            return max([self.least, *map(cell_len, words)])
        words += [word for cell in self.cells for word in cell.plain.split()]
        return max([min(self.widest(), _PROSE), self.least, *map(cell_len, words)])


class PlainTable:
    """A table without vertical lines.

    Numbers and names are never cut or broken.  Where the columns do not fit side by side, each row
    becomes a paragraph: its first cell, and the others below it as ``name: value``.  What is in the
    cells is shown as it is: it is never read as markup, and cannot act on the terminal.
    """

    def __init__(self, *columns: str, title: str | None = None, show_header: bool = True) -> None:
        """A table without rows; `columns` hold names."""
        self._title = None if title is None else _inert(title)
        self._show_header = show_header
        self._columns: list[_Column] = []
        self._sections: set[int] = set()
        for name in columns:
            self.add_column(name)

    def add_column(
        self,
        header: str,
        *,
        justify: JustifyMethod = "left",
        style: str = "",
        prose: bool = False,
        least: int = 0,
    ) -> None:
        """Add a column.

        Args:
            header: its name.
            justify: where the cells stand.
            style: of the cells.
            prose: may be broken between words.
            least: width that it has at least, in cells of the terminal.
        """
        self._columns.append(_Column(_inert(header), justify, style, prose, least))

    def add_numbers(self, *headers: str, style: str = "") -> None:
        """Add columns of numbers."""
        for header in headers:
            self.add_column(header, justify="right", style=style)

    def add_row(self, *cells: str | Text) -> None:
        """Add a row: a cell for each column."""
        for column, cell in zip(self._columns, cells, strict=True):
            column.cells.append(_inert(cell))

    @property
    def row_count(self) -> int:
        """How many rows there are."""
        return len(self._columns[0].cells)

    def add_section(self) -> None:
        """Set the rows that follow apart."""
        self._sections.add(self.row_count)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Columns side by side if they fit, else a paragraph for each row."""
        if self._title is not None:
            yield Text(self._title.plain, style="bold", overflow="fold")
        widths = self._widths(options.max_width)
        if widths is None:
            yield from self._stacked(console, options.max_width)
        else:
            yield self._side_by_side(widths)

    def _widths(self, available: int) -> list[int] | None:
        """The width of each column; `None` if they do not fit."""
        available -= _GAP * (len(self._columns) - 1)
        least = [column.narrowest() for column in self._columns]
        widths = [column.widest() for column in self._columns]
        if sum(least) > available:
            return None
        while sum(widths) > available:
            broken = max(
                (n for n, width in enumerate(widths) if width > least[n]), key=widths.__getitem__
            )
            widths[broken] -= 1
        return widths

    def _side_by_side(self, widths: list[int]) -> Table:
        table = Table(
            box=box.SIMPLE_HEAD,
            padding=(0, 1, 0, 0),
            pad_edge=False,
            show_edge=False,
            show_header=self._show_header,
        )
        for column, width in zip(self._columns, widths, strict=True):
            table.add_column(
                column.header,
                justify=column.justify,
                style=column.style,
                width=width,
                overflow="fold",
            )
        for number, cells in enumerate(zip(*(c.cells for c in self._columns), strict=True), 1):
            table.add_row(*cells, end_section=number in self._sections)
        return table

    def _stacked(self, console: Console, width: int) -> Iterator[Text]:
        first, *others = self._columns
        for number, name in enumerate(first.cells):
            if number in self._sections:
                yield Text()
            head = Text.assemble((name.plain, f"bold {first.style}"))
            if self._show_header:
                head = Text.assemble(first.header, ": ", head)
            if name:  # else the row goes on with what the one above is about
                yield from head.wrap(console, width, overflow="fold")
            named = [_named(c, c.cells[number]) for c in others if c.cells[number]]
            for line in _joined(named, width - _GAP):
                for part in line.wrap(console, width - _GAP, overflow="fold"):
                    part.rstrip()
                    yield Text.assemble(" " * _GAP, part)


def _named(column: _Column, cell: Text) -> Text:
    shown = cell.copy()
    shown.stylize_before(column.style)
    return Text.assemble(column.header, ": ", shown)


def _joined(texts: list[Text], width: int) -> Iterator[Text]:
    """The texts in as few lines as hold them whole."""
    line = Text()
    for text in texts:
        if line and line.cell_len + _GAP + text.cell_len > width:
            yield line
            line = Text()
        line = Text.assemble(line, " " * _GAP, text) if line else text
    if line:
        yield line


def _inert(cell: str | Text) -> Text:
    """One line that does nothing to the terminal."""
    text = Text(cell) if isinstance(cell, str) else cell
    safe = escape(text.plain, one_line=True)
    return text if safe == text.plain else Text(safe, style=text.style)
