"""``dpo``: direct preference optimisation on dialogues or on single replies, by `DPOTrainer`.

A dialogue holds the other roles' words, too, and TRL would train on those: it takes whatever
follows the prompt for the model's own.  So rows come tokenised, each with a mask of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import datasets
import torch
from trl import DPOConfig, DPOTrainer

from playpen.episode import Episode
from playpen.training import ConfigError, Trainer, TrainingRun
from playpen_trainers.learner import Learner
from playpen_trainers.optimisation import (
    Amount,
    Positive,
    adapter,
    arguments,
    fit,
    length_limit,
    starting_point,
)
from playpen_trainers.preferences.collators import padded
from playpen_trainers.preferences.dialogue_pairs import Match, dialogue_pairs
from playpen_trainers.preferences.returns import role_returns
from playpen_trainers.preferences.rollouts import PreferenceRollouts
from playpen_trainers.preferences.rows import PreferenceRow, at_most
from playpen_trainers.preferences.saved_rows import Numbers, saved_rows
from playpen_trainers.preferences.trainer import (
    PreferenceOptions,
    check_source,
    collected,
    reference,
    too_long,
)
from playpen_trainers.preferences.turn_pairs import Forking, Turns, turn_pairs
from playpen_trainers.seats import Seating, seated_learner
from playpen_trainers.validation import Validation


class DPOOptions(PreferenceOptions, kw_only=True):
    """Options of ``dpo``; the names are those of TRL's `DPOConfig` where it has them.

    Attributes:
        pairs: what is compared: whole dialogues on the same instance (``dialogue``), or replies
            in the same place of the same dialogue, by playing on from each of them (``turn``).
        match: with dialogues, the best on an instance against the worst (``extremes``), or
            ``all`` that differ enough.
        turns: with replies, ``one`` random reply of each role in an episode, or ``all``.
        candidates: how many replies are sampled in each place.
        continuations: how often the game is played on from each candidate, the first time
            included.
        z: a difference between replies has to exceed so many of its standard errors.
        min_margin: a difference in return has to exceed this.
        max_pairs: a random choice of so many pairs is trained on; all if left out.
        loss_type: as in TRL.
        label_smoothing: how often a preference is taken to be the wrong way round, where the
            loss knows that.
    """

    pairs: Literal["dialogue", "turn"] = "dialogue"
    match: Match = "extremes"
    turns: Turns = "one"
    candidates: Positive = 4
    continuations: Positive = 4
    z: Amount = 1.0
    min_margin: Amount = 0.0
    max_pairs: Positive | None = None
    loss_type: Literal[
        "sigmoid",
        "hinge",
        "ipo",
        "exo_pair",
        "nca_pair",
        "robust",
        "bco_pair",
        "sppo_hard",
        "aot",
        "aot_unpaired",
        "apo_zero",
        "apo_down",
        "discopop",
        "sigmoid_norm",
    ] = "sigmoid"
    label_smoothing: Amount = 0.0


class PreferenceCollator:
    """Makes TRL's batch: all chosen sides, then all rejected ones, with our masks.

    Args:
        pad: id that fills up shorter rows.
        limit: longest row in tokens; what comes after is cut off.
    """

    def __init__(self, pad: int, limit: int) -> None:
        self._pad = pad
        self._limit = limit

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """The batch of some rows."""
        batch = padded(
            [
                (row["prompt"] + row[side], [0] * len(row["prompt"]) + row[f"{side}_mask"])
                for side in ("chosen", "rejected")
                for row in rows
            ],
            self._pad,
            self._limit,
        )
        for name in ("ref_chosen_logps", "ref_rejected_logps"):
            if name in rows[0]:
                batch[name] = torch.tensor([row[name] for row in rows])
        return batch


class DialogueDPOTrainer(DPOTrainer):
    """TRL's trainer for rows that are tokenised already."""

    def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
        return dataset


