"""Replies of a model that this program samples from: the same whichever engine runs it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from playpen.chat_format import ChatFormat, PromptTokens
from playpen.conversation import Conversation, Reply, StopReason, TokenTrace
from playpen.reasoning import split_reasoning

DEFAULT_NEW_TOKENS = 300
"""Longest reply in tokens unless the game or the user says otherwise; upstream's."""

Thinking = Literal["strip", "keep"]


def longest_reply(own: int | None, conversation: Conversation) -> int:
    """The limit of a reply in tokens: the lower of the player's `own` and the game's."""
    wanted = own or conversation.max_new_tokens or DEFAULT_NEW_TOKENS
    if conversation.max_new_tokens is not None:
        wanted = min(wanted, conversation.max_new_tokens)
    return wanted


def generated_reply(
    chat: ChatFormat,
    prompt: PromptTokens,
    sampled: Sequence[int],
    logprobs: Sequence[float],
    *,
    thinking: Thinking,
    cut: StopReason,
) -> Reply:
    """The reply that sampled ids are.

    Args:
        chat: what made the prompt.
        prompt: what was fed.
        sampled: at least one id, the end of the turn included if it was sampled.
        logprobs: log-probability of each sampled id.
        thinking: whether reasoning is hidden from the game.
        cut: why the reply ended if it did not end by itself.
    """
    raw = chat.decode(sampled)
    said, reasoning = raw, None
    if thinking == "strip":
        # What the prompt has opened is reasoning even if the limit came before its end.
        said, reasoning = split_reasoning(chat.opening + raw)
    text = chat.plain(said).strip()
    return Reply(
        text,
        raw=None if raw == text else raw,
        reasoning=reasoning,
        stop_reason="stop" if sampled[-1] in chat.end_of_turn else cut,
        tokens=TokenTrace(prompt.context, list(sampled), list(logprobs), prompt.continued),
        prompt_tokens=len(prompt.full),
        completion_tokens=len(sampled),
    )


def no_room(conversation: Conversation, prompt: PromptTokens) -> Reply:
    """The empty reply to a prompt that leaves no room in the model's context.

    Its trace is empty too: nothing was fed and nothing sampled.
    """
    # Counted as part of the row so far, if there is one: an empty row would train nothing.
    begun = any(m.reply is not None and m.reply.tokens is not None for m in conversation.messages)
    return Reply(
        "",
        stop_reason="context",
        tokens=TokenTrace([], [], [], begun),
        prompt_tokens=len(prompt.full),
        completion_tokens=0,
    )
