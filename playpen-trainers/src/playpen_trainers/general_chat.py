"""General chats as rows for supervised training, mixed with play so that other skills stay."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import datasets
import msgspec

from playpen.chat_format import ChatFormat
from playpen.conversation import Message, Reply, Row, derive_seed, trajectory
from playpen.player import PlayerError
from playpen.training import ConfigError
from playpen_trainers.supervised_rows import SupervisedRow, labels


class ChatRow(SupervisedRow):
    """A row of a general chat: of the line or item `number` of `source`, counted from 1."""

    source: str
    number: int


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
        messages = item.get("messages") if isinstance(item, Mapping) else None
        if not isinstance(messages, list) or not messages:
            raise ConfigError(
                f"{self.where(index)}: messages = [{{role, content}}, ...] is expected"
            )
        chat: list[Message] = []
        for number, message in enumerate(messages, 1):
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
        dataset: Any = datasets.load_dataset(name, split=split)
    except Exception as error:  # nearly everything: no network, no such name, no such split
        lines = str(error).strip().splitlines()
        raise ConfigError(
            f"data.chat = {name!r}: there is no such file, and no dataset of that name could be "
            f"loaded ({lines[0] if lines else type(error).__name__}); write the path of a JSON "
            "Lines file, or fetch the dataset first, on a machine with a network"
        ) from None
    if "messages" not in dataset.column_names or not len(dataset):
        raise ConfigError(
            f"data.chat = {name!r}: the dataset has no column messages; "
            f"it has {', '.join(dataset.column_names)}"
        )
    items: Sequence[Any] = dataset
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
                    labels=labels(row),
                    source=chats.source,
                    number=chats.numbers[index],
                )
                for row in _assistant_rows(chat, chats, index)
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


def _assistant_rows(chat: ChatFormat, chats: Chats, index: int) -> list[Row]:
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
    spoken = trajectory("assistant", replies)
    return spoken.rows if spoken else []
