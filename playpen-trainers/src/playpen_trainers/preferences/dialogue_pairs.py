"""Pairs of whole dialogues, the better one by its return."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Literal, TypeAlias

from playpen.chat_format import ChatFormat
from playpen.conversation import Row
from playpen_trainers.episode_rows import learner_rows
from playpen_trainers.preferences.returns import RoleReturn, comparable_groups
from playpen_trainers.preferences.rows import TokenPair, token_pair

Match: TypeAlias = Literal["extremes", "all"]


def dialogue_pairs(
    chat: ChatFormat,
    returns: Iterable[RoleReturn],
    *,
    match: Match = "extremes",
    margin: float = 0.0,
) -> list[TokenPair]:
    """Pairs of whole dialogues in the same group.

    Where a role has several rows (side questions, templates that rewrite history), those that
    begin with the same reply of the role make a pair.

    Args:
        chat: the learner's chat format.
        returns: of what was played.
        match: the best of a group against the worst (``extremes``), or ``all`` pairs.
        margin: the difference in return has to exceed it.
    """
    pairs: list[TokenPair] = []
    for group in comparable_groups(returns):
        ranked = sorted(group, key=lambda one: -one.value)
        matched: Iterable[tuple[RoleReturn, RoleReturn]] = itertools.combinations(ranked, 2)
        if match == "extremes":
            matched = [(ranked[0], ranked[-1])]
        for better, worse in matched:
            difference = better.value - worse.value
            if difference > margin:
                ours = _by_first_reply(learner_rows(chat, better.episode, better.role))
                theirs = _by_first_reply(learner_rows(chat, worse.episode, worse.role))
                for first in sorted(ours.keys() & theirs.keys()):
                    pairs += token_pair(
                        (ours[first], theirs[first]),
                        (better.episode, worse.episode),
                        better.role,
                        names=(better.episode.name, worse.episode.name),
                        difference=difference,
                    )
    return pairs


def _by_first_reply(rows: Iterable[Row]) -> dict[int, Row]:
    return {row.spans[0][0]: row for row in rows if row.spans}
