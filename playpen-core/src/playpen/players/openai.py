"""``openai:`` players: a model behind any server that speaks OpenAI's HTTP interface.

Two of its calls are used.  *Chat completions* (``/chat/completions``), which every such server
has, takes messages and returns a text.  *Completions* (``/completions``) with token ids is vLLM's:
it is used where the option `tokenizer` says how to write a chat as ids, and gives the exact tokens.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar
from urllib.parse import urlsplit

import msgspec

from playpen.bounds import (
    AboveZeroToOne,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)
from playpen.chat_format import ChatFormat, PromptTokens
from playpen.conversation import Conversation, Reply, StopReason
from playpen.game import Game
from playpen.player import Player, PlayerError, SpecError
from playpen.players.http.endpoint import Malformed, Refused, find_endpoint
from playpen.players.http.retry import RetryPolicy
from playpen.players.replies import (
    DEFAULT_NEW_TOKENS,
    Thinking,
    generated_reply,
    longest_reply,
    no_room,
)
from playpen.reasoning import split_reasoning

DEFAULT_URL = "https://api.openai.com/v1"
DEFAULT_KEY_VARIABLE = "OPENAI_API_KEY"
_SEED_BITS = 31
"""Some servers keep a seed in 32 bits, with or without a sign."""
_TOO_LONG = re.compile(
    "context[ _](length|window|size)|prompt is too long|exceeds the maximum number of tokens"
    "|tokens \\+ `max_new_tokens` must be"
    # The room that vLLM has left for a reply.
    "|max_tokens must be at least 1, got (0|-)",
    re.IGNORECASE,
)
"""How servers say that a prompt is longer than the model's context."""
_FILTERED = re.compile(
    "content[ _-]?(filter|policy|management policy|moderation)|ResponsibleAIPolicyViolation"
    "|data_inspection_failed|safety (system|filter)|moderation_blocked|flagged by",
    re.IGNORECASE,
)
"""How servers say that a filter took a prompt or a reply away."""
_ABOUT_THE_PROMPT = frozenset({200, 400, 403, 413, 422, 451})
"""Statuses of such refusals; 200 where an error is the body of a good answer."""


