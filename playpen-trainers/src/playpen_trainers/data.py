"""Training data as views of episodes: which tokens are trained, and where each row comes from."""

from __future__ import annotations

import random
import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypedDict, TypeVar

import datasets
import msgspec
import torch

from playpen.chat_format import ChatFormat
from playpen.conversation import Message, Reply, Row, derive_seed, trajectory
from playpen.episode import Episode, Turn
from playpen.player import PlayerError
from playpen.training import ConfigError

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


class ChatRow(SupervisedRow):
    """A row of a general chat: of the line or item `number` of `source`, counted from 1."""

    source: str
    number: int


RowT = TypeVar("RowT", bound=SupervisedRow)


class OnlineRow(NamedTuple):
    """One row of a policy-gradient batch.

    `prompt` is what comes before the first sampled token; the other lists are as long as each
    other and cover the rest of the row.

    Attributes:
        prompt: ids, at least one.
        completion: ids.
        mask: 1 where the learner sampled the id.
        logprobs: log-probability of each id under the sampler, 0 where it did not sample it.
        advantages: of the reply that each id belongs to, 0 where the learner did not sample it.
    """

    prompt: list[int]
    completion: list[int]
    mask: list[int]
    logprobs: list[float]
    advantages: list[float]


def online_rows(rows: Iterable[Row], advantages: Sequence[float], limit: int) -> list[OnlineRow]:
    """The rows of a part, each reply with its advantage.

    Args:
        rows: of one role's trajectory.
        advantages: of each reply of the role, side questions included.
        limit: longest row in tokens; what comes after is cut off.  Rows without anything sampled
            within it are left out.
    """
    found: list[OnlineRow] = []
    for row in rows:
        spans = [(turn, start, min(end, limit)) for turn, start, end in row.spans if start < limit]
        spans = [span for span in spans if span[2] > span[1]]
        if not spans:
            continue
        begin, end = spans[0][1], spans[-1][2]  # nothing is trained after the last reply
        values = [0.0] * (end - begin)
        for turn, first, last in spans:
            values[first - begin : last - begin] = [advantages[turn]] * (last - first)
        found.append(
            OnlineRow(
                row.ids[:begin], row.ids[begin:end], row.mask[begin:end], row.logprobs[begin:end],
                values,
            )
        )  # fmt: skip
    return found


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
    found = trajectory(role, replies)
    return found.rows if found else []


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
            labels=_labels(row),
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


class Chats(NamedTuple):
    """General chats, which keep a learner's other skills while it learns to play.

    Attributes:
        source: the file or dataset.
        place: what one of them is called in messages: ``line`` or ``item``.
        items: the objects with ``messages``, not checked.
        numbers: where in `source` each of them is, counted from 1.
    """

    source: str
    place: str
    items: Sequence[Any]
    numbers: Sequence[int]

    def where(self, index: int) -> str:
        """Names a chat in messages for people."""
        return f"{self.source}, {self.place} {self.numbers[index]}"

    def messages(self, index: int) -> list[Message]:
        """The messages of a chat; the first one may be a system message.

        Raises:
            ConfigError: they are no chat; names the place.
        """
        item = self.items[index]
        found = item.get("messages") if isinstance(item, Mapping) else None
        if not isinstance(found, list) or not found:
            raise ConfigError(
                f"{self.where(index)}: messages = [{{role, content}}, ...] is expected"
            )
        chat: list[Message] = []
        for number, message in enumerate(found, 1):
            role = message.get("role") if isinstance(message, Mapping) else None
            if role not in ("system", "user", "assistant"):
                raise ConfigError(
                    f"{self.where(index)}: message {number} has the role {role!r}; "
                    "system, user or assistant is expected"
                )
            if not isinstance(message.get("content"), str):
                raise ConfigError(
                    f"{self.where(index)}: the content of message {number} is no text"
                )
            if role == "assistant" and (not chat or chat[-1].role != "user"):
                raise ConfigError(
                    f"{self.where(index)}: message {number} of the assistant answers no user"
                )
            chat.append(Message(role, message["content"]))
        if not any(message.role == "assistant" for message in chat):
            raise ConfigError(f"{self.where(index)}: the assistant says nothing")
        return chat


