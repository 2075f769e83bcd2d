"""``sft``: supervised fine-tuning on episodes, by TRL's `SFTTrainer`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import datasets
from trl import SFTConfig, SFTTrainer

from playpen.player import SpecString, parse_spec
from playpen.plugins import resolve_spec
from playpen.store import Run
from playpen.training import ConfigError, Trainer, TrainingRun
from playpen_trainers.arguments import (
    OptimiserOptions,
    adapter,
    arguments,
    check_optimiser,
    length_limit,
    processes,
)
from playpen_trainers.checkpointing import Start, Stateful, fit, starting_point
from playpen_trainers.general_chat import chat_rows, read_chats
from playpen_trainers.learner import Learner, check_learner
from playpen_trainers.seats import seated_learner
from playpen_trainers.supervised_rows import SupervisedRow, fitting, imitation_rows
from playpen_trainers.validation import Validation
from playpen_trainers.vllm_rollouts import check_engine


class SFTOptions(OptimiserOptions, kw_only=True):
    """Options of ``sft``; the names are those of TRL's `SFTConfig` where it has them.

    Attributes:
        per_device_train_batch_size: rows per device and backward pass.
        packing: put several rows into one sequence of `max_length` tokens (no attention between
            them).
    """

    packing: bool = False


class SFT(Trainer):
    """Imitate what the demonstrating players said: loss on their replies only."""

    Options = SFTOptions
    options: SFTOptions

    def check(self, run: TrainingRun) -> None:
        """Refuse what does not fit together, before anything is loaded."""
        check_supervised(self.options, run)

    def train(self, run: TrainingRun) -> Path:
        """Fine-tune the learner on the run's demonstrations.

        Interrupted training continues from the last checkpoint in the output directory.

        Raises:
            ConfigError: the learner is not an ``hf:`` model, or no row fits into it.
        """
        start = starting_point(run)
        with processes().main_process_first():  # the others find what it has played
            demonstrations = run.demonstrations()
        learner, seating = seated_learner(run, self.options)
        try:
            rows = fitting(
                imitation_rows(learner.chat, demonstrations, own_labels(run)),
                length_limit(self.options, learner),
            )
            chats = mixed_in(len(rows), learner, self.options, run, seed=self.options.seed)
            if not start.step:
                counts = {"episodes": len(demonstrations), "rows": len(rows)}
                run.log(0, counts | ({"chat_rows": len(chats)} if chats else {}))
            validation = Validation(run, learner, seating)
            tuned = fine_tune([*rows, *chats], learner, self.options, run, start, validation)
        finally:
            seating.close()
        return validation.result(tuned.final)


def check_supervised(options: SFTOptions, run: TrainingRun) -> None:
    """Refuse what does not fit together, before anything is loaded.

    Raises:
        ConfigError: names the key, the value and the remedy.
    """
    check_learner(run.learner)
    check_optimiser(options)
    check_engine(run, options)
    if options.packing and options.max_length is None:
        raise ConfigError(
            "trainer.packing = true: say how long packed sequences are with trainer.max_length"
        )
    data = run.config.data
    if data.chat is not None and data.chat_weight:
        read_chats(data.chat, data.chat_split)


def own_labels(run: TrainingRun) -> set[str]:
    """The labels under which the learner itself played in the episodes to imitate."""
    learner = resolve_spec(run.learner)
    mine: set[str] = set()
    others: set[str] = set()
    for path in run.config.data.runs or [str(run.output / "demonstrations")]:
        for label, spec in Run.open(path).config.players.items():
            same = spec.startswith("hf:") and _same_model(parse_spec(spec), learner)
            (mine if same else others).add(label)
    return mine - others


def _same_model(one: SpecString, other: SpecString) -> bool:
    """Whether two ``hf:`` specs name the same weights, tokenizer and chat template."""

    def identity(spec: SpecString) -> tuple[object, ...]:
        folder = Path(spec.target).expanduser()
        target = folder.resolve() if folder.is_dir() else spec.target
        return target, spec.options.get("revision"), spec.options.get("chat_template")

    return one.scheme == other.scheme and identity(one) == identity(other)


def mixed_in(
    count: int, learner: Learner, options: SFTOptions, run: TrainingRun, *, seed: int
) -> Sequence[SupervisedRow]:
    """Rows of general chat to mix with so many rows of play, as ``[data]`` wants it.

    Raises:
        ConfigError: a chat is malformed, the chat template refuses it, or none fits.
    """
    data = run.config.data
    wanted = round(data.chat_weight * count)
    if data.chat is None or not wanted:
        return []
    return chat_rows(
        learner.chat,
        read_chats(data.chat, data.chat_split),
        wanted,
        limit=length_limit(options, learner),
        seed=seed,
    )


def supervised_trainer(
    rows: Sequence[SupervisedRow], learner: Learner, options: SFTOptions, run: TrainingRun
) -> SFTTrainer:
    """TRL's trainer over rows that are tokens and labels already."""
    return SFTTrainer(
        model=learner.model,
        args=arguments(
            SFTConfig,
            options,
            run,
            # Nothing is cut: rows that are too long were left out.
            max_length=options.max_length if options.packing else None,
            packing=options.packing,
        ),
        train_dataset=datasets.Dataset.from_list(
            [{"input_ids": row["input_ids"], "labels": row["labels"]} for row in rows]
        ),
        processing_class=learner.tokenizer,
        peft_config=adapter(options, learner),
    )


class FineTuned(NamedTuple):
    """The directory of the final checkpoint, and how many optimiser steps led there."""

    final: Path
    steps: int


def fine_tune(
    rows: Sequence[SupervisedRow],
    learner: Learner,
    options: SFTOptions,
    run: TrainingRun,
    start: Start,
    validation: Validation | None = None,
) -> FineTuned:
    """Train on rows, from the last checkpoint on.

    Args:
        rows: what is imitated.
        learner: the model that is trained.
        options: of the optimiser.
        run: where checkpoints and logs go.
        start: what `starting_point` found for `run`.
        validation: plays validation instances while training.
    """
    trainer = supervised_trainer(rows, learner, options, run)
    parts: list[Stateful] = []
    if validation is not None:
        validation.attach(trainer)
        parts.append(validation)
    final = fit(trainer, run, learner, start, parts)
    return FineTuned(final, trainer.state.global_step)
