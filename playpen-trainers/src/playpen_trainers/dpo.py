"""``dpo``: direct preference optimisation on dialogues or on single replies, by `DPOTrainer`.

A dialogue holds the other roles' words, too, and TRL would train on those: it takes whatever
follows the prompt for the model's own.  So rows come tokenised, each with a mask of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from trl import DPOConfig, DPOTrainer

from playpen.bounds import NonNegativeFloat, PositiveInt
from playpen.chat_format import ChatFormat
from playpen.training import ConfigError, TrainingRun
from playpen_trainers.preferences.collators import PairCollator
from playpen_trainers.preferences.dialogue_pairs import Match, dialogue_pairs
from playpen_trainers.preferences.returns import role_returns
from playpen_trainers.preferences.rollouts import PreferenceRollouts
from playpen_trainers.preferences.rows import TokenPair, at_most
from playpen_trainers.preferences.saved_rows import Numbers
from playpen_trainers.preferences.trainer import (
    Collected,
    PreferenceOptions,
    PreferenceTrainer,
    TokenisedRows,
)
from playpen_trainers.preferences.turn_pairs import Forking, Turns, turn_pairs


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
    candidates: PositiveInt = 4
    continuations: PositiveInt = 4
    z: NonNegativeFloat = 1.0
    min_margin: NonNegativeFloat = 0.0
    max_pairs: PositiveInt | None = None
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
    label_smoothing: NonNegativeFloat = 0.0


class DialogueDPOTrainer(TokenisedRows, DPOTrainer):
    """TRL's trainer for rows that are tokenised already."""


class DPO(PreferenceTrainer[TokenPair]):
    """Make the better of two dialogues, or of two replies, more likely than the worse one."""

    Options = DPOOptions
    options: DPOOptions

    trl_trainer = DialogueDPOTrainer
    trl_config = DPOConfig
    collator = PairCollator
    row_type = TokenPair
    row_file = "pairs.jsonl"

    def check(self, run: TrainingRun) -> None:
        """Refuse what does not fit together, before anything is loaded."""
        super().check(run)
        options, runs = self.options, run.config.data.runs
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

    def make_rows(
        self, run: TrainingRun, chat: ChatFormat, collected: Collected, rollouts: PreferenceRollouts
    ) -> tuple[Numbers, list[TokenPair]]:
        """Pair dialogues or replies.

        Raises:
            ConfigError: none is better than another one.
            PlayerError: every episode failed.
        """
        options, rewards = self.options, run.rewards()
        share_fault = run.config.reward.partner_fault == "share"
        if options.pairs == "turn":
            forking = Forking(
                candidates=options.candidates,
                continuations=options.continuations,
                turns=options.turns,
                z=options.z,
                margin=options.min_margin,
                seed=run.config.rollout.seed,
                share_fault=share_fault,
            )
            rows = turn_pairs(chat, collected.jobs, rollouts, rewards, forking)
        else:
            returns = role_returns(collected.episodes, rewards, share_fault=share_fault)
            rows = dialogue_pairs(chat, returns, match=options.match, margin=options.min_margin)
        if not rows:
            raise ConfigError(
                f"none of the {len(collected.episodes)} episodes is clearly better than another "
                "one in the same situation; play more of them (trainer.samples), or lower "
                "trainer.min_margin or trainer.z"
            )
        return {"pairs": len(rows)}, at_most(rows, options.max_pairs, options.seed)

    def columns(self, rows: Sequence[TokenPair]) -> list[dict[str, Any]]:
        """The tokens and masks of both sides."""
        names = ("prompt", "chosen", "chosen_mask", "rejected", "rejected_mask")
        return [{name: getattr(row, name) for name in names} for row in rows]

    def loss_arguments(self) -> dict[str, Any]:
        """The arguments of `DPOConfig` that say which loss is used."""
        options = self.options
        return {"loss_type": [options.loss_type], "label_smoothing": options.label_smoothing}
