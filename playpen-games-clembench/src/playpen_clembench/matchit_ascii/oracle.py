"""A program that plays either side of match it.

It describes its grid row by row, and so learns everything from a partner that does the same.  Of
another partner it asks for rows that it was not told.
"""

from __future__ import annotations

import re
from functools import lru_cache

from playpen.conversation import Conversation
from playpen_clembench.matchit_ascii.generate import SOLUTIONS

_LINE = "[X▢](?: [X▢]){4}"
_GRID = re.compile(rf"^{_LINE}(?:\n{_LINE}){{4}}$", re.MULTILINE)
_ROW = re.compile(rf"row ([1-5]): ({_LINE})", re.IGNORECASE)
_ASKED_ROW = re.compile("row ([1-5])", re.IGNORECASE)
_FLAGS = ("DESCRIPTION:", "QUESTION:", "ANSWER:", "DECISION:")


def play(conversation: Conversation) -> str:
    """Reply in the form that the end of the last message asks for."""
    request = conversation.last
    wanted = max(_FLAGS, key=request.rfind)
    own = _rows(conversation.messages[0].content)
    if wanted == "DESCRIPTION:":
        return f"{wanted} {'; '.join(own.values())}"
    if wanted == "ANSWER:":
        asked = _ASKED_ROW.search(request.partition("QUESTION:")[2])
        return f"{wanted} {own.get(asked[1] if asked else '', '; '.join(own.values()))}"

    partners: dict[str, str] = {}
    for message in conversation.messages[2::2]:
        told = message.content.partition("QUESTION:")[0]
        partners |= {n: f"row {n}: {cells.upper()}" for n, cells in _ROW.findall(told)}
    if wanted == "QUESTION:":
        rows = sorted(own.keys() - partners.keys()) or sorted(own) or ["1"]
        number = sum(m.content.startswith(wanted) for m in conversation.messages[1::2])
        return f"{wanted} What is in row {rows[number % len(rows)]} of your grid, cell by cell?"
    same, different = SOLUTIONS
    equal = partners and all(own.get(number) == row for number, row in partners.items())
    return f"{wanted} {same if equal else different}"


@lru_cache(maxsize=1024)
def _rows(prompt: str) -> dict[str, str]:
    """Number of each row of the last grid in a prompt, and the statement what is in it."""
    grids = _GRID.findall(prompt)
    lines = grids[-1].split("\n") if grids else []
    return {str(number): f"row {number}: {line}" for number, line in enumerate(lines, 1)}
