"""What a training would do: everything but the weights is resolved, and nothing is written."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from playpen.errors import PlaypenError
from playpen.instance import Instance
from playpen.plugins import make_player
from playpen.training.config import ConfigError, TrainConfig
from playpen.training.run import TrainingRun
from playpen.training.trainer import Trainer, make_trainer


class LevelPlan(NamedTuple):
    """Instances of one level of a game: how many there are to train and to evaluate on."""

    game: str
    level: str
    training: int
    evaluation: int


class Plan(NamedTuple):
    """What a training would do.

    Attributes:
        levels: what would be played.
        parts: who and what else takes part, by name: players, rewards, recorded episodes.
    """

    levels: list[LevelPlan]
    parts: dict[str, str]


class PlannedTraining(NamedTuple):
    """A training of which all but the weights is resolved."""

    trainer: Trainer
    run: TrainingRun
    plan: Plan


def plan_training(trainer: str, config: TrainConfig, output: str | Path | None = None) -> Plan:
    """Resolve all that a configuration names, as far as it goes without loading a model.

    Args:
        trainer: name of the trainer.
        config: its configuration.
        output: where the training would write; nothing is written.

    Raises:
        ConfigError, PluginError, InstanceError, RunError: something does not fit, as in `train`.
    """
    with tempfile.TemporaryDirectory() as nowhere:
        return planned_training(trainer, config, nowhere if output is None else output).plan


def planned_training(name: str, config: TrainConfig, output: str | Path) -> PlannedTraining:
    """What `plan_training` resolves, to be trained with.

    Raises:
        ConfigError, PluginError, InstanceError, RunError: something does not fit.
    """
    trainer = make_trainer(name, config)
    run = TrainingRun(name, config, output)
    trainer.check(run)
    levels, rewards, recordings = _levels(run), _rewards(run), _recordings(trainer, run)
    # Last, because importing the module of a player can take seconds.
    plan = Plan(levels, {**_players(config), **rewards, **recordings})
    return PlannedTraining(trainer, run, plan)


def _players(config: TrainConfig) -> dict[str, str]:
    """Who takes part; everybody is made but not seated, so that nobody loads anything."""
    learner, teacher = config.learner, config.teacher
    for key, spec in [
        ("teacher.player", teacher.player),
        *(("teacher.partners", partner) for partner in teacher.partners),
        ("learner.player", learner.player),
    ]:
        if spec is not None:
            try:
                make_player(spec)
            except PlaypenError as error:
                raise ConfigError(f"{key} = {spec!r}: {error}") from None
    roles = "all roles" if learner.roles is None else ", ".join(learner.roles)
    parts = {"learner": f"{learner.player} ({roles})"}
    if teacher.player is not None:
        parts["teacher"] = teacher.player
    if teacher.partners:
        parts["partners"] = ", ".join(teacher.partners)
    return parts


def _rewards(run: TrainingRun) -> dict[str, str]:
    run.rewards()
    return {"rewards": ", ".join(run.config.reward.terms) or "none"}


def _recordings(trainer: Trainer, run: TrainingRun) -> dict[str, str]:
    runs = run.config.data.runs
    if not runs:
        return {}
    return {"recordings": f"{len(trainer.recordings(run))} episodes of {', '.join(runs)}"}


def _levels(run: TrainingRun) -> list[LevelPlan]:
    """Every level with its instances.

    Raises:
        ConfigError: a game has no instances.
    """
    try:
        training = run.instances()
        evaluation = run.validation_instances() if run.config.eval.every else {}
    except NotImplementedError as error:  # a game without a generator
        raise ConfigError(
            f"games.names: {error}; name a file of instances in games.files"
        ) from None
    for game, instances in training.items():
        if not instances:
            raise ConfigError(
                f"games.names: there are no {run.config.games.split} instances of {game!r}"
            )
    learned, measured = _counted(training), _counted(evaluation)
    return [
        LevelPlan(game, level, learned[game, level], measured[game, level])
        for game, level in dict.fromkeys([*learned, *measured])
    ]


def _counted(instances: Mapping[str, Sequence[Instance]]) -> Counter[tuple[str, str]]:
    return Counter((game, i.experiment.name) for game, chosen in instances.items() for i in chosen)
