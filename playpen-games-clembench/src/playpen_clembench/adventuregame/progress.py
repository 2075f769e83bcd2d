"""How many of the goals are reached, as the game counts them from turn to turn."""

from __future__ import annotations

from typing import Any

from playpen_clembench.adventuregame.world import Fact, fact_text


class Progress:
    """The count of an episode.

    A turn reports the goals that were true after the latest command that succeeded.  Planned
    commands count there, although what they do is undone.  So a turn whose command fails may report
    goals that only a plan has reached.  Rewards and the end of the game depend only on turns whose
    command succeeded.

    Attributes:
        reported: how many goals the latest turn reported.
    """

    def __init__(self, goals: frozenset[Fact]) -> None:
        self._total = len(goals)
        self._rewarded = 0
        self.reported = 0

    def report(self, achieved: frozenset[Fact]) -> dict[str, Any]:
        """What the record says of a turn: the goals achieved, and how many more than before."""
        change = len(achieved) - self.reported
        self.reported = len(achieved)
        return {"achieved": sorted(map(fact_text, achieved)), "change": change}

    def gain(self) -> float:
        """The share of the goals that a command which succeeded has reached, or lost if negative.

        It is counted from the command before that succeeded.
        """
        gain = (self.reported - self._rewarded) / self._total
        self._rewarded = self.reported
        return gain

    @property
    def complete(self) -> bool:
        """Whether the latest turn reported all goals."""
        return self.reported == self._total

    @property
    def share(self) -> float:
        """The share of the goals that the latest turn reported."""
        return self.reported / self._total
