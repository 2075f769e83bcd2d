"""The board: which word belongs to whom, and what has been uncovered by which side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

TEAM, OPPONENT, INNOCENT, ASSASSIN = ASSIGNMENTS = ("team", "opponent", "innocent", "assassin")
"""Whom a word belongs to; the first two are also the sides that uncover words."""

Uncovered: TypeAlias = list[tuple[str, str]]
"""The words that the guesser's turn uncovered, in order, each with its assignment."""


class Board:
    """The words in display order, and for each assignment its words in the instance's order."""

    def __init__(self, words: Sequence[str], assignments: Mapping[str, Sequence[str]]) -> None:
        self._words = words
        self._assignments = assignments
        self._assignment = {word: name for name in ASSIGNMENTS for word in assignments[name]}
        self._uncovered: dict[str, str] = {}

    def remaining(self) -> list[str]:
        """The hidden words of all assignments, in display order."""
        return [word for word in self._words if self.is_hidden(word)]

    def hidden(self, assignment: str) -> list[str]:
        """The hidden words of one assignment."""
        return [word for word in self._assignments[assignment] if self.is_hidden(word)]

    def size(self, assignment: str) -> int:
        """How many words an assignment has, hidden or not."""
        return len(self._assignments[assignment])

    def is_hidden(self, word: str) -> bool:
        """Whether this is a word of the board that nobody has uncovered."""
        return word in self._assignment and word not in self._uncovered

    def uncovered(self, side: str, assignment: str) -> list[str]:
        """The words of an assignment that a side has uncovered, in order."""
        return [
            word
            for word, uncoverer in self._uncovered.items()
            if uncoverer == side and self._assignment[word] == assignment
        ]

    def uncovered_by(self, word: str) -> str | None:
        """The side that uncovered a word, if one did."""
        return self._uncovered.get(word)

    def assignment(self, word: str) -> str:
        """Whom a word of the board belongs to."""
        return self._assignment[word]

    def uncover(self, word: str, side: str) -> str:
        """A side uncovers a hidden word; returns whom it belongs to."""
        self._uncovered[word] = side
        return self._assignment[word]

    def status(self) -> dict[str, Any]:
        """A snapshot for the record, in the form of clembench's recordings."""
        return {
            "hidden": {name: self.hidden(name) for name in ASSIGNMENTS},
            "revealed": {
                side: {name: self.uncovered(side, name) for name in ASSIGNMENTS}
                for side in (TEAM, OPPONENT)
            },
        }
