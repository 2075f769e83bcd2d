"""Dialogues that are wanted or not, without pairs."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal, TypeAlias

from playpen.chat_format import ChatFormat
from playpen_trainers.episode_rows import learner_rows
from playpen_trainers.preferences.returns import RoleReturn, comparable_groups
from playpen_trainers.preferences.rows import UnpairedRow

Label: TypeAlias = Literal["success", "threshold", "group"]


def unpaired_rows(
    chat: ChatFormat,
    returns: Iterable[RoleReturn],
    *,
    label: Label = "success",
    threshold: float = 0.0,
) -> list[UnpairedRow]:
    """Rows of dialogues that are wanted or not.

    Args:
        chat: the learner's chat format.
        returns: of what was played.
        label: wanted is what was won (``success``), what returned more than the ``threshold``, or
            more than the mean of its group (``group``; what returned just the mean says
            nothing and is left out).
        threshold: see `label`.
    """
    rows: list[UnpairedRow] = []
    for group in comparable_groups(returns):
        mean = math.fsum(one.value for one in group) / len(group)
        for episode, role, value in group:
            if label == "group" and math.isclose(value, mean, abs_tol=1e-9):
                continue
            limit = mean if label == "group" else threshold
            desirable = episode.success if label == "success" else value > limit
            for row in learner_rows(chat, episode, role):
                if not any(row.mask):
                    continue
                begin, end = row.spans[0][1], row.spans[-1][2]
                rows.append(
                    UnpairedRow(
                        prompt=row.ids[:begin],
                        completion=row.ids[begin:end],
                        mask=row.mask[begin:end],
                        desirable=desirable,
                        game=episode.game,
                        instance=episode.instance,
                        role=role,
                        episode=episode.name,
                        value=value,
                    )
                )
    return rows
