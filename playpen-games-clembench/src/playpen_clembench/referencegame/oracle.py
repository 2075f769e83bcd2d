"""Programs that play the reference game.

The giver states the simplest facts that are true of the target and of no other grid; the follower
reads the facts and picks the grid of which the most are true.  Both take the grids from their
own prompt, whatever surrounds them, and speak English.  In the level `mini` a fact is the name of
a cell.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import islice
from typing import NamedTuple, TypeAlias

from playpen import Conversation
from playpen_clembench.grids import parse_grid
from playpen_clembench.referencegame import mini
from playpen_clembench.referencegame.replies import words_of

Cells: TypeAlias = int
"""A grid as a number: bit ``5 * row + column`` is set if the cell is filled."""

FACT_LIMIT = 4000
"""Characters after the grids in which the follower looks for facts."""

_ROW = r"\S(?: \S){4}"
_GRID = re.compile(rf"^{_ROW}(?:\n{_ROW}){{4}}$", re.MULTILINE)
_FACT = re.compile(
    r"\b(?P<line>row|column) (?P<number>[1-5]) is completely (?P<line_state>filled|empty)"
    r"|\bthe cell in row (?P<row>[1-5]), column (?P<column>[1-5]) is (?P<cell_state>filled|empty)"
    r"|\bexactly (?P<count>\d{1,2}) cells are filled",
    re.IGNORECASE,
)
_MINI_NAME = re.compile(rf"\b[{mini.COLUMNS}][{mini.ROWS}]\b")
_MINI_CELL = rf"(?:[{mini.COLUMNS}][{mini.ROWS}]|{mini.EMPTY})"
_MINI_ROW = rf"(?:[a-z]+ )?{_MINI_CELL}(?: {_MINI_CELL}){{2}}"
"""The rows that the follower sees are labelled."""
_MINI_GRID = re.compile(rf"^{_MINI_ROW}(?:\n{_MINI_ROW}){{2}}$", re.MULTILINE)
_FIRST_ROW: Cells = 0b11111
_FIRST_COLUMN: Cells = 0b00001_00001_00001_00001_00001


class Fact(NamedTuple):
    """A statement about a grid, and the test whether it is true."""

    text: str
    holds: Callable[[Cells], bool]


def giver(conversation: Conversation) -> str:
    """Describe the first grid of the prompt."""
    tag = words_of("en").expression_tag
    if small := [grid[0] for grid in _mini_grids(conversation.last)]:
        return f"{tag} {mini.telling_cell(small[0], small[1:]) or small[0].split()[0]}"
    grids = [cells for cells, _ in _grids(conversation.last)]
    if not grids:
        return f"{tag} The target grid."
    target, *distractors = grids
    return f"{tag} The grid where {' and '.join(_telling(target, distractors))}."


def follower(conversation: Conversation) -> str:
    """Choose the grid of which the most facts are true; among equals by chance."""
    answers = words_of("en").answers
    scores = _mini_scores(conversation.last) or _scores(conversation.last)
    most = max(scores, default=0)
    best = [answer for answer, score in zip(answers, scores, strict=False) if score == most]
    return random.Random(conversation.seed).choice(best or answers)


def _scores(text: str) -> list[int]:
    """For each grid of a text the number of facts, stated below the grids, that are true of it."""
    grids = list(_grids(text))
    start = grids[-1][1] if grids else 0
    facts = [_fact(match) for match in _FACT.finditer(text, start, start + FACT_LIMIT)]
    return [sum(fact.holds(cells) for fact in facts) for cells, _ in grids]


def _mini_scores(text: str) -> list[int]:
    """For each grid of the level `mini` the number of its cells that are named below the grids."""
    grids = _mini_grids(text)
    start = grids[-1].end() if grids else 0
    named = set(_MINI_NAME.findall(text, start, start + FACT_LIMIT))
    return [len(named.intersection(grid[0].split())) for grid in grids]


def _mini_grids(text: str) -> list[re.Match[str]]:
    """The first three grids of the level `mini` in a text."""
    return list(islice(_MINI_GRID.finditer(text), 3))


def _grids(text: str) -> Iterator[tuple[Cells, int]]:
    """The first three grids of a text, each with the place where it ends."""
    for match in islice(_GRID.finditer(text), 3):
        rows = parse_grid(match[0])
        filled = [cell in "Xx" for row in rows for cell in row]
        yield sum(1 << place for place, is_filled in enumerate(filled) if is_filled), match.end()


def _telling(target: Cells, distractors: Sequence[Cells]) -> list[str]:
    """The fewest and simplest facts that are together true of the target only.

    One fact does if any can; otherwise one against each distractor (every other grid differs in a
    cell, so there always is one).
    """
    facts = [
        fact
        for fact in [*_line_facts(), _count_fact(target.bit_count()), *_cell_facts()]
        if fact.holds(target)
    ]
    for fact in facts:
        if not any(fact.holds(other) for other in distractors):
            return [fact.text]
    telling = (next((f.text for f in facts if not f.holds(other)), None) for other in distractors)
    return [text for text in telling if text is not None] or [facts[0].text]


def _fact(match: re.Match[str]) -> Fact:
    """The fact that a piece of text states."""
    if match["line"]:
        return _line_fact(match["line"].lower(), int(match["number"]), match["line_state"].lower())
    if match["row"]:
        return _cell_fact(int(match["row"]), int(match["column"]), match["cell_state"].lower())
    return _count_fact(int(match["count"]))


def _line_fact(line: str, number: int, state: str) -> Fact:
    mask = _FIRST_ROW << 5 * (number - 1) if line == "row" else _FIRST_COLUMN << number - 1
    return Fact(f"{line} {number} is completely {state}", _uniform(mask, state))


def _cell_fact(row: int, column: int, state: str) -> Fact:
    mask = 1 << 5 * (row - 1) + column - 1
    return Fact(f"the cell in row {row}, column {column} is {state}", _uniform(mask, state))


def _count_fact(count: int) -> Fact:
    return Fact(f"exactly {count} cells are filled", lambda cells: cells.bit_count() == count)


def _uniform(mask: Cells, state: str) -> Callable[[Cells], bool]:
    wanted = mask if state == "filled" else 0
    return lambda cells: cells & mask == wanted


@cache
def _line_facts() -> list[Fact]:
    return [
        _line_fact(line, number, state)
        for state in ("filled", "empty")
        for line in ("row", "column")
        for number in range(1, 6)
    ]


@cache
def _cell_facts() -> list[Fact]:
    return [
        _cell_fact(row, column, state)
        for row in range(1, 6)
        for column in range(1, 6)
        for state in ("filled", "empty")
    ]
