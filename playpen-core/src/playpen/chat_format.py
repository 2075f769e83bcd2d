"""Chats as token ids: token in, token out.

What a player sampled is never tokenised a second time.  As long as the chat template only appends
to what it rendered before, the ids of a conversation are the ids fed and sampled so far plus the
newly rendered part (the *delta*).  Where a template rewrites history (it drops earlier reasoning,
say) the whole conversation is rendered anew and begins a new row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from playpen.conversation import Message, TokenTrace
from playpen.player import PlayerError, SpecError
from playpen.reasoning import OPENINGS


class PromptTokens(NamedTuple):
    """What must be fed to answer a conversation.

    Attributes:
        context: the `TokenTrace.context` of the coming reply.
        continued: whether `context` continues the row of the role's previous kept reply.
        full: all ids that the model reads: the row so far, if continued, and `context`.
    """

    context: list[int]
    continued: bool
    full: list[int]


class ChatFormat:
    """Renders conversations with a tokenizer's chat template.

    Attributes:
        end_of_turn: ids that end a turn, by the chat template, the tokenizer and `stops`.
        opening: the tag that opens reasoning at the end of every prompt, "" if none does.
    """

    def __init__(
        self,
        tokenizer: Any,
        *,
        chat_template: str | None = None,
        template_options: Mapping[str, Any] | None = None,
        stops: Iterable[int] = (),
    ) -> None:
        """Examine the chat template.

        Args:
            tokenizer: a transformers tokenizer (`PreTrainedTokenizerBase`).
            chat_template: text of a Jinja template to use instead of the tokenizer's own.
            template_options: variables for the template, e.g. ``{"enable_thinking": False}``.
            stops: further ids that end a turn (those of the model's generation configuration).

        Raises:
            SpecError: there is no chat template, or it cannot render a plain chat.
        """
        name = getattr(tokenizer, "name_or_path", "") or "the tokenizer"
        if chat_template is None and not tokenizer.chat_template:
            raise SpecError(
                f"{name} has no chat template (is it a base model?); "
                "give one as a Jinja file with ?chat_template=FILE"
            )
        self.tokenizer = tokenizer
        self._template = chat_template
        self._options = dict(template_options or {})
        added = tokenizer.added_tokens_decoder
        self._special = {token_id for token_id, token in added.items() if token.special}
        self._special.update(tokenizer.all_special_ids)
        # Each turn renders again what the turn before has rendered, and what began the row.
        self._rendered = lru_cache(_REMEMBERED)(self._render_anew)
        self._encoded = lru_cache(_REMEMBERED)(self._encode)
        self._markers = [str(added[token_id]) for token_id in self._special if token_id in added]
        try:
            self.opening, self._lead, self._close = self._examine_template()
        except PlayerError as error:
            raise SpecError(f"{name}: {error}") from None
        self.end_of_turn = frozenset(
            token_id
            for token_id in (*self._close, tokenizer.eos_token_id, *stops)
            if token_id is not None
        )

    def _examine_template(self) -> tuple[str, str, list[int]]:
        """What opens reasoning in a prompt, what precedes a reply, the id that ends one."""
        sentinel = _sentinel(())
        question = Message("user", "x")
        asked = self._render([question], answer=True)
        answered = self._render([question, Message("assistant", sentinel)])
        if sentinel not in answered:
            raise PlayerError("the chat template does not show assistant messages")
        before, _, after = answered.rpartition(sentinel)
        closing = self._ids(after.lstrip())[:1]
        if not closing or closing[0] not in self._special:
            eos = self.tokenizer.eos_token_id
            closing = [] if eos is None else [eos]
        end = asked.rstrip().lower()
        opening = next((tag for tag in OPENINGS if end.endswith(tag)), "")
        # A reply without reasoning may begin with a blank, or with an empty block of reasoning.
        if before.startswith(asked):
            lead = before[len(asked) :]
        else:
            lead = f"{OPENINGS[opening]}\n\n" if opening else ""
        return opening, lead, closing

    def prompt(self, messages: Sequence[Message]) -> PromptTokens:
        """The ids to feed so that the last message, a user message, is answered.

        The row so far is that of the last assistant message that has tokens; what came after it
        (the user's message, fixed exchanges) is the delta.  The context is continued only if the
        whole chat, rendered anew, reads the same (up to white space around replies).

        Raises:
            PlayerError: the chat template refuses the conversation.
        """
        full_text = self._render(messages, answer=True)
        last = _last_traced(messages)
        if last is not None:
            row = self._row(messages, last)
            delta = self._delta(messages, last, full_text)
            if row and delta is not None:
                return PromptTokens(delta, True, row + delta)
        ids = self._ids(full_text)
        return PromptTokens(ids, False, ids)

    def said(self, text: str) -> list[int]:
        """The ids of a reply given as text, with what the template puts around it.

        The id that ends the turn is included.
        """
        return self._ids(self._lead + text) + self._close

    def trace(self, messages: Sequence[Message], text: str) -> TokenTrace:
        """The trace of a reply, had this text been sampled as the answer to `messages`.

        Training on what programs, people or other models said uses it.  For the rows of a whole
        conversation, put each trace into its message's reply before asking for the next one.

        Returns:
            A trace whose log-probabilities are all 0.0: nothing was sampled.

        Raises:
            PlayerError: the chat template refuses the conversation.
        """
        prompt = self.prompt(messages)
        sampled = self.said(text)
        return TokenTrace(prompt.context, sampled, [0.0] * len(sampled), prompt.continued)

    def decode(self, sampled: Sequence[int]) -> str:
        """The text of sampled ids without the end of the turn, special tokens as they are."""
        ids = list(sampled)
        if ids and ids[-1] in self.end_of_turn:
            ids.pop()
        text: str = self.tokenizer.decode(
            ids, skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        return text

    def plain(self, text: str) -> str:
        """A text without the texts of the tokenizer's special tokens."""
        # What is left of nested markers can be a marker again; a blank ends that.
        for replacement in ("", " "):
            for marker in self._markers:
                text = text.replace(marker, replacement)
        return text

    def _row(self, messages: Sequence[Message], last: int) -> list[int] | None:
        """The exact ids up to and including the reply at `last`; `None` if they are not ours."""
        row: list[int] = []
        start = 0
        for number, message in enumerate(messages[: last + 1]):
            trace = _trace_of(message)
            if trace is None:
                continue
            if not trace.continued:
                row, start = list(trace.context), number
            else:
                row += trace.context
            row += trace.sampled
        first = _trace_of(messages[start])
        # Contexts are tokenised text, so another tokenizer or template shows at the first one.
        if first is None or first.context != self._ids(self._render(messages[:start], answer=True)):
            return None
        return row

    def _delta(self, messages: Sequence[Message], last: int, full_text: str) -> list[int] | None:
        """The ids after the reply at `last`; `None` if the template changes what came before."""
        trace = _trace_of(messages[last])
        assert trace is not None
        sentinel = _sentinel(messages)
        marked = list(messages)
        marked[last] = Message("assistant", sentinel)
        marked_text = self._render(marked, answer=True)
        if sentinel not in marked_text:
            return None
        suffix = marked_text.rpartition(sentinel)[2]
        before = self._render(messages[:last], answer=True)
        end = len(full_text) - len(suffix)
        if not (full_text.startswith(before) and full_text.endswith(suffix) and end >= len(before)):
            return None
        if full_text[len(before) : end].strip() != self.decode(trace.sampled).strip():
            return None
        ids = self._ids(suffix)
        closing = self._ids(suffix.lstrip())
        if closing and closing[0] == trace.sampled[-1]:
            return closing[1:]
        return ids

    def _render(self, messages: Sequence[Message], *, answer: bool = False) -> str:
        """The chat as text; with `answer`, open for the assistant's reply."""
        return self._rendered(tuple(map(_readable, messages)), answer)

    def _render_anew(self, chat: tuple[_Readable, ...], answer: bool) -> str:
        try:
            return self._apply([_as_generated(m) for m in chat], answer)
        except Exception as error:  # a template can raise anything
            # gpt-oss refuses raw replies: it wants reasoning in a field of its own.
            try:
                return self._apply([_taken_apart(m) for m in chat], answer)
            except Exception:
                raise PlayerError(f"the chat template refuses the chat: {error}") from None

    def _apply(self, chat: list[dict[str, str]], answer: bool) -> str:
        text: str = self.tokenizer.apply_chat_template(
            chat,
            chat_template=self._template,
            tokenize=False,
            add_generation_prompt=answer,
            **self._options,
        )
        return text

    def _ids(self, text: str) -> list[int]:
        """Ids of a rendered text; the template has put in the special tokens already."""
        return list(self._encoded(text))

    def _encode(self, text: str) -> tuple[int, ...]:
        try:
            ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False)
        except (TypeError, UnicodeEncodeError):  # half a surrogate pair, which no tokenizer reads
            readable = text.encode("utf-8", "replace").decode("utf-8")
            ids = self.tokenizer.encode(readable, add_special_tokens=False)
        return tuple(ids)


_REMEMBERED = 4096
"""Chats, rendered and as ids: two for each of the episodes in flight are enough."""


def _trace_of(message: Message) -> TokenTrace | None:
    """The tokens of an assistant message, if it has any that were sampled."""
    trace = message.reply.tokens if message.reply is not None else None
    return trace if trace is not None and trace.sampled else None


def _last_traced(messages: Sequence[Message]) -> int | None:
    """Place of the last reply if it has tokens; fixed exchanges after it do not count."""
    for number in range(len(messages) - 1, -1, -1):
        if messages[number].reply is not None:
            return number if _trace_of(messages[number]) is not None else None
    return None


class _Readable(NamedTuple):
    """What a chat template can read of a message."""

    role: str
    generated: str
    content: str
    reasoning: str | None


def _readable(message: Message) -> _Readable:
    reply = message.reply
    if reply is None:
        return _Readable(message.role, message.content, message.content, None)
    return _Readable(message.role, reply.generated, message.content, reply.reasoning)


def _as_generated(message: _Readable) -> dict[str, str]:
    return {"role": message.role, "content": message.generated}


def _taken_apart(message: _Readable) -> dict[str, str]:
    chat = {"role": message.role, "content": message.content}
    if message.reasoning:
        # Templates do not agree on the field's name.
        chat["reasoning_content"] = chat["thinking"] = message.reasoning
    return chat


def _sentinel(messages: Sequence[Message]) -> str:
    """A text that marks a place in a rendered chat, and that no message contains."""
    sentinel = "PLAYPEN-REPLY"
    while any(sentinel in message.content for message in messages):
        sentinel += "-X"
    return sentinel
