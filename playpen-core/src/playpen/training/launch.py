"""Running a training: what is wrong shows first, and what is resolved is written down."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import msgspec

from playpen.files import write_atomically
from playpen.fingerprints import TRAINED_ON
from playpen.observers import tell
from playpen.training.config import ConfigError, TrainConfig
from playpen.training.metrics_log import leads
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
    document = {"trainer": name, "config": resolved}
    encoded = msgspec.json.encode(document)
    file = run.output / "train.json"
    if file.exists() and not _is_same(file.read_bytes(), msgspec.json.decode(encoded)):
        raise ConfigError(
            f"{run.output} holds a training with another configuration (see {file.name}); "
            "choose another directory with -o, or remove it"
        )
    write_atomically(file, msgspec.json.format(encoded, indent=2) + b"\n")
    run.record_trained_on()
    try:
        tell("playpen_train_started", may_refuse=True, run=run)
        checkpoint = trainer.train(run)
    finally:
        tell("playpen_train_finished", run=run)
    listed = run.output / TRAINED_ON
    if leads() and checkpoint.is_dir() and listed.is_file() and checkpoint != run.output:
        shutil.copyfile(listed, checkpoint / TRAINED_ON)
    return checkpoint


def _is_same(stored: bytes, document: dict[str, Any]) -> bool:
    """Whether a stored configuration is the same, but for options that it does not have yet."""
    try:
        before = msgspec.json.decode(stored, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return bool(_with_new_options(before, document) == document)


def _with_new_options(before: Any, document: Any) -> Any:
    if not isinstance(before, dict) or not isinstance(document, dict):
        return before
    known = {name: _with_new_options(part, document.get(name)) for name, part in before.items()}
    return {**document, **known}
