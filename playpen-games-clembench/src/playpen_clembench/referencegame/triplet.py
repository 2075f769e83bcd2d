"""The puzzles of the reference game."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class Triplet:
    """A puzzle: a target and its distractors, the closer one first, as texts."""

    target: str
    second: str
    third: str

    @cached_property
    def fingerprint(self) -> str:
        """What makes two triplets the same puzzle; the distractors' order carries no meaning."""
        return "\n\n".join([self.target, *sorted([self.second, self.third])])

    def orders(self) -> tuple[tuple[str, str, str], ...]:
        """The follower's orders: the target comes first, second, third."""
        return (
            (self.target, self.second, self.third),
            (self.second, self.target, self.third),
            (self.third, self.second, self.target),
        )
