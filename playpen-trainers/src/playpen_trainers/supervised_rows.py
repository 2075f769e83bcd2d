"""Rows of token ids and labels for supervised training, and those of recorded episodes."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable, Sequence
from typing import TypedDict, TypeVar

from playpen.chat_format import ChatFormat
from playpen.conversation import Row
from playpen.episode import Episode
from playpen.training import ConfigError
from playpen_trainers.episode_rows import role_rows

IGNORED = -100
"""Label of a token that carries no loss (PyTorch's cross-entropy)."""


class SupervisedRow(TypedDict):
    """One row of supervised training.

    `input_ids` and `labels` have the same length; a label is the token's id where the one that is
    imitated speaks (its end of turn included) and `IGNORED` elsewhere.
    """

    input_ids: list[int]
    labels: list[int]


class ImitationRow(SupervisedRow):
    """A row of a role's part in an episode.

    `player` is the label of who played the role, `outcome` is ``success``, ``lose`` or ``abort``,
    and `score` the main score.
    """

    game: str
    episode: str
    instance: str
    role: str
    player: str
    outcome: str
    score: float | None


RowT = TypeVar("RowT", bound=SupervisedRow)


def imitation_rows(
    chat: ChatFormat,
    demonstrations: Iterable[tuple[Episode, Sequence[str]]],
    own: Collection[str] = (),
) -> list[ImitationRow]:
    """Rows for supervised fine-tuning: one per role and conversation, loss on its replies only.

    Args:
        chat: the learner's chat format.
        demonstrations: episodes, each with the roles to imitate.
        own: labels under which the learner itself played: the ids that it sampled are used.
    """
    return [
        ImitationRow(
            input_ids=row.ids,
            labels=labels(row),
            game=episode.game,
            episode=episode.name,
            instance=episode.instance,
            role=role,
            player=episode.players[role],
            outcome=episode.ending,
            score=episode.main_score,
        )
        for episode, roles in demonstrations
        for role in roles
        for row in role_rows(chat, episode, role, own=episode.players[role] in own)
    ]


def labels(row: Row) -> list[int]:
    """The ids of a row, `IGNORED` where its own role does not speak."""
    return [token if trained else IGNORED for token, trained in zip(row.ids, row.mask, strict=True)]


def fitting(rows: Sequence[RowT], limit: int) -> list[RowT]:
    """The rows of at most `limit` tokens that have something to train.

    Raises:
        ConfigError: there are none.
    """
    kept = [
        row
        for row in rows
        if len(row["input_ids"]) <= limit and any(label != IGNORED for label in row["labels"])
    ]
    if not kept:
        raise ConfigError(
            f"none of the {len(rows)} rows fits into {limit} tokens; raise trainer.max_length"
        )
    if len(kept) < len(rows):
        warnings.warn(
            f"{len(rows) - len(kept)} of {len(rows)} rows are longer than {limit} tokens or have "
            "nothing to train, and are left out",
            stacklevel=2,
        )
    return kept
