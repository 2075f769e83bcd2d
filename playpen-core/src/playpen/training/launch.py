"""Running a training: what is wrong shows first, and what is resolved is written down."""

from __future__ import annotations

from pathlib import Path

import msgspec

from playpen.plugins import registry
from playpen.training.config import ConfigError, TrainConfig
from playpen.training.plan import planned_training


def train(name: str, config: TrainConfig, output: str | Path) -> Path:
    """Run a trainer and return the directory of its final checkpoint.

    The resolved configuration is stored as ``train.json`` beside it; a training with the same
    configuration is continued.

    Raises:
        ConfigError, PluginError, InstanceError, RunError: something does not fit; nothing was
            loaded yet.
    """
    trainer, run, _ = planned_training(name, config, output)
    run.output.mkdir(parents=True, exist_ok=True)
    resolved = {**msgspec.to_builtins(config), "trainer": msgspec.to_builtins(trainer.options)}
    encoded = msgspec.json.encode({"trainer": name, "config": resolved})
    document = msgspec.json.format(encoded, indent=2) + b"\n"
    file = run.output / "train.json"
    if file.exists() and file.read_bytes() != document:
        raise ConfigError(
            f"{run.output} holds a training with another configuration (see {file.name}); "
            "choose another directory with -o, or remove it"
        )
    file.write_bytes(document)
    hook = registry().manager.hook
    try:
        hook.playpen_train_started(run=run)
        return trainer.train(run)
    finally:
        hook.playpen_train_finished(run=run)
