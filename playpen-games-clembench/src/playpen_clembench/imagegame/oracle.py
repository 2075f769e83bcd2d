"""Programs that play the image game.

The giver dictates the target in few commands, each about rows or columns that look alike; the
follower carries out such commands, and most that a person would write in English.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from playpen import Conversation
from playpen_clembench.grids import EMPTY, Grid, format_grid, parse_grid
from playpen_clembench.imagegame.drawing import blank

DONE = "Command: DONE"
LONGEST = 1000
"""Characters of a command that the follower reads."""

_ROW = r"[A-Z▢](?: [A-Z▢])*"
_GRID = re.compile(rf"^{_ROW}(?:\n{_ROW})*$", re.MULTILINE)

_WORDS = {
    1: "first 1st one top left leftmost",
    2: "second 2nd two",
    3: "third 3rd three",
    4: "fourth 4th four",
    5: "fifth 5th five",
    0: "middle center centre",
    -1: "last bottom right rightmost",
}
_PLACES = {word: number for number, words in _WORDS.items() for word in words.split()}
"""Words for a row or column: its number, 0 for the middle one, -1 for the last one."""
_PLACE = rf"(?:\d+|{'|'.join(sorted(_PLACES, key=len, reverse=True))})\b"
_LIST = rf"{_PLACE}(?:(?:,? and |, ?|-| to ){_PLACE})*"
_LINES = {
    line: re.compile(rf"\b{line}s? (?P<after>{_LIST})|\b(?P<before>{_LIST}) {line}s?\b", re.I)
    for line in ("row", "column")
}
_CORNER = re.compile(r"\b(top|bottom|upper|lower)[ -](left|right)\b", re.I)
_WHOLE = re.compile(r"\b(whole|entire|all|every|each|everything)\b", re.I)
_LETTER = re.compile(r"\b(?!A [A-Z]\b)[A-Z]\b")
_ERASE = re.compile(r"\b(erase|empty|clear|remove|delete)\b|▢", re.I)


def giver(conversation: Conversation) -> str:
    """Dictate the last grid of the first message; the next command is as good as any earlier."""
    plan = _plan(conversation.messages[0].content)
    given = len(conversation.messages) // 2
    return plan[given] if given < len(plan) else DONE


def follower(conversation: Conversation) -> str:
    """Carry out the command, the message's last line, on one's own last grid."""
    earlier = conversation.messages[-2].content if len(conversation.messages) > 1 else blank(5)
    command = conversation.last.rpartition("\n")[2]
    return format_grid(_carried_out(command[:LONGEST], parse_grid(earlier)))


@lru_cache(maxsize=1024)
def _plan(prompt: str) -> tuple[str, ...]:
    """The commands for the target of a prompt, by rows or by columns, whichever is shorter."""
    texts = _GRID.findall(prompt)
    if not texts:
        return ()
    target = parse_grid(texts[-1])
    columns = tuple(zip(*target, strict=False))
    plans = (tuple(_commands(target, "row", "column")), tuple(_commands(columns, "column", "row")))
    return min(plans, key=lambda plan: (len(plan), sum(map(len, plan))))


def _commands(lines: Grid, line: str, place: str) -> Iterator[str]:
    """A command for each letter and each set of places, for all lines in which it is there."""
    alike: dict[tuple[str, tuple[int, ...]], list[int]] = {}
    for number, cells in enumerate(lines, 1):
        for letter in sorted(set(cells) - {EMPTY}):
            places = tuple(i for i, cell in enumerate(cells, 1) if cell == letter)
            alike.setdefault((letter, places), []).append(number)
    for (letter, places), numbers in alike.items():
        if len(places) < len(lines[0]):
            where = f"{_named(line, numbers)}, {_named(place, places)}"
            yield f"Command: Put {letter} in {where}"
        elif len(numbers) < len(lines):
            yield f"Command: Fill {_named(line, numbers)} with {letter}"
        else:
            yield f"Command: Fill the whole grid with {letter}"


def _named(line: str, numbers: list[int] | tuple[int, ...]) -> str:
    """``row 1``, ``rows 1 and 3``, ``rows 1, 3 and 5``."""
    *others, last = map(str, numbers)
    return f"{line}s {', '.join(others)} and {last}" if others else f"{line} {last}"


def _carried_out(command: str, grid: Grid) -> list[list[str]]:
    """The grid after a command; the same grid if the command is not understood."""
    order = command.partition(":")[2] or command
    letter = _LETTER.search(order)
    cell = letter[0] if letter else EMPTY if _ERASE.search(order) else None
    rows, columns = _meant("row", order, len(grid)), _meant("column", order, len(grid[0]))
    if corner := _CORNER.search(order):
        rows = rows or {len(grid) if corner[1].lower() in ("bottom", "lower") else 1}
        columns = columns or {len(grid[0]) if corner[2].lower() == "right" else 1}
    if cell is None or not (rows or columns or _WHOLE.search(order)):
        return [list(row) for row in grid]
    return [
        [
            cell if (not rows or y in rows) and (not columns or x in columns) else old
            for x, old in enumerate(row, 1)
        ]
        for y, row in enumerate(grid, 1)
    ]


def _meant(line: str, order: str, size: int) -> set[int]:
    """The rows or columns that a command names."""
    meant: set[int] = set()
    for match in _LINES[line].finditer(order):
        places = (match["after"] or match["before"]).lower()
        numbers = [_number(word, size) for word in re.findall(_PLACE, places)]
        if re.search(r"-| to ", places):
            meant.update(range(numbers[0], numbers[-1] + 1))
        meant.update(numbers)
    return meant


def _number(word: str, size: int) -> int:
    number = int(word) if word.isdecimal() else _PLACES[word]
    return {0: (size + 1) // 2, -1: size}.get(number, number)
