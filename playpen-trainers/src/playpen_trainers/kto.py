"""``kto``: learning from dialogues that are wanted or not, without pairs, by `KTOTrainer`.

As in ``dpo`` the rows come tokenised, with a mask that leaves out the other roles' words, also in
the mismatched dialogues by which the loss estimates how far the model has moved.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import datasets
import torch
from trl import KTOConfig, KTOTrainer

from playpen.conversation import derive_seed
from playpen.episode import Episode
from playpen.rewards import Finite
from playpen.training import ConfigError, Trainer, TrainingRun
from playpen_trainers.learner import Learner
from playpen_trainers.optimisation import (
    Positive,
    Rate,
    adapter,
    arguments,
    fit,
    length_limit,
    starting_point,
)
from playpen_trainers.preferences.collators import padded
from playpen_trainers.preferences.returns import role_returns
from playpen_trainers.preferences.rollouts import PreferenceRollouts
from playpen_trainers.preferences.rows import UnpairedRow, at_most
from playpen_trainers.preferences.saved_rows import Numbers, saved_rows
from playpen_trainers.preferences.trainer import (
    PreferenceOptions,
    check_source,
    collected,
    reference,
    too_long,
)
from playpen_trainers.preferences.unpaired_rows import Label, unpaired_rows
from playpen_trainers.seats import Seating, seated_learner
from playpen_trainers.validation import Validation

MOST_DESIRABLE = 4 / 3
"""The wanted rows may weigh up to this much more than the others (KTO paper, equation 8)."""


class KTOOptions(PreferenceOptions, kw_only=True):
    """Options of ``kto``; the names are those of TRL's `KTOConfig` where it has them.

    Attributes:
        label: which dialogues are wanted: those that were won (``success``), those that returned
            more than the ``threshold``, or more than the mean on their instance (``group``).
        threshold: with the label ``threshold``, the return that wanted dialogues exceed.
        max_rows: a random choice of so many rows is trained on; all if left out.
        desirable_weight: weight of the wanted rows.
        undesirable_weight: weight of the others.  If neither is given, the larger class weighs
            less, so that the wanted rows together weigh as much as the others, or up to a third
            more.
        loss_type: as in TRL.
    """

    label: Label = "success"
    threshold: Finite = 0.5
    max_rows: Positive | None = None
    desirable_weight: Rate | None = None
    undesirable_weight: Rate | None = None
    loss_type: Literal["kto", "apo_zero_unpaired"] = "kto"


class UnpairedCollator:
    """Makes TRL's batch of rows and of mismatched rows, with our masks.

    Args:
        pad: id that fills up shorter rows.
        limit: longest row in tokens; what comes after is cut off.
    """

    def __init__(self, pad: int, limit: int) -> None:
        self._pad = pad
        self._limit = limit

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """The batch of some rows."""
        batch = self._padded(rows, "")
        batch |= {f"KL_{name}": value for name, value in self._padded(rows, "other_").items()}
        batch["label"] = torch.tensor([row["label"] for row in rows])
        for name in ("ref_logps", "ref_KL_logps"):
            if name in rows[0]:
                batch[name] = torch.tensor([row[name] for row in rows])
        return batch

    def _padded(self, rows: Sequence[dict[str, Any]], prefix: str) -> dict[str, torch.Tensor]:
        return padded(
            [
                (
                    row["prompt"] + row[f"{prefix}completion"],
                    [0] * len(row["prompt"]) + row[f"{prefix}mask"],
                )
                for row in rows
            ],
            self._pad,
            self._limit,
        )


class DialogueKTOTrainer(KTOTrainer):
    """TRL's trainer for rows that are tokenised already."""

    def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
        return dataset