def read_chats(source: str, split: str) -> Chats:
    """General chats: of a JSON Lines file, checked line by line, or of a dataset.

    Args:
        source: path of the file, or name of the dataset.
        split: of the dataset.

    Raises:
        ConfigError: there is no such file or dataset, or a line holds no chat; names it.
    """
    path = Path(source).expanduser()
    if not path.is_file():
        if path.suffix in (".jsonl", ".json") or path.is_absolute() or source.startswith("."):
            raise ConfigError(f"data.chat = {source!r}: there is no such file")
        return Chats(source, "item", items := _dataset(source, split), range(1, len(items) + 1))
    items, numbers = [], []
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        if line.strip():
            try:
                items.append(msgspec.json.decode(line))
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise ConfigError(f"{source}, line {number}: not valid JSON: {error}") from None
            numbers.append(number)
    if not items:
        raise ConfigError(f"data.chat = {source!r}: the file is empty")
    chats = Chats(source, "line", items, numbers)
    for index in range(len(items)):
        chats.messages(index)
    return chats


def _dataset(name: str, split: str) -> Sequence[Any]:
    try:
        found: Any = datasets.load_dataset(name, split=split)
    except Exception as error:  # nearly everything: no network, no such name, no such split
        lines = str(error).strip().splitlines()
        raise ConfigError(
            f"data.chat = {name!r}: there is no such file, and no dataset of that name could be "
            f"loaded ({lines[0] if lines else type(error).__name__}); write the path of a JSON "
            "Lines file, or fetch the dataset first, on a machine with a network"
        ) from None
    if "messages" not in found.column_names or not len(found):
        raise ConfigError(
            f"data.chat = {name!r}: the dataset has no column messages; "
            f"it has {', '.join(found.column_names)}"
        )
    items: Sequence[Any] = found
    return items


def chat_rows(
    chat: ChatFormat, chats: Chats, count: int, *, limit: int, seed: int
) -> list[ChatRow]:
    """Rows of general chats, loss on the assistant's messages only.

    The chats are taken in a shuffled order, and in another one when all have been taken.  A chat
    gives one row, or one for each of the assistant's messages where the chat template rewrites
    history.

    Args:
        chat: the learner's chat format.
        chats: where they come from.
        count: how many rows.
        limit: longest row in tokens; longer ones are left out.
        seed: of the order.

    Raises:
        ConfigError: a chat is malformed, the chat template refuses it, or none fits.
    """
    chance = random.Random(derive_seed("chat", seed))
    rows: list[ChatRow] = []
    while len(rows) < count:
        before = len(rows)
        for index in chance.sample(range(len(chats.items)), len(chats.items)):
            rows += [
                ChatRow(
                    input_ids=row.ids,
                    labels=_labels(row),
                    source=chats.source,
                    number=chats.numbers[index],
                )
                for row in _spoken(chat, chats, index)
                if len(row.ids) <= limit
            ]
            if len(rows) >= count:
                break
        if len(rows) == before:
            raise ConfigError(
                f"data.chat: none of the {len(chats.items)} chats of {chats.source} fits into "
                f"{limit} tokens; raise trainer.max_length"
            )
    return rows[:count]


def _spoken(chat: ChatFormat, chats: Chats, index: int) -> list[Row]:
    """The token rows of the assistant of a chat."""
    history: list[Message] = []
    replies: list[tuple[Reply, bool]] = []
    for message in chats.messages(index):
        if message.role == "assistant":
            try:
                trace = chat.trace(history, message.content)
            except PlayerError as error:
                raise ConfigError(f"{chats.where(index)}: {error}") from None
            reply = Reply(message.content, tokens=trace)
            replies.append((reply, True))
            message = Message("assistant", message.content, reply)
        history.append(message)
    found = trajectory("assistant", replies)
    return found.rows if found else []


def _labels(row: Row) -> list[int]:
    return [token if trained else IGNORED for token, trained in zip(row.ids, row.mask, strict=True)]


def fitting(rows: Sequence[RowT], limit: int) -> list[RowT]:
    """The rows of at most `limit` tokens that have something to train.

    Raises:
        ConfigError: there are none.
    """
    found = [
        row
        for row in rows
        if len(row["input_ids"]) <= limit and any(label != IGNORED for label in row["labels"])
    ]
    if not found:
        raise ConfigError(
            f"none of the {len(rows)} rows fits into {limit} tokens; raise trainer.max_length"
        )
    if len(found) < len(rows):
        warnings.warn(
            f"{len(rows) - len(found)} of {len(rows)} rows are longer than {limit} tokens or have "
            "nothing to train, and are left out",
            stacklevel=2,
        )
    return found


