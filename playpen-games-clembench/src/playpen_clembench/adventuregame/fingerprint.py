"""What makes two instances of AdventureGame the same puzzle."""

from __future__ import annotations

from collections.abc import Sequence

from playpen_clembench.adventuregame.home import PLAYER
from playpen_clembench.adventuregame.world import fact_text, parse_fact


def fingerprint(initial_state: Sequence[str], goal_state: Sequence[str]) -> str:
    """What makes two instances the same puzzle.

    That is the passages, the start, the goals and where their things are.  Things that no goal is
    about make no difference, nor do the variant and the limit.
    """
    facts = [parse_fact(text) for text in initial_state]
    relevant = {thing for text in goal_state for thing in parse_fact(text)[1:]}
    relevant |= {fact[1] for fact in facts if fact[0] == "type" and fact[2] == PLAYER}
    relevant |= {fact[2] for fact in facts if fact[0] in ("on", "in") and fact[1] in relevant}
    located = ("at", "on", "in", "open", "closed")
    told = [
        fact_text(fact)
        for fact in facts
        if fact[0] == "exit" or (fact[0] in located and fact[1] in relevant)
    ]
    return " ".join([*sorted(told), *sorted(goal_state)])
