"""Rows in the conversational formats of TRL 1.16, each with where it comes from.

TRL's trainers know what to do by the names of the columns: ``messages``; ``prompt`` and
``completion``; these and ``label``; ``prompt``, ``chosen`` and ``rejected``.  They pass over all
others, so what says where a row comes from stands beside them under names that TRL does not use.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any, Literal, TypeAlias

import msgspec

from playpen.conversation import Message
from playpen.export.conversations import ExportedConversation, Origin

Format: TypeAlias = Literal["sft", "dpo", "kto", "messages", "parquet"]


class ChatMessage(msgspec.Struct, frozen=True):
    """A message as chat templates take it."""

    role: str
    content: str


class ReplyRow(Origin, frozen=True, kw_only=True):
    """One reply, for `SFTTrainer`.

    Attributes:
        prompt: the chat that it answers.
        completion: the reply alone.
    """

    prompt: list[ChatMessage]
    completion: list[ChatMessage]


class ConversationRow(Origin, frozen=True, kw_only=True):
    """One conversation.

    Attributes:
        messages: the whole of it.
        replies: the places among the messages where the role's player speaks.
    """

    messages: list[ChatMessage]
    replies: list[int]


class LabelledRow(Origin, frozen=True, kw_only=True):
    """One conversation that is wanted or not, for `KTOTrainer`.

    Attributes:
        prompt: what comes before the first reply.
        completion: everything from there on, later questions included.
        label: whether it is wanted.
    """

    prompt: list[ChatMessage]
    completion: list[ChatMessage]
    label: bool


class MessagePairRow(msgspec.Struct, frozen=True, kw_only=True):
    """Two ways of going on from the same messages, for `DPOTrainer`; both begin with a reply.

    Attributes:
        prompt: what both have in common; it ends with a question to the role.
        chosen: how the better one goes on, from the first reply that differs.
        rejected: how the worse one goes on.

    The other attributes are those of `Origin`; what may differ between the two has their names in
    front.
    """

    prompt: list[ChatMessage]
    chosen: list[ChatMessage]
    rejected: list[ChatMessage]
    game: str
    rules: str
    experiment: str
    instance: str
    split: str | None
    role: str
    side: bool
    turn: int | None
    chosen_run: str
    chosen_run_config: str
    chosen_episode: str
    chosen_player: str
    chosen_seed: int
    chosen_repeat: int
    chosen_outcome: str
    chosen_fault: str | None
    chosen_score: float | None
    chosen_reward: float
    rejected_run: str
    rejected_run_config: str
    rejected_episode: str
    rejected_player: str
    rejected_seed: int
    rejected_repeat: int
    rejected_outcome: str
    rejected_fault: str | None
    rejected_score: float | None
    rejected_reward: float


Row: TypeAlias = ReplyRow | ConversationRow | LabelledRow | MessagePairRow

KINDS: dict[Format, type[Row]] = {
    "sft": ReplyRow,
    "dpo": MessagePairRow,
    "kto": LabelledRow,
    "messages": ConversationRow,
    "parquet": ConversationRow,
}
"""The rows of each format."""

_OF_BOTH = ("game", "rules", "experiment", "instance", "split", "role", "side", "turn")
_OF_EACH = tuple(name for name in Origin.__struct_fields__ if name not in _OF_BOTH)


class Made(msgspec.Struct):
    """The rows of a dataset, and what could not become one.

    Attributes:
        rows: in the order of the conversations.
        blameless: conversations left out because another role is to blame for the outcome.
        unpaired: groups of two or more conversations that give no pair.
    """

    rows: Sequence[Row]
    blameless: int = 0
    unpaired: int = 0


def make_rows(
    form: Format, conversations: Iterable[ExportedConversation], *, threshold: float = 0.0
) -> Made:
    """The rows of some conversations.

    Where another role is to blame for how an episode ended, the role's own part says nothing about
    it: such conversations are neither labelled nor paired.

    Args:
        form: the format.
        conversations: ordered conversations.
        threshold: with ``kto``, the reward that wanted conversations exceed.
    """
    if form == "sft":
        return Made([row for conversation in conversations for row in _reply_rows(conversation)])
    if form in ("messages", "parquet"):
        return Made([_conversation_row(conversation) for conversation in conversations])
    conversations = list(conversations)
    judged = [
        conversation
        for conversation in conversations
        if conversation.origin.fault in (None, conversation.origin.role)
    ]
    if form == "kto":
        made = Made([_labelled_row(conversation, threshold) for conversation in judged])
    else:
        made = _message_pairs(judged)
    made.blameless = len(conversations) - len(judged)
    return made


def _reply_rows(conversation: ExportedConversation) -> list[ReplyRow]:
    return [
        ReplyRow(
            **_origin(conversation) | {"turn": turn},
            prompt=_chat(conversation.messages[:place]),
            completion=_chat(conversation.messages[place : place + 1]),
        )
        for place, turn in zip(conversation.replies, conversation.turns, strict=True)
    ]


def _conversation_row(conversation: ExportedConversation) -> ConversationRow:
    return ConversationRow(
        **_origin(conversation), messages=_chat(conversation.messages), replies=conversation.replies
    )


def _labelled_row(conversation: ExportedConversation, threshold: float) -> LabelledRow:
    first = conversation.replies[0]
    return LabelledRow(
        **_origin(conversation),
        prompt=_chat(conversation.messages[:first]),
        completion=_chat(conversation.messages[first:]),
        label=conversation.origin.reward > threshold,
    )


def _message_pairs(conversations: Sequence[ExportedConversation]) -> Made:
    """In each group, the two conversations that differ most in reward.

    A group is of one role, on one instance, with the same chance moves.  The pair's first message
    that differs must be a reply of the role itself: after other questions, another reply is no
    better or worse.  (A trainer that has a mask can also pair conversations that part where
    somebody else speaks.)
    """
    chancy = {
        (conversation.origin.game, conversation.origin.instance)
        for conversation in conversations
        if conversation.chance
    }
    groups: dict[tuple[Any, ...], list[ExportedConversation]] = {}
    for conversation in conversations:
        origin = conversation.origin
        puzzle = (origin.game, origin.instance)
        # Chance moves depend on the seed of the run; without any, all runs are alike.
        seed = origin.seed if puzzle in chancy else None
        key = (*puzzle, origin.rules, origin.role, origin.turn, seed)
        groups.setdefault(key, []).append(conversation)
    made: list[MessagePairRow] = []
    unpaired = 0
    for group in groups.values():
        ranked = sorted(group, key=lambda conversation: -conversation.origin.reward)
        pairs = [
            (better, worse)
            for better, worse in itertools.combinations(ranked, 2)
            if better.origin.reward > worse.origin.reward
        ]
        pairs.sort(key=lambda pair: pair[1].origin.reward - pair[0].origin.reward)
        parted = ((pair, _first_different_reply(*pair)) for pair in pairs)
        best = next(((pair, place) for pair, place in parted if place is not None), None)
        if best is not None:
            made.append(_message_pair(*best[0], best[1]))
        elif len(group) > 1:
            unpaired += 1
    return Made(made, unpaired=unpaired)


def _first_different_reply(better: ExportedConversation, worse: ExportedConversation) -> int | None:
    """The place of the first message that differs, if both players speak there."""
    for place, (ours, theirs) in enumerate(zip(better.messages, worse.messages, strict=False)):
        if ours.content != theirs.content:
            return place if place in better.replies and place in worse.replies else None
    return None


def _message_pair(
    better: ExportedConversation, worse: ExportedConversation, place: int
) -> MessagePairRow:
    shared = _origin(better)
    each = {
        f"{side}_{name}": getattr(conversation.origin, name)
        for side, conversation in (("chosen", better), ("rejected", worse))
        for name in _OF_EACH
    }
    return MessagePairRow(
        **{name: shared[name] for name in _OF_BOTH},
        **each,
        prompt=_chat(better.messages[:place]),
        chosen=_chat(better.messages[place:]),
        rejected=_chat(worse.messages[place:]),
    )


def _origin(conversation: ExportedConversation) -> dict[str, Any]:
    return msgspec.structs.asdict(conversation.origin)


def _chat(messages: Iterable[Message]) -> list[ChatMessage]:
    return [ChatMessage(message.role, message.content) for message in messages]
