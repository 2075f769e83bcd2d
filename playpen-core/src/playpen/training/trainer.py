"""The `Trainer` base class, and trainers by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import msgspec

from playpen.episode import Episode
from playpen.plugins import load, registry
from playpen.training.config import TABLES, TrainConfig, convert
from playpen.training.run import TrainingRun


class Trainer:
    """Base class of trainers.

    A subclass declares its options as a struct (typed, with defaults) in `Options`, and writes
    `train`.  The directory that it returns must be usable as an ``hf:`` player.
    """

    Options: ClassVar[type[msgspec.Struct]]

    tables: ClassVar[tuple[str, ...]] = TABLES
    """The shared tables that it reads; its documentation leaves the others out."""

    def __init__(self, options: Any) -> None:
        self.options = options

    def check(self, run: TrainingRun) -> None:
        """Refuse a configuration that this trainer cannot use, before anything is loaded.

        Raises:
            ConfigError: names the key, the value and the remedy.
        """

    def recordings(self, run: TrainingRun) -> list[tuple[Episode, tuple[str, ...]]]:
        """The episodes of ``[data] runs`` that it would learn from, each with the roles to learn.

        Those to imitate, unless a trainer wants others.

        Raises:
            ConfigError: there are none, or one is of a test split.
        """
        return run.demonstrations()

    def train(self, run: TrainingRun) -> Path:
        """Train the learner.

        Returns:
            The directory of the final checkpoint.
        """
        raise NotImplementedError


def make_trainer(name: str, config: TrainConfig) -> Trainer:
    """Make the trainer of a name, with its options checked.

    The options are those of ``[trainer]`` and of ``[trainer.NAME]``; the tables of other trainers
    are passed over.

    Raises:
        PluginError: unknown trainer, or it cannot be imported.
        ConfigError: an option is unknown or has a wrong value.
    """
    plugins = registry()
    spec = plugins.find("trainer", plugins.trainers, name)
    cls = load(spec.path, what=f"the trainer {name!r}")
    # [trainer.NAME] is for that trainer alone, so that one file serves several.
    named = {
        key: value
        for key, value in config.trainer.items()
        if key in plugins.trainers and isinstance(value, dict)
    }
    common = {key: value for key, value in config.trainer.items() if key not in named}
    trainer: Trainer = cls(convert(common | named.get(name, {}), cls.Options, "[trainer]"))
    return trainer
