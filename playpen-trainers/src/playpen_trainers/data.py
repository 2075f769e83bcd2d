"""Training data as views of episodes: which tokens are trained, and where each row comes from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypedDict

from playpen.conversation import Message, Reply, Row, trajectory
from playpen.episode import Episode
from playpen.players.chat import ChatFormat

IGNORED = -100
"""Label of a token that carries no loss (PyTorch's cross-entropy)."""


class ImitationRow(TypedDict):
    """One row of supervised training, with its provenance.

    `input_ids` and `labels` have the same length; a label is the token's id where the role itself
    speaks (its end of turn included) and `IGNORED` elsewhere.
    """

    input_ids: list[int]
    labels: list[int]
    game: str
    episode: str
    instance: str
    role: str


def role_rows(chat: ChatFormat, episode: Episode, role: str) -> list[Row]:
    """The token rows that a model with this chat format would have made of a role's part.

    What was said is rendered just as it would be at play time; a side question gives a row of its
    own, and so does each turn where the chat template rewrites history.
    """
    replies: list[tuple[Reply, bool]] = []
    for turn in episode.turns(role):
        kept = iter([reply for reply, keep in replies if keep])
        history = [
            Message(m.role, m.content, next(kept) if m.reply else None) for m in turn.messages
        ]
        text = turn.reply.text
        replies.append((Reply(text, tokens=chat.trace(history, text)), turn.keep))
    found = trajectory(role, replies)
    return found.rows if found else []


def imitation_rows(
    chat: ChatFormat, demonstrations: Iterable[tuple[Episode, Sequence[str]]]
) -> list[ImitationRow]:
    """Rows for supervised fine-tuning: one per role and conversation, loss on its replies only.

    Args:
        chat: the learner's chat format.
        demonstrations: episodes, each with the roles to imitate.
    """
    return [
        ImitationRow(
            input_ids=row.ids,
            labels=[
                token if trained else IGNORED
                for token, trained in zip(row.ids, row.mask, strict=True)
            ],
            game=episode.game,
            episode=episode.name,
            instance=episode.instance,
            role=role,
        )
        for episode, roles in demonstrations
        for role in roles
        for row in role_rows(chat, episode, role)
    ]
