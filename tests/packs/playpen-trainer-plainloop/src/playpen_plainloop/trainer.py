"""Supervised learning from episodes: the model imitates what was said, turn by turn."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from playpen.chat_format import ChatFormat
from playpen.conversation import Message, Reply, Row, trajectory
from playpen.plugins import resolve_spec
from playpen.training import ConfigError, Trainer, TrainingRun

Positive = Annotated[int, msgspec.Meta(ge=1)]
NOT_LEARNED = -100
"""The label that torch's cross entropy leaves out."""


class PlainLoopOptions(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """The table ``[trainer]`` of the configuration."""

    learning_rate: Annotated[float, msgspec.Meta(gt=0)] = 1e-4
    epochs: Positive = 1
    batch_size: Positive = 8
    seed: int = 0


class PlainLoop(Trainer):
    """Minimises the cross entropy of the replies' tokens with AdamW."""

    Options = PlainLoopOptions
    options: PlainLoopOptions

    def train(self, run: TrainingRun) -> Path:
        """Train on the run's demonstrations.

        Returns:
            The directory ``checkpoint`` of the run's output: model and tokenizer.

        Raises:
            ConfigError: the learner is not a transformers model, or there is nothing to learn.
        """
        tokenizer, model = load_learner(run.learner)
        chat = ChatFormat(tokenizer)
        rows = [
            row
            for episode, roles in run.demonstrations()
            for role in roles
            for row in token_rows(chat, role, episode.conversation(role))
        ]
        torch.manual_seed(self.options.seed)  # dropout
        order = random.Random(self.options.seed)
        optimizer = torch.optim.AdamW(model.parameters(), lr=self.options.learning_rate)
        model.train()
        step = 0
        for epoch in range(1, self.options.epochs + 1):
            order.shuffle(rows)
            for start in range(0, len(rows), self.options.batch_size):
                batch = collate(rows[start : start + self.options.batch_size])
                loss = model(**{name: ids.to(model.device) for name, ids in batch.items()}).loss
                loss.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                optimizer.zero_grad()
                step += 1
                run.log(step, {"epoch": epoch, "loss": loss.item()})
        checkpoint = run.output / "checkpoint"
        model.save_pretrained(checkpoint)
        tokenizer.save_pretrained(checkpoint)
        return checkpoint


def load_learner(learner: str) -> tuple[Any, Any]:
    """Tokenizer and model of an ``hf:`` spec.  Its options concern playing and are not used.

    Raises:
        ConfigError: it is another kind of player, or there is no such model.
    """
    spec = resolve_spec(learner)
    if spec.scheme != "hf":
        raise ConfigError(f"[learner] player = {learner!r}: plainloop can train hf: models only")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(spec.target)
        model: Any = AutoModelForCausalLM.from_pretrained(spec.target, dtype=torch.float32)
    except OSError as error:
        raise ConfigError(f"[learner] player = {learner!r}: {error}") from None
    return tokenizer, model.to(device)


def token_rows(chat: ChatFormat, role: str, conversation: Sequence[Message]) -> list[Row]:
    """The rows of one role's conversation: all its tokens, with a mask over its replies.

    The replies are tokenised as if the learner had said them, whoever did.
    """
    told: list[Message] = []
    replies: list[tuple[Reply, bool]] = []
    for message in conversation:
        if message.reply is None:  # the game master's words, or a fixed exchange: nothing to learn
            told.append(message)
            continue
        reply = Reply(message.content, tokens=chat.trace(told, message.content))
        told.append(Message("assistant", message.content, reply))
        replies.append((reply, True))
    made = trajectory(role, replies)
    return [] if made is None else made.rows


def collate(rows: Sequence[Row]) -> dict[str, torch.Tensor]:
    """Rows as a batch of the shape (rows, longest row), padded on the right."""
    length = max(len(row.ids) for row in rows)

    def padded(values: Sequence[Sequence[int]], filler: int) -> torch.Tensor:
        return torch.tensor([[*v, *[filler] * (length - len(v))] for v in values])

    return {
        "input_ids": padded([row.ids for row in rows], 0),
        "attention_mask": padded([[1] * len(row.ids) for row in rows], 0),
        "labels": padded([labels(row) for row in rows], NOT_LEARNED),
    }


def labels(row: Row) -> list[int]:
    """What each place should predict: the ids where the mask is 1, nothing elsewhere."""
    pairs = zip(row.ids, row.mask, strict=True)
    return [token if learned else NOT_LEARNED for token, learned in pairs]