class OpenAIOptions(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Options of an ``openai:`` player.

    The limits hold for all players of one server and key in this process together; where they
    differ, the smallest counts.

    Attributes:
        base_url: where the interface begins, ``http://127.0.0.1:8000/v1`` for example.  Without
            it, the environment's ``OPENAI_BASE_URL``, or OpenAI's own.
        api_key_env: name of the environment variable that holds the key.  The key itself is
            never an option: specs are recorded.
        temperature: 0 takes the most probable token.
        max_new_tokens: limit of every reply.  Without it a reply has 300, or what its game allows.
        top_p: sample among the most probable tokens that together have this probability; not sent
            unless it is given (some models refuse it).
        seed: send a seed with every request, a function of the episode's seed, the role and the
            turn.  Servers promise little or nothing about it; some refuse it.
        thinking: ``strip`` hides reasoning from the game, ``keep`` leaves it in the reply (between
            ``<think>`` and ``</think>`` where the server sends it in a field of its own).
        max_tokens_field: what the server calls the limit of a reply.  ``auto`` is
            ``max_completion_tokens`` for OpenAI's own, and ``max_tokens``, which more servers
            know, elsewhere.
        max_concurrency: most requests in flight; 64 by default.
        requests_per_minute: limit, retries included; requests are spread evenly.
        tokens_per_minute: limit.  Before a request, its prompt is estimated and its longest reply
            assumed; afterwards the server's count replaces that.
        timeout: seconds that one attempt may take.
        max_retries: attempts after the first one, before the episode fails.
        retry_delay: seconds; retry number i waits between 0 and ``retry_delay * 2**i``, 60 at
            most, or what the server asks for.
        tokenizer: directory or hub name of the model's tokenizer, which must be the server's.
            Prompts are then sent as token ids, and replies keep the exact tokens that were
            sampled, with their log-probabilities; for vLLM's server.
        chat_template: a Jinja file to use instead of that tokenizer's chat template.
        logprobs: what vLLM's server was started with as ``--logprobs-mode``:
            ``raw`` (``raw_logprobs``, its default: before the temperature) or ``processed``
            (``processed_logprobs``: after the temperature and `top_p`).  Only with `tokenizer`.
    """

    base_url: str | None = None
    api_key_env: str = DEFAULT_KEY_VARIABLE
    temperature: NonNegativeFloat = 0.0
    max_new_tokens: PositiveInt | None = None
    top_p: AboveZeroToOne | None = None
    seed: bool = True
    thinking: Thinking = "strip"
    max_tokens_field: Literal["auto", "max_tokens", "max_completion_tokens"] = "auto"
    max_concurrency: PositiveInt | None = None
    requests_per_minute: PositiveInt | None = None
    tokens_per_minute: PositiveInt | None = None
    timeout: PositiveFloat = 600.0
    max_retries: NonNegativeInt = 8
    retry_delay: NonNegativeFloat = 1.0
    tokenizer: str | None = None
    chat_template: str | None = None
    logprobs: Literal["raw", "processed"] = "raw"


class OpenAIPlayer(Player):
    """``openai:MODEL``: a model behind an OpenAI-compatible server, asked over HTTP."""

    Options = OpenAIOptions

    def __init__(self, target: str, options: OpenAIOptions) -> None:
        """Check what can be checked without asking the server.

        Raises:
            SpecError: no model, no key where one is needed, or options that cannot be used.
        """
        if not target:
            raise SpecError("openai: names no model; write openai:MODEL")
        self._model = target
        self._name = f"openai:{target}"
        self._options = options
        self._url = _checked_url(self._name, options.base_url)
        own = urlsplit(self._url).hostname == urlsplit(DEFAULT_URL).hostname
        key = _key(self._name, options.api_key_env, needed=own)
        self._remedy = (
            f"set {options.api_key_env} to the server's key"
            if key is None
            else f"is the key in {options.api_key_env} this server's?"
        )
        self._limit_field = options.max_tokens_field
        if self._limit_field == "auto":
            self._limit_field = "max_completion_tokens" if own else "max_tokens"
        _check_token_options(self._name, options)
        self._chat: ChatFormat | None = None
        self._retry_policy = RetryPolicy(options.timeout, options.max_retries, options.retry_delay)
        self._endpoint = find_endpoint(self._url, key)
        self._endpoint.limit(
            concurrency=options.max_concurrency,
            requests_per_minute=options.requests_per_minute,
            tokens_per_minute=options.tokens_per_minute,
        )

    def seat(self, game: Game, role: str) -> Player:
        """Ask whether the server is there, so that what is wrong shows before anything is played.

        Raises:
            PlayerError: nothing answers, the server does not take the key, or the tokenizer
                cannot be loaded.
            SpecError: the tokenizer has no chat template.
        """
        self._endpoint.check(self._name, self._remedy)
        self._format()
        return self

    async def reply(self, conversation: Conversation) -> Reply:
        """Ask the server, as often as it takes.

        Where the prompt leaves no room in the model's context, the reply is empty, with the
        `stop_reason` ``context``.  Where a content filter stopped the prompt or the reply, it is
        what the filter let through, often nothing, with the `stop_reason` ``filter``.

        Raises:
            PlayerError: all attempts failed, or the server refused the request.
        """
        limit = longest_reply(self._options.max_new_tokens, conversation)
        chat = self._format()
        if chat is None:
            return await self._reply_to_text(conversation, limit)
        return await self._reply_to_tokens(conversation, limit, chat)

    def describe(self) -> dict[str, Any]:
        """Model, server, sampling options, and what happens to reasoning; never the key."""
        options = self._options
        described = {
            "model": self._model,
            "base_url": self._url,
            "prompts": "messages" if options.tokenizer is None else "token ids",
            "tokenizer": options.tokenizer,
            "chat_template": options.chat_template,
            "logprobs": None if options.tokenizer is None else options.logprobs,
            "temperature": options.temperature,
            "top_p": options.top_p,
            "max_new_tokens": options.max_new_tokens or DEFAULT_NEW_TOKENS,
            "seed": options.seed,
            "reasoning": "stripped" if options.thinking == "strip" else "kept",
        }
        return {name: value for name, value in described.items() if value is not None}

    def _format(self) -> ChatFormat | None:
        """How chats are written as token ids; `None` if the server does that."""
        if self._chat is None and self._options.tokenizer is not None:
            self._chat = _load_chat_format(
                self._name, self._options.tokenizer, self._options.chat_template
            )
        return self._chat

    def _sampling(self, conversation: Conversation) -> dict[str, Any]:
        """What both calls say about sampling."""
        options = self._options
        sampling: dict[str, Any] = {"model": self._model, "temperature": options.temperature}
        if options.top_p is not None:
            sampling["top_p"] = options.top_p
        if options.seed:
            sampling["seed"] = conversation.seed & ((1 << _SEED_BITS) - 1)
        return sampling

    # --- chat completions ------------------------------------------------------------------------

    async def _reply_to_text(self, conversation: Conversation, limit: int) -> Reply:
        messages = conversation.chat()
        estimate = sum(len(message["content"]) // 4 + 8 for message in messages)
        payload = {
            **self._sampling(conversation),
            "messages": messages,
            self._limit_field: limit,
        }
        try:
            answer = await self._endpoint.post(
                "/chat/completions",
                payload,
                _read_chat,
                self._retry_policy,
                asker=self._name,
                tokens=estimate + limit,
            )
        except Refused as refusal:
            verdict = _verdict(refusal)
            if verdict is None:
                raise
            return Reply("", stop_reason=verdict)
        choice = answer.choices[0]
        hidden = self._endpoint.without_key
        content = hidden(choice.message.text or choice.message.refusal or "")
        apart = choice.message.apart
        if apart is not None:
            apart = hidden(apart)
        if self._options.thinking == "strip":
            text, inside = split_reasoning(content)
            reasoning = "\n\n".join(filter(None, (apart, inside))) or None
        else:
            text = content.strip() if apart is None else f"<think>\n{apart}\n</think>\n\n{content}"
            reasoning = None
        used = answer.used.completion_tokens
        return Reply(
            text,
            raw=None if content == text else content,
            reasoning=reasoning,
            stop_reason=_stop_reason(choice.finish_reason, used, limit),
            prompt_tokens=answer.used.prompt_tokens,
            completion_tokens=used,
        )

    # --- completions of token ids ----------------------------------------------------------------

    async def _reply_to_tokens(
        self, conversation: Conversation, limit: int, chat: ChatFormat
    ) -> Reply:
        prompt = chat.prompt(conversation.messages)
        payload = {
            # What the model's own generation configuration would change, which the server obeys.
            "top_p": 1.0,
            "top_k": 0,
            "min_p": 0.0,
            "repetition_penalty": 1.0,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            **self._sampling(conversation),
            "prompt": prompt.full,
            "max_tokens": limit,
            "stop_token_ids": sorted(chat.end_of_turn),
            "logprobs": 0,
            "return_token_ids": True,
        }
        try:
            answer = await self._endpoint.post(
                "/completions",
                payload,
                _read_completion,
                self._retry_policy,
                asker=self._name,
                tokens=len(prompt.full) + limit,
            )
        except Refused as refusal:
            verdict = _verdict(refusal)
            if verdict is None:
                raise
            return msgspec.structs.replace(no_room(conversation, prompt), stop_reason=verdict)
        choice = answer.choices[0]
        sampled, logprobs = self._exact(choice, prompt)
        reply = generated_reply(
            chat,
            prompt,
            sampled,
            logprobs,
            thinking=self._options.thinking,
            cut=_stop_reason(choice.finish_reason, len(sampled), limit) or "length",
        )
        if self._endpoint.without_key(reply.generated) != reply.generated:
            # A text can be masked, but the ids that say the same must be what was sampled.
            raise PlayerError(
                f"{self._name}: {self._url} returned its own key, which is not written down"
            )
        return reply

    def _exact(
        self, choice: _CompletionChoice, prompt: PromptTokens
    ) -> tuple[list[int], list[float]]:
        """The sampled ids with their log-probabilities.

        Raises:
            PlayerError: the server does not give them, or read something else than was sent.
        """
        place = f"{self._name}: {self._url}"
        if choice.token_ids is None or choice.prompt_token_ids is None or choice.logprobs is None:
            raise PlayerError(
                f"{place} does not return token ids and log-probabilities, which the option "
                "tokenizer asks for (vLLM's server does since 0.10.2); leave the option out"
            )
        if choice.prompt_token_ids != prompt.full:
            raise PlayerError(f"{place} read other token ids than it was sent")
        given = choice.logprobs.token_logprobs or []
        logprobs = [logprob for logprob in given if logprob is not None]
        if len(logprobs) != len(choice.token_ids) or not logprobs:
            raise PlayerError(
                f"{place} returned {len(choice.token_ids)} token ids "
                f"and {len(logprobs)} log-probabilities"
            )
        return choice.token_ids, logprobs


# --- what is asked for ---------------------------------------------------------------------------


def _checked_url(name: str, given: str | None) -> str:
    """Where the server's interface begins, without a slash at the end.

    Raises:
        SpecError: it is no such URL.  What may be secret in it is not repeated.
    """
    source = "base_url"
    url = given
    if url is None:
        source = "OPENAI_BASE_URL"
        url = os.environ.get(source) or DEFAULT_URL
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound or re.search(r"\s", url):
        raise SpecError(f"{name}: {source} is not a URL like http://127.0.0.1:8000/v1")
    if "@" in parts.netloc:
        raise SpecError(
            f"{name}: {source} holds a user name or password, which would be recorded; "
            "put the server's key into an environment variable and name it with api_key_env"
        )
    if "?" in url or "#" in url:
        raise SpecError(f"{name}: {source} must end with its path, without ? or #")
    return url.rstrip("/")


def _key(name: str, variable: str, *, needed: bool) -> str | None:
    """The key in an environment variable; `None` if there is none and none is needed.

    Raises:
        SpecError: there is none where there must be one, or it cannot be sent.
    """
    key = os.environ.get(variable, "").strip()
    if not key:
        if needed or variable != DEFAULT_KEY_VARIABLE:
            raise SpecError(
                f"{name} needs a key: set the environment variable {variable}"
                + (", or name another server with base_url" if needed else "")
            )
        return None
    if not re.fullmatch(r"[!#-&(-\[\]-~]+", key):
        raise SpecError(f"{name}: the key in {variable} has characters that no key has")
    return key


def _check_token_options(name: str, options: OpenAIOptions) -> None:
    """Refuse options with which the log-probabilities would not be the sampler's.

    Those of a `TokenTrace` are after the temperature and before `top_p`.
    """
    if options.tokenizer is None:
        for option in ("chat_template", "logprobs"):
            if getattr(options, option) != getattr(OpenAIOptions(), option):
                raise SpecError(f"{name}: {option} means nothing without the option tokenizer")
    elif options.logprobs == "raw" and options.temperature not in (0, 1):
        raise SpecError(
            f"{name}: vLLM's log-probabilities are those before the temperature, which fits a "
            "temperature of 0 or 1 only; start the server with --logprobs-mode "
            "processed_logprobs and add logprobs=processed"
        )
    elif options.logprobs == "processed" and options.top_p not in (None, 1):
        raise SpecError(
            f"{name}: processed log-probabilities are those after top_p; leave top_p or "
            "logprobs=processed out"
        )


def _load_chat_format(name: str, tokenizer: str, chat_template: str | None) -> ChatFormat:
    """The chat format of a tokenizer in a directory or on the hub.

    Raises:
        PlayerError: it cannot be loaded; one line that says why.
        SpecError: there is no chat template, or its file cannot be read.
    """
    try:
        from transformers import AutoTokenizer, GenerationConfig

        from playpen.players.checkpoints import cause, read_template
    except ImportError as error:
        raise PlayerError(
            f'{name}: the option tokenizer needs transformers: pip install "playpen-core[hf]" '
            f"({error})"
        ) from None
    template = read_template(chat_template)
    source = str(Path(tokenizer).expanduser())
    try:
        loaded = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
    except Exception as error:  # transformers raises nearly everything here
        raise PlayerError(f"{name}: tokenizer={tokenizer}: {cause(error)}") from None
    try:
        stops = GenerationConfig.from_pretrained(source).eos_token_id
    except (OSError, ValueError):  # a tokenizer without its model
        stops = None
    return ChatFormat(
        loaded,
        chat_template=template,
        stops=[stops] if isinstance(stops, int) else stops or (),
    )


# --- what comes back -----------------------------------------------------------------------------

Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]
TokenId = Annotated[int, msgspec.Meta(ge=0, lt=1 << 31)]
_LONE_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_THOUGHT_FIELDS = ("thinking", "reasoning", "text", "content")
_FILTERS = frozenset({"content_filter", "safety", "prohibited_content", "blocklist"})
"""Reasons to finish, in lower case, of replies that a filter stopped."""
ChoiceT = TypeVar("ChoiceT", "_ChatChoice", "_CompletionChoice")


class _Usage(msgspec.Struct, frozen=True):
    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None


class _ChatMessage(msgspec.Struct, frozen=True):
    content: str | list[dict[str, Any]] | msgspec.UnsetType | None = msgspec.UNSET
    refusal: str | None = None
    reasoning_content: Any = None
    reasoning: Any = None

    @property
    def text(self) -> str:
        """What is said; of a list of parts, the text parts joined."""
        if isinstance(self.content, list):
            return "".join(
                _text_of(part.get("text") or part.get("refusal"))
                for part in self.content
                if not _is_thought(part)
            )
        return self.content or ""

    @property
    def apart(self) -> str | None:
        """Reasoning that the server has taken out of the text; servers differ in its place."""
        for reasoning in (self.reasoning_content, self.reasoning):
            if isinstance(reasoning, str) and reasoning.strip():
                return reasoning.strip()
        if not isinstance(self.content, list):
            return None
        thoughts = (_thought_of(part) for part in self.content if _is_thought(part))
        return "\n\n".join(filter(None, thoughts)) or None


def _is_thought(part: dict[str, Any]) -> bool:
    return part.get("type") in ("thinking", "reasoning")


def _thought_of(part: dict[str, Any]) -> str:
    return next(filter(None, (_text_of(part.get(n)).strip() for n in _THOUGHT_FIELDS)), "")


def _text_of(value: Any) -> str:
    """A text, or the texts of a list of parts, which Mistral's thinking is."""
    if isinstance(value, list):
        return "".join(_text_of(part.get("text")) for part in value if isinstance(part, dict))
    return value if isinstance(value, str) else ""


class _ChatChoice(msgspec.Struct, frozen=True):
    message: _ChatMessage
    finish_reason: str | None = None


class _CompletionLogprobs(msgspec.Struct, frozen=True):
    token_logprobs: list[float | None] | None = None


class _CompletionChoice(msgspec.Struct, frozen=True):
    finish_reason: str | None = None
    token_ids: list[TokenId] | None = None
    prompt_token_ids: list[TokenId] | None = None
    logprobs: _CompletionLogprobs | None = None


class _Answer(msgspec.Struct, Generic[ChoiceT], frozen=True):
    choices: Annotated[list[ChoiceT], msgspec.Meta(min_length=1)]
    usage: _Usage | None = None

    @property
    def used(self) -> _Usage:
        """Usage, with nothing in it where the server does not tell."""
        return self.usage or _Usage()


def _read_chat(content: bytes) -> tuple[_Answer[_ChatChoice], int | None]:
    answer, used = _read(content, _Answer[_ChatChoice])
    choice = answer.choices[0]
    # Where a filter stopped the reply, Azure leaves the content out.
    if choice.message.content is msgspec.UNSET and not _is_filter(choice.finish_reason):
        raise Malformed(f"the message has no content: {content.decode('utf-8', 'replace')}")
    return answer, used


def _read_completion(content: bytes) -> tuple[_Answer[_CompletionChoice], int | None]:
    return _read(content, _Answer[_CompletionChoice])


def _read(content: bytes, kind: type[_Answer[ChoiceT]]) -> tuple[_Answer[ChoiceT], int | None]:
    """An answer, and the tokens that it took, if the server tells.

    Raises:
        Malformed: the body is not such an answer, or the server broke off the reply.
    """
    try:
        if _LONE_SURROGATE.search(content):  # msgspec takes none, and a reply may have one
            answer = msgspec.convert(json.loads(content), kind)
        else:
            answer = msgspec.json.decode(content, type=kind)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise Malformed(f"{error}: {content.decode('utf-8', 'replace')}") from None
    finish = answer.choices[0].finish_reason
    if finish in ("abort", "error"):
        raise Malformed(f"the reply was broken off ({finish})", passing=True)
    used = answer.used
    if used.prompt_tokens is None or used.completion_tokens is None:
        return answer, None
    return answer, used.prompt_tokens + used.completion_tokens


def _verdict(refusal: Refused) -> StopReason | None:
    """Why there is no reply to this prompt; `None` if something else is wrong."""
    if refusal.status in _ABOUT_THE_PROMPT:
        if _TOO_LONG.search(refusal.reason):
            return "context"
        if _FILTERED.search(refusal.reason):
            return "filter"
    return None


def _is_filter(finish: str | None) -> bool:
    return finish is not None and finish.lower() in _FILTERS


def _stop_reason(finish: str | None, used: int | None, limit: int) -> StopReason | None:
    if finish in ("stop", "eos", "eos_token", "end_turn", "stop_sequence"):
        return "stop"
    if _is_filter(finish):
        return "filter"
    if finish == "model_length":
        return "context"
    if finish in ("length", "max_tokens"):
        # vLLM lowers the limit to the room that is left.
        return "context" if used is not None and used < limit else "length"
    return None
