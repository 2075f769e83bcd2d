"""What the trainers that learn from preferences have in common."""

from __future__ import annotations

import warnings
from typing import Any

from playpen.episode import Episode
from playpen.rollout import Job
from playpen.training import ConfigError, TrainingRun, require_partner
from playpen_trainers.learner import Learner, check_learner, load_learner
from playpen_trainers.optimisation import OptimiserOptions, Positive, Rate, check_optimiser
from playpen_trainers.preferences.rollouts import PreferenceRollouts
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

    learning_rate: Rate = 5e-6
    samples: Positive = 4
    beta: Rate = 0.1
    precompute_ref_log_probs: bool = False


def check_source(run: TrainingRun, options: PreferenceOptions) -> None:
    """Refuse what no trainer of preferences can use, before anything is loaded.

    Raises:
        ConfigError: names the key, the value and the remedy.
    """
    check_learner(run.learner)
    check_optimiser(options)
    check_engine(run, options)
    run.rewards()
    if not run.config.data.runs:
        require_partner(run.config)


def reference(run: TrainingRun, learner: Learner, options: PreferenceOptions) -> Any:
    """The starting model once more; `None` where TRL finds it under an adapter, or in advance."""
    if options.lora_r or learner.adapted or options.precompute_ref_log_probs:
        return None
    return load_learner(*check_learner(run.learner), options.dtype).model


def collected(
    run: TrainingRun, rollouts: PreferenceRollouts, samples: int
) -> tuple[list[Job], list[tuple[Episode, tuple[str, ...]]]]:
    """The episodes to compare, each with the roles to learn: recorded ones, or played now.

    Returns:
        What was played, and the episodes; of recordings nothing was played.

    Raises:
        ConfigError: nothing that was recorded can be used.
        PlayerError: every episode failed.
    """
    if run.config.data.runs:
        return [], run.demonstrations(any_outcome=True)
    jobs = rollouts.play(run, samples)
    return jobs, [(job.episode, tuple(rollouts.learned(job))) for job in jobs]


def too_long(left_out: int, rows: int, limit: int) -> None:
    """Say how many rows are left out.

    Raises:
        ConfigError: all are.
    """
    if left_out == rows:
        raise ConfigError(
            f"none of the {rows} rows has anything to train within {limit} tokens; "
            "raise trainer.max_length"
        )
    if left_out:
        warnings.warn(
            f"{left_out} of {rows} rows have nothing to train within {limit} tokens and are left "
            "out",
            stacklevel=2,
        )
