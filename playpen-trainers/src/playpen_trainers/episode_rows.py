"""The token rows of a role's part in an episode: as recorded, or rendered anew."""

from __future__ import annotations

from playpen.chat_format import ChatFormat
from playpen.conversation import Message, Reply, Row, trajectory
from playpen.episode import Episode, Turn


def role_rows(chat: ChatFormat, episode: Episode, role: str, *, own: bool = False) -> list[Row]:
    """The token rows that a model with this chat format would have made of a role's part.

    What was said is rendered just as it would be at play time; a side question gives a row of its
    own, and so does each turn where the chat template rewrites history.

    Args:
        chat: the learner's chat format.
        episode: the record.
        role: whose part it is.
        own: the learner itself played the role, so the ids that it sampled stand as they are,
            where they were recorded.  Those of another model would mean something else.
    """
    if own and (sampled := episode.trajectory(role)) is not None:
        return sampled.rows
    replies: list[tuple[Reply, bool]] = []
    for turn in episode.turns(role):
        kept = iter([reply for reply, keep in replies if keep])
        history = [
            Message(m.role, m.content, next(kept) if m.reply else None) for m in turn.messages
        ]
        text = turn.reply.text
        replies.append((Reply(text, tokens=chat.trace(history, text)), turn.keep))
    rendered = trajectory(role, replies)
    return rendered.rows if rendered else []


def learner_rows(chat: ChatFormat, episode: Episode, role: str) -> list[Row]:
    """The token rows of a role's part, as the learner would have seen and sampled them.

    They are the recorded ids where a model with this chat format played the role; what anybody
    else said is rendered.
    """
    recorded = episode.trajectory(role)
    if recorded is not None and all(_fed_by(chat, turn) for turn in episode.turns(role)):
        return recorded.rows
    return role_rows(chat, episode, role)


def _fed_by(chat: ChatFormat, turn: Turn) -> bool:
    """Whether the recorded context of a reply is what this chat format feeds in its place."""
    trace = turn.reply.tokens
    if trace is None or not trace.sampled:  # nothing was fed: the model's context was full
        return trace is not None
    prompt = chat.prompt(turn.messages)
    return (prompt.context, prompt.continued) == (trace.context, trace.continued)