class DPO(Trainer):
    """Make the better of two dialogues, or of two replies, more likely than the worse one."""

    Options = DPOOptions
    options: DPOOptions

    def check(self, run: TrainingRun) -> None:
        """Refuse what does not fit together, before anything is loaded."""
        options = self.options
        check_source(run, options)
        runs = run.config.data.runs
        if options.pairs == "turn":
            if runs:
                raise ConfigError(
                    f"data.runs = {runs}: nobody can play on from a recording, which trainer.pairs "
                    "= 'turn' needs; leave data.runs out, or write trainer.pairs = 'dialogue'"
                )
            for name in ("candidates", "continuations"):
                if getattr(options, name) < 2:
                    raise ConfigError(
                        f"trainer.{name} = {getattr(options, name)}: comparing replies needs at "
                        "least 2"
                    )
        elif options.samples < 2 and not runs:
            raise ConfigError(
                f"trainer.samples = {options.samples}: comparing dialogues needs at least 2 "
                "episodes on each instance"
            )
        if options.loss_type == "exo_pair" and not options.label_smoothing:
            raise ConfigError(
                "trainer.label_smoothing = 0: the loss 'exo_pair' needs a positive one, say 1e-3"
            )
        if options.label_smoothing >= 0.5:
            raise ConfigError(
                f"trainer.label_smoothing = {options.label_smoothing}: write less than 0.5; "
                "from there on every preference would be the wrong way round"
            )

    def recordings(self, run: TrainingRun) -> list[tuple[Episode, tuple[str, ...]]]:
        """All finished episodes: preferences need the bad ones, too."""
        return run.demonstrations(any_outcome=True)

    def train(self, run: TrainingRun) -> Path:
        """Collect pairs, and train the learner on them.

        The pairs are kept in ``pairs.jsonl``; interrupted training continues with them.

        Raises:
            ConfigError: the learner is not an ``hf:`` model, or there is nothing to compare.
            PlayerError: every episode failed.
        """
        options = self.options
        start = starting_point(run)
        learner, seating = seated_learner(run, options)
        try:
            args = self._arguments(run)
            numbers, rows = saved_rows(
                run.output / "pairs.jsonl",
                PreferenceRow,
                args,
                lambda: self._collect(run, learner, seating, str(args.device)),
            )
            limit = length_limit(options, learner)
            rows = _fitting(rows, limit)
            if not start.step:
                run.log(0, {**numbers, "rows": len(rows), "trained_tokens": _trained(rows, limit)})
            validation = Validation(run, learner, seating)
            trainer = DialogueDPOTrainer(
                model=learner.model,
                ref_model=reference(run, learner, options),
                args=args,
                data_collator=PreferenceCollator(learner.tokenizer.pad_token_id, limit),
                train_dataset=datasets.Dataset.from_list(
                    [{name: getattr(row, name) for name in _COLUMNS} for row in rows]
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
    ) -> tuple[Numbers, list[PreferenceRow]]:
        """Play, or read what was recorded, and compare."""
        options = self.options
        rewards = run.rewards()
        share = run.config.reward.partner_fault == "share"
        rollouts = PreferenceRollouts.of(run, learner, seating, device)
        jobs, episodes = collected(run, rollouts, options.samples)
        numbers: Numbers = {
            "episodes": len(episodes),
            "success": sum(episode.success for episode, _ in episodes) / len(episodes),
        }
        if options.pairs == "turn":
            how = Forking(
                options.candidates,
                options.continuations,
                options.turns,
                options.z,
                options.min_margin,
                run.config.rollout.seed,
                share,
            )
            rows = turn_pairs(learner.chat, jobs, rollouts, rewards, how)
        else:
            returns = role_returns(episodes, rewards, share_fault=share)
            rows = dialogue_pairs(
                learner.chat, returns, match=options.match, margin=options.min_margin
            )
        if not rows:
            raise ConfigError(
                f"none of the {len(episodes)} episodes is clearly better than another one in the "
                "same situation; play more of them (trainer.samples), or lower trainer.min_margin "
                "or trainer.z"
            )
        numbers |= {
            "episodes_played": rollouts.played,
            "sampled_tokens": rollouts.sampled,
            "pairs": len(rows),
        }
        return numbers, at_most(rows, options.max_pairs, options.seed)

    def _arguments(self, run: TrainingRun) -> DPOConfig:
        options = self.options
        return arguments(
            DPOConfig,
            options,
            run,
            beta=options.beta,
            loss_type=[options.loss_type],
            label_smoothing=options.label_smoothing,
            precompute_ref_log_probs=options.precompute_ref_log_probs,
            max_length=None,  # our collator cuts
            disable_dropout=not options.lora_dropout,
            remove_unused_columns=False,
        )


_COLUMNS = ("prompt", "chosen", "chosen_mask", "rejected", "rejected_mask")


def _fitting(rows: list[PreferenceRow], limit: int) -> list[PreferenceRow]:
    """The rows both of whose sides have something to train within the limit."""
    found = [
        row
        for row in rows
        for room in [max(0, limit - len(row.prompt))]
        if any(row.chosen_mask[:room]) and any(row.rejected_mask[:room])
    ]
    too_long(len(rows) - len(found), len(rows), limit)
    return found


def _trained(rows: Sequence[PreferenceRow], limit: int) -> int:
    """How many tokens are trained in a pass over the rows."""
    return sum(
        sum(mask[: limit - len(row.prompt)])
        for row in rows
        for mask in (row.chosen_mask, row.rejected_mask)
    )
