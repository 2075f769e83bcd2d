"""What the trainers that learn from preferences have in common."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, NamedTuple

import datasets
import transformers

from playpen.bounds import PositiveFloat, PositiveInt
from playpen.chat_format import ChatFormat
from playpen.episode import Episode
from playpen.rollout import Job
from playpen.training import Trainer, TrainingRun, require_partner
from playpen_trainers.arguments import (
    OptimiserOptions,
    adapter,
    arguments,
    check_optimiser,
    length_limit,
)
from playpen_trainers.checkpointing import fit, starting_point
from playpen_trainers.learner import Learner, check_learner, load_learner
from playpen_trainers.preferences.collators import MaskedCollator
from playpen_trainers.preferences.rollouts import PreferenceRollouts
from playpen_trainers.preferences.rows import RowT, fitting
from playpen_trainers.preferences.saved_rows import Numbers, saved_rows
from playpen_trainers.seats import Seating, seated_learner
from playpen_trainers.validation import Validation
from playpen_trainers.vllm_rollouts import check_engine


class PreferenceOptions(OptimiserOptions, kw_only=True):
    """Options of the trainers that learn from preferences.

    Attributes:
        per_device_train_batch_size: rows per device and backward pass.
        samples: episodes that the learner plays on each instance, where no recorded runs are
            given; ``[rollout] episodes`` limits how many it plays of a game in all.
        beta: how much it costs to move away from the model that training started with.
        precompute_ref_log_probs: compute what the starting model says once, before training, so
            that it need not be kept in memory.
    """

    learning_rate: PositiveFloat = 5e-6
    samples: PositiveInt = 4
    beta: PositiveFloat = 0.1
    precompute_ref_log_probs: bool = False


class Collected(NamedTuple):
    """The episodes that rows are made of: recorded ones, or played now.

    Attributes:
        jobs: what was played; nothing if the episodes are recordings.
        episodes: each with the roles to learn.
    """

    jobs: list[Job]
    episodes: list[tuple[Episode, tuple[str, ...]]]


class TokenisedRows:
    """Mixed into one of TRL's trainers: the rows are tokenised already, and stay as they are."""

    def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
        return dataset


class PreferenceTrainer(Trainer, Generic[RowT]):
    """Base class of the trainers that learn from preferences, by one of TRL's.

    A subclass names the classes that it needs, and says how rows are made of episodes.
    """

    options: PreferenceOptions

    trl_trainer: ClassVar[Any]
    trl_config: ClassVar[type[transformers.TrainingArguments]]
    collator: ClassVar[type[MaskedCollator]]

    row_type: type[RowT]
    row_file: ClassVar[str]
    """Name of the file in the output directory that keeps the rows."""

    def make_rows(
        self, run: TrainingRun, chat: ChatFormat, collected: Collected, rollouts: PreferenceRollouts
    ) -> tuple[Numbers, list[RowT]]:
        """Compare what was collected.

        Args:
            run: the training.
            chat: the learner's chat format.
            collected: the episodes.
            rollouts: play on from them.

        Returns:
            What the log says about the comparison, and the rows.

        Raises:
            ConfigError: there is nothing to compare.
            PlayerError: every episode failed.
        """
        raise NotImplementedError

    def loss_arguments(self) -> dict[str, Any]:
        """The arguments of `trl_config` that say which loss is used."""
        raise NotImplementedError

    def weigh(self, rows: Sequence[RowT], args: Any) -> Numbers:
        """Set the arguments that depend on the rows.

        Returns:
            What the log says about it.
        """
        return {}

    def columns(self, rows: Sequence[RowT]) -> list[dict[str, Any]]:
        """The rows as `collator` takes them."""
        raise NotImplementedError

    def check(self, run: TrainingRun) -> None:
        """Refuse what does not fit together, before anything is loaded."""
        check_learner(run.learner)
        check_optimiser(self.options)
        check_engine(run, self.options)
        run.rewards()
        if not run.config.data.runs:
            require_partner(run.config)

    def recordings(self, run: TrainingRun) -> list[tuple[Episode, tuple[str, ...]]]:
        """All finished episodes: preferences need the bad ones, too."""
        return run.demonstrations(any_outcome=True)

    def train(self, run: TrainingRun) -> Path:
        """Make the rows, and train the learner on them.

        The rows are kept in `row_file`; interrupted training continues with them.

        Raises:
            ConfigError: the learner is not an ``hf:`` model, there is nothing to compare, or no
                row fits into it.
            PlayerError: every episode failed.
        """
        options = self.options
        start = starting_point(run)
        learner, seating = seated_learner(run, options)
        try:
            args = self._arguments(run)
            numbers, rows = saved_rows(
                run.output / self.row_file,
                self.row_type,
                args,
                lambda: self._collect(run, learner, seating, str(args.device)),
            )
            limit = length_limit(options, learner)
            rows = fitting(rows, limit)
            numbers |= {
                "rows": len(rows),
                "trained_tokens": sum(sum(row.trained_tokens(limit)) for row in rows),
                **self.weigh(rows, args),
            }
            if not start.step:
                run.log(0, numbers)
            validation = Validation(run, learner, seating)
            trainer = self.trl_trainer(
                model=learner.model,
                ref_model=self._reference(run, learner),
                args=args,
                data_collator=self.collator(learner.tokenizer.pad_token_id, limit),
                train_dataset=datasets.Dataset.from_list(self.columns(rows)),
                processing_class=learner.tokenizer,
                peft_config=adapter(options, learner),
            )
            validation.attach(trainer)
            final = fit(trainer, run, learner, start, [validation])
        finally:
            seating.close()
        return validation.result(final)

    def _collect(
        self, run: TrainingRun, learner: Learner, seating: Seating, device: str
    ) -> tuple[Numbers, list[RowT]]:
        """Play, or read what was recorded, and make rows of it."""
        rollouts = PreferenceRollouts.of(learner, seating, device)
        if run.config.data.runs:
            collected = Collected([], self.recordings(run))
        else:
            jobs = rollouts.play(run, self.options.samples)
            learned = [(job.episode, tuple(rollouts.learned(job))) for job in jobs]
            collected = Collected(jobs, learned)
        episodes = [episode for episode, _ in collected.episodes]
        numbers, rows = self.make_rows(run, learner.chat, collected, rollouts)
        return {
            "episodes": len(episodes),
            "success": sum(episode.success for episode in episodes) / len(episodes),
            "episodes_played": rollouts.played,
            "sampled_tokens": rollouts.sampled,
            **numbers,
        }, rows

    def _reference(self, run: TrainingRun, learner: Learner) -> Any:
        """The starting model once more; `None` where TRL has it under an adapter, or in advance."""
        options = self.options
        if options.lora_r or learner.adapted or options.precompute_ref_log_probs:
            return None
        return load_learner(*check_learner(run.learner), options.dtype).model

    def _arguments(self, run: TrainingRun) -> transformers.TrainingArguments:
        options = self.options
        return arguments(
            self.trl_config,
            options,
            run,
            beta=options.beta,
            precompute_ref_log_probs=options.precompute_ref_log_probs,
            max_length=None,  # our collator cuts
            disable_dropout=not options.lora_dropout,
            remove_unused_columns=False,
            **self.loss_arguments(),
        )
