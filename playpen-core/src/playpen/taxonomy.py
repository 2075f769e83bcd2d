"""Why episodes were not won: which role broke which rule, and who lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Literal

import msgspec

from playpen.episode import Episode
from playpen.game import Abort, Lose


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


def reasons(episodes: Iterable[Episode]) -> list[Reason]:
    """Count aborts by game, role at fault and rule, and losses by game and role at fault.

    Returns:
        In the order of games; within a game the most frequent ones first.
    """
    counts: Counter[tuple[str, Literal["abort", "lose"], str | None, str]] = Counter()
    for episode in episodes:
        match episode.outcome:
            case Abort(code, _, fault):
                counts[episode.game, "abort", fault, code] += 1
            case Lose(_, fault):
                counts[episode.game, "lose", fault, ""] += 1
    found = [Reason(*key, count) for key, count in counts.items()]
    return sorted(found, key=lambda r: (r.game, -r.episodes, r.ending, r.role or "", r.code))
