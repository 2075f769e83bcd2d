"""Why episodes were not won: which role broke which rule, and who lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Literal

import msgspec

from playpen.episode import Episode
from playpen.moves import Abort, Lose


class Reason(msgspec.Struct, frozen=True):
    """A way in which episodes of a game end without success, and how many did.

    Attributes:
        game: its name.
        ending: whether a broken rule ended them, or they were lost.
        role: the role at fault, where the rules name one.
        code: the rule that was broken; empty for losses.
        episodes: how many.
    """

    game: str
    ending: Literal["abort", "lose"]
    role: str | None
    code: str
    episodes: int


def reason_of(episode: Episode) -> tuple[Literal["abort", "lose"], str | None, str] | None:
    """How an episode ended, the role at fault, the broken rule; `None` if it was won or failed."""
    match episode.outcome:
        case Abort(code, _, fault):
            return "abort", fault, code
        case Lose(_, fault):
            return "lose", fault, ""
    return None


def reasons(episodes: Iterable[Episode]) -> list[Reason]:
    """Count aborts by game, role at fault and rule, and losses by game and role at fault.

    Returns:
        In the order of games; within a game the most frequent ones first.
    """
    counts: Counter[tuple[str, Literal["abort", "lose"], str | None, str]] = Counter()
    for episode in episodes:
        reason = reason_of(episode)
        if reason is not None:
            counts[episode.game, *reason] += 1
    counted = [Reason(*key, count) for key, count in counts.items()]
    return sorted(counted, key=lambda r: (r.game, -r.episodes, r.ending, r.role or "", r.code))
