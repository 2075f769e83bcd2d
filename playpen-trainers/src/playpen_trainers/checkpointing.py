"""Checkpoints: what each has to keep, what makes it complete, and training on from the last one."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import msgspec
import transformers
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from playpen.files import write_atomically
from playpen.training import TrainingRun
from playpen_trainers.arguments import CHECKPOINTS
from playpen_trainers.learner import Learner
from playpen_trainers.progress import Progress

STATE_FILE = "playpen.json"
"""Written last into a checkpoint: what has it is complete."""

_OVER = "over"
"""Key of the state file: whether training ends at the checkpoint."""

_TRAINING_FILES = (STATE_FILE, "trainer_state.json", "optimizer*", "scheduler*", "scaler*", "rng_*")


class Stateful(Protocol):
    """A part of a training that a checkpoint has to keep, beside weights and optimiser."""

    @property
    def name(self) -> str:
        """Under which key it is kept."""

    def state(self) -> Any:
        """What is kept, as JSON values."""

    def restore(self, state: Any) -> None:
        """Take up what was kept."""


class _Keeper(TrainerCallback):
    """Completes each checkpoint with our parts' state, and removes the oldest ones.

    Args:
        parts: whose state is kept.
        limit: how many checkpoints are kept.
    """

    def __init__(self, parts: Sequence[Stateful], limit: int) -> None:
        self._parts = parts
        self._limit = limit

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Log before each checkpoint and at the end: what was gathered till then is not kept."""
        if control.should_save or control.should_training_stop:
            control.should_log = True

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Write what makes the checkpoint complete."""
        if not state.is_world_process_zero:
            return
        folder = Path(args.output_dir or "")
        newest = folder / f"checkpoint-{state.global_step}"
        _tidy(newest)
        kept = {part.name: part.state() for part in self._parts}
        document = msgspec.json.encode({_OVER: control.should_training_stop, **kept})
        write_atomically(newest / STATE_FILE, document)
        complete = _complete_checkpoints(folder)
        for step in sorted(complete)[: -self._limit]:
            # It must not look complete while its files are removed one by one.
            (complete[step] / STATE_FILE).unlink()
            shutil.rmtree(complete[step])


def _complete_checkpoints(folder: Path) -> dict[int, Path]:
    """Step to directory of the checkpoints that have everything."""
    complete = {}
    for path in folder.glob("checkpoint-*"):
        step = path.name.removeprefix("checkpoint-")
        if step.isdigit() and (path / STATE_FILE).is_file():
            complete[int(step)] = path
    return complete


def kept_checkpoint_states(output: Path) -> list[dict[str, Any]]:
    """What the checkpoints in an output directory keep of our parts, by the parts' names."""
    checkpoints = _complete_checkpoints(output / CHECKPOINTS).values()
    return [msgspec.json.decode((path / STATE_FILE).read_bytes()) for path in checkpoints]


def _tidy(folder: Path) -> None:
    """Remove what does not belong to the model that was saved."""
    (folder / "training_args.bin").unlink(missing_ok=True)  # a pickle that nobody needs
    # TRL's frozen copy of an adapter that is trained further.  It is made from the learner each
    # time; transformers, finding it in a checkpoint, would resume without the trained adapter.
    if (folder / "ref" / "adapter_config.json").is_file():
        shutil.rmtree(folder / "ref")


def last_checkpoint(folder: Path) -> Path | None:
    """The newest complete checkpoint; incomplete ones, of a process that died, are removed."""
    complete = _complete_checkpoints(folder)
    for path in folder.glob("checkpoint-*"):
        if path not in complete.values() and path.name.removeprefix("checkpoint-").isdigit():
            shutil.rmtree(path)
    return complete[max(complete)] if complete else None


class Start(NamedTuple):
    """Where a training begins: at a checkpoint, or afresh."""

    checkpoint: Path | None
    step: int


def starting_point(run: TrainingRun) -> Start:
    """Find the last checkpoint, and take back what was logged after it."""
    checkpoint = last_checkpoint(run.output / CHECKPOINTS)
    step = 0 if checkpoint is None else int(checkpoint.name.removeprefix("checkpoint-"))
    run.forget_after(step)
    return Start(checkpoint, step)


def fit(
    trainer: transformers.Trainer,
    run: TrainingRun,
    learner: Learner,
    start: Start,
    parts: Sequence[Stateful] = (),
) -> Path:
    """Train from the starting point, and save what came out.

    Args:
        trainer: one of TRL's, with its data.
        run: where everything goes.
        learner: whose tokenizer is saved beside the weights.
        start: from `starting_point`.
        parts: what a checkpoint has to keep beside weights and optimiser.

    Returns:
        The directory of the final checkpoint.
    """
    final = run.output / "final"
    progress = Progress(run)
    kept = [*parts, progress]
    if start.checkpoint is not None:
        states = msgspec.json.decode((start.checkpoint / STATE_FILE).read_bytes())
        for part in kept:
            part.restore(states[part.name])
        if states[_OVER]:  # only the end was not saved any more
            return _copy_model(start.checkpoint, final)
    # Ours shows the same in one line, beside the rest of the command's output.
    trainer.remove_callback(transformers.PrinterCallback)
    trainer.add_callback(progress)
    # transformers goes by the files' times and would count unfinished ones: the keeper removes.
    limit, trainer.args.save_total_limit = trainer.args.save_total_limit, None
    trainer.add_callback(_Keeper(kept, limit or 1))
    with progress:
        trainer.train(resume_from_checkpoint=str(start.checkpoint) if start.checkpoint else None)
        return save(trainer, learner, final)


def save(trainer: transformers.Trainer, learner: Learner, folder: Path) -> Path:
    """Save the weights (safetensors) and the tokenizer: an ``hf:`` player."""
    unfinished = _beside(folder)
    if trainer.is_world_process_zero() and unfinished.exists():  # its process died
        shutil.rmtree(unfinished)
    trainer.accelerator.wait_for_everyone()
    trainer.save_model(str(unfinished))
    if trainer.is_world_process_zero():
        _tidy(unfinished)
        learner.tokenizer.save_pretrained(str(unfinished))
        _put(unfinished, folder)
    trainer.accelerator.wait_for_everyone()
    return folder


def _copy_model(checkpoint: Path, folder: Path) -> Path:
    """Make a player of a checkpoint: all of it but what only serves to train on."""
    unfinished = _beside(folder)
    if unfinished.exists():
        shutil.rmtree(unfinished)
    shutil.copytree(checkpoint, unfinished, ignore=shutil.ignore_patterns(*_TRAINING_FILES))
    _put(unfinished, folder)
    return folder


def _beside(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.tmp")


def _put(unfinished: Path, folder: Path) -> None:
    """Put a directory that is complete now into the place of an earlier one."""
    if folder.exists():
        shutil.rmtree(folder)
    unfinished.rename(folder)