class PreferenceRow(msgspec.Struct, frozen=True, kw_only=True):
    """Two ways of going on from the same prompt, one better than the other.

    The prompt ends where the first reply begins that differs.  What follows holds other roles'
    words, too, so each side has a mask of its own.

    Attributes:
        prompt: ids that both sides share; nothing of it is trained.
        chosen, rejected: ids of the better and the worse side.
        chosen_mask, rejected_mask: 1 where the role itself speaks (its end of turn included).
        game, instance, role: where the row comes from; the instance as its content hash.
        better, worse: names of the two episodes.
        turn: number of the reply, over all roles, that the sides differ in; `None` if they are
            whole dialogues.
        difference: how much more the better side is worth.
        error: standard error of the difference, where it was estimated.
    """

    prompt: list[int]
    chosen: list[int]
    chosen_mask: list[int]
    rejected: list[int]
    rejected_mask: list[int]
    game: str
    instance: str
    role: str
    better: str
    worse: str
    turn: int | None
    difference: float
    error: float | None


class UnpairedRow(msgspec.Struct, frozen=True, kw_only=True):
    """One conversation that is wanted or not.

    Attributes:
        prompt: ids before the role's first reply.
        completion: ids from there to the end of its last one.
        mask: of the completion; 1 where the role itself speaks (its end of turn included).
        desirable: whether more of it is wanted, or less.
        game, instance, role, episode: where the row comes from.
        value: return of the role in the episode.
    """

    prompt: list[int]
    completion: list[int]
    mask: list[int]
    desirable: bool
    game: str
    instance: str
    role: str
    episode: str
    value: float


def learner_rows(chat: ChatFormat, episode: Episode, role: str) -> list[Row]:
    """The token rows of a role's part, as the learner would have seen and sampled them.

    They are the recorded ids where a model with this chat format played the role; what anybody
    else said is rendered.
    """
    found = episode.trajectory(role)
    if found is not None and all(_fed_by(chat, turn) for turn in episode.turns(role)):
        return found.rows
    return role_rows(chat, episode, role)


def _fed_by(chat: ChatFormat, turn: Turn) -> bool:
    """Whether the recorded context of a reply is what this chat format feeds in its place."""
    trace = turn.reply.tokens
    if trace is None or not trace.sampled:  # nothing was fed: the model's context was full
        return trace is not None
    prompt = chat.prompt(turn.messages)
    return (prompt.context, prompt.continued) == (trace.context, trace.continued)


class Sides(NamedTuple):
    """What `PreferenceRow` holds of two rows."""

    prompt: list[int]
    chosen: list[int]
    chosen_mask: list[int]
    rejected: list[int]
    rejected_mask: list[int]


def sides(better: Row, worse: Row) -> Sides | None:
    """The common prompt of two rows, and how each goes on to its last reply.

    Replies that both begin with are part of the prompt: they tell nothing.  A reply that differs
    is never cut in two.

    Returns:
        `None` if one of them says nothing of its own.
    """
    common = 0
    for ours, theirs in zip(better.ids, worse.ids, strict=False):
        if ours != theirs:
            break
        common += 1
    replies = [{(start, end) for _, start, end in row.spans} for row in (better, worse)]
    same = {(start, end) for start, end in replies[0] & replies[1] if end <= common}
    begin = min(
        [start for start, _ in (replies[0] | replies[1]) - same if start < common] + [common]
    )
    found: list[list[int]] = [better.ids[:begin]]
    for row in (better, worse):
        last = max((end for _, _, end in row.spans), default=0)
        if not any(row.mask[begin:last]):
            return None
        found += [row.ids[begin:last], row.mask[begin:last]]
    return Sides(*found)


def padded(
    rows: Sequence[tuple[Sequence[int], Sequence[int]]], pad: int, limit: int
) -> dict[str, torch.Tensor]:
    """A batch as TRL's preference trainers read it, but with a mask of ours.

    Args:
        rows: ids, and as many mask values.
        pad: id that fills up shorter rows.
        limit: longest row in tokens; what comes after is cut off.

    Returns:
        ``input_ids``, ``attention_mask`` and ``completion_mask``, each of the shape (rows,
        longest row); the last one is 1 where a token is trained.
    """
    size = max(min(len(ids), limit) for ids, _ in rows)

    def filled(values: Sequence[int], fill: int) -> list[int]:
        kept = list(values[:limit])
        return kept + [fill] * (size - len(kept))

    return {
        "input_ids": torch.tensor([filled(ids, pad) for ids, _ in rows]),
        "attention_mask": torch.tensor([filled([1] * len(ids), 0) for ids, _ in rows]),
        "completion_mask": torch.tensor([filled(mask, 0) for _, mask in rows]),
    }