class KTO(Trainer):
    """Make wanted dialogues more likely, and the others less."""

    Options = KTOOptions
    options: KTOOptions

    def check(self, run: TrainingRun) -> None:
        """Refuse what does not fit together, before anything is loaded."""
        options = self.options
        check_source(run, options)
        if options.loss_type == "kto" and options.per_device_train_batch_size < 2:
            raise ConfigError(
                "trainer.per_device_train_batch_size = 1: the loss 'kto' compares the rows of a "
                "batch; write at least 2, or choose trainer.loss_type = 'apo_zero_unpaired'"
            )
        if options.label == "group" and options.samples < 2 and not run.config.data.runs:
            raise ConfigError(
                f"trainer.samples = {options.samples}: the label 'group' needs at least 2 "
                "episodes on each instance"
            )

    def recordings(self, run: TrainingRun) -> list[tuple[Episode, tuple[str, ...]]]:
        """All finished episodes: preferences need the bad ones, too."""
        return run.demonstrations(any_outcome=True)

    def train(self, run: TrainingRun) -> Path:
        """Collect dialogues, and train the learner on them.

        They are kept in ``rows.jsonl``; interrupted training continues with them.

        Raises:
            ConfigError: the learner is not an ``hf:`` model, or all dialogues are of one kind.
            PlayerError: every episode failed.
        """
        options = self.options
        start = starting_point(run)
        learner, seating = seated_learner(run, options)
        try:
            args = self._arguments(run)
            numbers, rows = saved_rows(
                run.output / "rows.jsonl",
                UnpairedRow,
                args,
                lambda: self._collect(run, learner, seating, str(args.device)),
            )
            limit = length_limit(options, learner)
            rows = _fitting(rows, limit)
            args.desirable_weight, args.undesirable_weight = self._weights(rows)
            if not start.step:
                numbers |= {
                    "rows": len(rows),
                    "trained_tokens": _trained(rows, limit),
                    "desirable": sum(row.desirable for row in rows) / len(rows),
                    "desirable_weight": args.desirable_weight,
                    "undesirable_weight": args.undesirable_weight,
                }
                run.log(0, numbers)
            validation = Validation(run, learner, seating)
            trainer = DialogueKTOTrainer(
                model=learner.model,
                ref_model=reference(run, learner, options),
                args=args,
                data_collator=UnpairedCollator(learner.tokenizer.pad_token_id, limit),
                train_dataset=datasets.Dataset.from_list(
                    mismatched(rows, options.per_device_train_batch_size)
                ),
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
    ) -> tuple[Numbers, list[UnpairedRow]]:
        """Play, or read what was recorded, and label."""
        options = self.options
        rollouts = PreferenceRollouts.of(run, learner, seating, device)
        _, episodes = collected(run, rollouts, options.samples)
        share = run.config.reward.partner_fault == "share"
        returns = role_returns(episodes, run.rewards(), share_fault=share)
        rows = unpaired_rows(
            learner.chat, returns, label=options.label, threshold=options.threshold
        )
        wanted = sum(row.desirable for row in rows)
        if wanted in (0, len(rows)):
            kind = "wanted" if wanted else "unwanted"
            raise ConfigError(
                f"all {len(rows)} dialogues are {kind}; play more of them (trainer.samples), or "
                f"choose another trainer.label than {options.label!r}"
            )
        numbers: Numbers = {
            "episodes": len(episodes),
            "success": sum(episode.success for episode, _ in episodes) / len(episodes),
            "episodes_played": rollouts.played,
            "sampled_tokens": rollouts.sampled,
        }
        rows = at_most(rows, options.max_rows, options.seed)
        # TRL goes through them in this order: a mismatched dialogue comes from the same batch.
        random.Random(derive_seed(options.seed, "order")).shuffle(rows)
        return numbers, rows

    def _weights(self, rows: Sequence[UnpairedRow]) -> tuple[float, float]:
        options = self.options
        if options.desirable_weight is None and options.undesirable_weight is None:
            return balanced(rows)
        return options.desirable_weight or 1.0, options.undesirable_weight or 1.0

    def _arguments(self, run: TrainingRun) -> KTOConfig:
        options = self.options
        return arguments(
            KTOConfig,
            options,
            run,
            beta=options.beta,
            loss_type=options.loss_type,
            precompute_ref_log_probs=options.precompute_ref_log_probs,
            max_length=None,  # our collator cuts
            disable_dropout=not options.lora_dropout,
            remove_unused_columns=False,
        )


def balanced(rows: Sequence[UnpairedRow]) -> tuple[float, float]:
    """Weights of wanted and unwanted rows, of which the larger class gets less than 1."""
    wanted = sum(row.desirable for row in rows)
    others = len(rows) - wanted
    if wanted < others:
        return 1.0, wanted / others
    return min(1.0, MOST_DESIRABLE * others / wanted), 1.0


def mismatched(rows: Sequence[UnpairedRow], size: int) -> list[dict[str, Any]]:
    """The rows as TRL's columns, each with the completion of the row before it in its batch.

    Args:
        rows: in the order in which they are trained.
        size: of a batch.
    """
    found: list[dict[str, Any]] = []
    for begin in range(0, len(rows), size):
        batch = rows[begin : begin + size]
        before = batch[-1] if len(batch) > 1 else rows[begin - 1]
        for row in batch:
            found.append(
                {
                    "prompt": row.prompt,
                    "completion": row.completion,
                    "mask": row.mask,
                    "other_completion": before.completion,
                    "other_mask": before.mask,
                    "label": row.desirable,
                }
            )
            before = row
    return found


def _fitting(rows: list[UnpairedRow], limit: int) -> list[UnpairedRow]:
    """The rows that have something to train within the limit."""
    found = [row for row in rows if any(row.mask[: max(0, limit - len(row.prompt))])]
    too_long(len(rows) - len(found), len(rows), limit)
    return found


def _trained(rows: Sequence[UnpairedRow], limit: int) -> int:
    """How many tokens are trained in a pass over the rows."""
    return sum(sum(row.mask[: limit - len(row.prompt)]) for row in rows)
