"""What one role has seen and said, as a chat and as tokens."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Literal, TypeAlias

import msgspec

Content: TypeAlias = str
"""Content of a message.  Text today; image parts may join it."""

StopReason: TypeAlias = Literal["stop", "length", "context", "budget", "filter"]
"""Why a reply ended: end of turn, token limit, no room left in the model's context, the server's
content filter, or nobody was asked because the episode's budget was used up."""


class TokenTrace(msgspec.Struct, frozen=True, omit_defaults=True):
    """The exact tokens of one reply.

    Attributes:
        context: ids fed before sampling.  If `continued`, only those that come after the
            role's previous kept reply; otherwise all of them.
        sampled: ids that the player sampled, the end-of-turn token included if it was sampled.
        logprobs: log-probability of each sampled id under the sampler (after temperature).
        continued: the context continues the row of the role's previous kept reply.
    """

    context: list[int]
    sampled: list[int]
    logprobs: list[float]
    continued: bool = False


class Reply(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a player said.

    Attributes:
        text: what the game and the other roles see.
        raw: what was generated, where it differs from `text` (white space, markers, reasoning).
        reasoning: the part of `raw` that was recognised as reasoning.
        stop_reason: why generation ended, where the player knows.
        tokens: the exact tokens, where the player sees them.
        prompt_tokens, completion_tokens: usage, where the player knows it.
    """

    text: str
    raw: str | None = None
    reasoning: str | None = None
    stop_reason: StopReason | None = None
    tokens: TokenTrace | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None

    @property
    def generated(self) -> str:
        """The generated text: `raw` where it is kept, else `text`."""
        return self.text if self.raw is None else self.raw


def storable(reply: Reply) -> Reply:
    """The reply without lone surrogates, which no UTF-8 file can hold (shown as U+FFFD).

    A server can send them escaped in JSON, and they must not stop the recording of a run.
    """
    texts = {"text": reply.text, "raw": reply.raw, "reasoning": reply.reasoning}
    broken = {
        name: text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
        for name, text in texts.items()
        if text is not None and not encodable(text)
    }
    return msgspec.structs.replace(reply, **broken) if broken else reply


def encodable(text: str) -> bool:
    """Whether a UTF-8 file can hold the text: it has no lone surrogates."""
    if text.isascii():
        return True
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


class Message(msgspec.Struct, frozen=True, omit_defaults=True):
    """One message of a chat.  An assistant message holds the reply it came from, if one did."""

    role: Literal["user", "assistant"]
    content: Content
    reply: Reply | None = None


class Conversation:
    """One role's chat view, as its player gets it.

    Attributes:
        game: name of the game.
        instance: content hash of the instance.
        repeat: number of the repeat of this instance.
        role: the role whose view this is.
        messages: alternating messages; the last one is the user message to answer.
        turn: how many replies this role has given before, side questions included.
        side: the last message is a side question, which will leave no trace.
        sampling_seed: seed of the episode's sampling.
        max_new_tokens: the game's limit for this reply, if it sets one.
        episode: names the episode in messages for people.
    """

    __slots__ = (
        "episode",
        "game",
        "instance",
        "max_new_tokens",
        "messages",
        "repeat",
        "role",
        "sampling_seed",
        "side",
        "turn",
    )

    def __init__(
        self,
        role: str,
        messages: Sequence[Message] = (),
        *,
        game: str = "",
        instance: str = "",
        repeat: int = 0,
        turn: int = 0,
        side: bool = False,
        sampling_seed: int = 0,
        max_new_tokens: int | None = None,
        episode: str = "",
    ) -> None:
        self.role = role
        self.messages = list(messages)
        self.game = game
        self.instance = instance
        self.repeat = repeat
        self.turn = turn
        self.side = side
        self.sampling_seed = sampling_seed
        self.max_new_tokens = max_new_tokens
        self.episode = episode

    @property
    def last(self) -> str:
        """Text of the message to answer."""
        return self.messages[-1].content

    @property
    def seed(self) -> int:
        """Seed of the next reply: a function of the episode's sampling seed, role and turn."""
        return derive_seed(self.sampling_seed, self.role, self.turn)

    def chat(self) -> list[dict[str, str]]:
        """The messages as ``{"role", "content"}`` objects, as chat templates and servers want."""
        return [{"role": m.role, "content": m.content} for m in self.messages]


def derive_seed(*parts: object) -> int:
    """A 63-bit seed from any parts; the same parts give the same seed on every machine."""
    digest = hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


class Row(msgspec.Struct):
    """One training row: token ids, which of them the player sampled, and their log-probabilities.

    The three lists have the same length; where `mask` is 0, `logprobs` is 0.0.  `spans` holds
    ``(turn, start, end)`` for each reply in the row: the half-open range of its sampled ids.
    """

    ids: list[int] = []
    mask: list[int] = []
    logprobs: list[float] = []
    spans: list[tuple[int, int, int]] = []

    def append(self, turn: int, trace: TokenTrace) -> None:
        """Add a reply's context (mask 0) and its sampled ids (mask 1)."""
        self.ids += trace.context
        self.mask += [0] * len(trace.context)
        self.logprobs += [0.0] * len(trace.context)
        self.spans.append((turn, len(self.ids), len(self.ids) + len(trace.sampled)))
        self.ids += trace.sampled
        self.mask += [1] * len(trace.sampled)
        self.logprobs += trace.logprobs


class Trajectory(msgspec.Struct):
    """The tokens of one role in one episode, as rows.

    The main conversation is one row where the chat template keeps history as it was sampled;
    each side question is a row of its own, and so is each turn where a template rewrites history.
    """

    role: str
    rows: list[Row]


def trajectory(role: str, replies: Sequence[tuple[Reply, bool]]) -> Trajectory | None:
    """Build the trajectory of a role from its replies in order, each with its ``keep`` flag.

    Returns `None` if a reply came without tokens (its player could not see them).
    """
    rows: list[Row] = []
    main: Row | None = None
    for turn, (reply, keep) in enumerate(replies):
        trace = reply.tokens
        if trace is None:
            return None
        if keep and trace.continued and main is not None:
            main.append(turn, trace)
            continue
        row = Row()
        if trace.continued and main is not None:
            # A side question sees the history, so its row starts with a copy that is not trained.
            row.ids = list(main.ids)
            row.mask = [0] * len(main.ids)
            row.logprobs = [0.0] * len(main.ids)
        row.append(turn, trace)
        rows.append(row)
        if keep:
            main = row
    return Trajectory(role, rows)
