"""``kto``: learning from dialogues that are wanted or not, without pairs, by `KTOTrainer`.

As in ``dpo`` the rows come tokenised, with a mask that leaves out the other roles' words, also in
the mismatched dialogues by which the loss estimates how far the model has moved.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, Literal

from trl import KTOConfig, KTOTrainer

from playpen.bounds import PositiveFloat, PositiveInt, UpToBillion
from playpen.chat_format import ChatFormat
from playpen.conversation import derive_seed
from playpen.training import ConfigError, TrainingRun
from playpen_trainers.preferences.collators import UnpairedCollator
from playpen_trainers.preferences.returns import role_returns
from playpen_trainers.preferences.rollouts import PreferenceRollouts
from playpen_trainers.preferences.rows import UnpairedRow, at_most
from playpen_trainers.preferences.saved_rows import Numbers
from playpen_trainers.preferences.trainer import (
    Collected,
    PreferenceOptions,
    PreferenceTrainer,
    TokenisedRows,
)
from playpen_trainers.preferences.unpaired_rows import Label, unpaired_rows

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
    threshold: UpToBillion = 0.5
    max_rows: PositiveInt | None = None
    desirable_weight: PositiveFloat | None = None
    undesirable_weight: PositiveFloat | None = None
    loss_type: Literal["kto", "apo_zero_unpaired"] = "kto"


class DialogueKTOTrainer(TokenisedRows, KTOTrainer):
    """TRL's trainer for rows that are tokenised already."""


class KTO(PreferenceTrainer[UnpairedRow]):
    """Make wanted dialogues more likely, and the others less."""

    Options = KTOOptions
    options: KTOOptions

    trl_trainer = DialogueKTOTrainer
    trl_config = KTOConfig
    collator = UnpairedCollator
    row_type = UnpairedRow
    row_file = "rows.jsonl"

    def check(self, run: TrainingRun) -> None:
        """Refuse what does not fit together, before anything is loaded."""
        super().check(run)
        options = self.options
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

    def make_rows(
        self, run: TrainingRun, chat: ChatFormat, collected: Collected, rollouts: PreferenceRollouts
    ) -> tuple[Numbers, list[UnpairedRow]]:
        """Label dialogues, in the order in which they are trained.

        Raises:
            ConfigError: all are of one kind.
        """
        options = self.options
        share_fault = run.config.reward.partner_fault == "share"
        returns = role_returns(collected.episodes, run.rewards(), share_fault=share_fault)
        rows = unpaired_rows(chat, returns, label=options.label, threshold=options.threshold)
        wanted = sum(row.desirable for row in rows)
        if wanted in (0, len(rows)):
            kind = "wanted" if wanted else "unwanted"
            raise ConfigError(
                f"all {len(rows)} dialogues are {kind}; play more of them (trainer.samples), or "
                f"choose another trainer.label than {options.label!r}"
            )
        rows = at_most(rows, options.max_rows, options.seed)
        # TRL goes through them in this order: a mismatched dialogue comes from the same batch.
        random.Random(derive_seed(options.seed, "order")).shuffle(rows)
        return {}, rows

    def weigh(self, rows: Sequence[UnpairedRow], args: Any) -> Numbers:
        """Weigh wanted and unwanted rows, as the options say or so that both kinds count."""
        options = self.options
        weights = options.desirable_weight or 1.0, options.undesirable_weight or 1.0
        if options.desirable_weight is None and options.undesirable_weight is None:
            weights = balanced(rows)
        args.desirable_weight, args.undesirable_weight = weights
        return {
            "desirable": sum(row.desirable for row in rows) / len(rows),
            "desirable_weight": args.desirable_weight,
            "undesirable_weight": args.undesirable_weight,
        }

    def columns(self, rows: Sequence[UnpairedRow]) -> list[dict[str, Any]]:
        """The tokens and masks of the rows, and of the mismatched ones."""
        return mismatched(rows, self.options.per_device_train_batch_size)

    def loss_arguments(self) -> dict[str, Any]:
        """The arguments of `KTOConfig` that say which loss is used."""
        return {"loss_type": self.options.loss_type}


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
    columns: list[dict[str, Any]] = []
    for begin in range(0, len(rows), size):
        batch = rows[begin : begin + size]
        before = batch[-1] if len(batch) > 1 else rows[begin - 1]
        for row in batch:
            columns.append(
                {
                    "prompt": row.prompt,
                    "completion": row.completion,
                    "completion_mask": row.mask,
                    "mismatched": before.completion,
                    "mismatched_mask": before.mask,
                    "label": row.desirable,
                }
            )
            before = row
    return columns
