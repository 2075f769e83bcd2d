"""What all trainers share: options of the optimiser and the adapter, and how a training is run.

The names of the options are those of transformers' `TrainingArguments` where it has them.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Protocol, TypeVar

import msgspec
import torch
import transformers
from accelerate import PartialState
from peft import LoraConfig
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from playpen.files import write_atomically
from playpen.training import ConfigError, TrainingRun
from playpen_trainers.learner import Learner
from playpen_trainers.progress import Progress

ArgumentsT = TypeVar("ArgumentsT", bound=TrainingArguments)

Positive = Annotated[int, msgspec.Meta(ge=1)]
Natural = Annotated[int, msgspec.Meta(ge=0)]
Amount = Annotated[float, msgspec.Meta(ge=0)]
Rate = Annotated[float, msgspec.Meta(gt=0)]
Share = Annotated[float, msgspec.Meta(ge=0, lt=1)]

_CHECKPOINTS = "checkpoints"
STATE_FILE = "playpen.json"
"""Written last into a checkpoint: what has it is complete."""


class OptimiserOptions(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Options that every trainer has.

    Attributes:
        learning_rate: peak learning rate.
        max_steps: optimiser steps; if not positive, `num_train_epochs` decides.
        num_train_epochs: passes over the data.
        per_device_train_batch_size: items per device and backward pass.
        gradient_accumulation_steps: backward passes whose gradients are added up in a step.
        lr_scheduler_type: as in transformers.
        warmup_steps: number of warm-up steps, or their share of all steps if below 1.
        weight_decay: of AdamW.
        max_grad_norm: gradients are scaled down to this norm.
        max_length: longest row in tokens; the model's limit if left out.
        gradient_checkpointing: trade time for memory.
        lora_r: rank of the LoRA adapter; 0 trains all weights.
        lora_alpha: scale of the adapter.
        lora_dropout: dropout of the adapter.
        lora_target_modules: layers that get an adapter, by name; all linear ones if left out.
        load_in_4bit: keep the base weights in 4 bits (QLoRA); needs bitsandbytes.
        dtype: of the weights: ``auto``, ``float32``, ``bfloat16`` or ``float16``.  ``auto`` is
            bfloat16 under an adapter where the device can, else float32.
        bf16: compute in bfloat16 with float32 weights; where the device can, if left out.
        save_steps: steps between checkpoints; 0 saves only the end.
        save_total_limit: how many checkpoints are kept.
        logging_steps: steps between log lines.
        seed: of order, dropout and adapter initialisation.
    """

    learning_rate: Rate = 2e-5
    max_steps: int = -1
    num_train_epochs: Rate = 1.0
    per_device_train_batch_size: Positive = 8
    gradient_accumulation_steps: Positive = 1
    lr_scheduler_type: str = "cosine"
    warmup_steps: Amount = 0.03
    weight_decay: Amount = 0.0
    max_grad_norm: Amount = 1.0
    max_length: Positive | None = None
    gradient_checkpointing: bool = False
    lora_r: Natural = 0
    lora_alpha: Positive = 32
    lora_dropout: Share = 0.0
    lora_target_modules: list[str] | None = None
    load_in_4bit: bool = False
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    bf16: bool | None = None
    save_steps: Natural = 0
    save_total_limit: Positive = 2
    logging_steps: Positive = 10
    seed: int = 0


def check_optimiser(options: OptimiserOptions) -> None:
    """Refuse what does not fit together.

    Raises:
        ConfigError: names the option, its value and the remedy.
    """
    known = sorted(kind.value for kind in transformers.trainer_utils.SchedulerType)
    if options.lr_scheduler_type not in known:
        raise ConfigError(
            f"trainer.lr_scheduler_type = {options.lr_scheduler_type!r}: "
            f"choose among {', '.join(known)}"
        )
    if options.load_in_4bit:
        if not options.lora_r:
            raise ConfigError(
                "trainer.load_in_4bit = true: weights in 4 bits cannot be trained; "
                "add an adapter with trainer.lora_r = 16"
            )
        if not transformers.utils.is_bitsandbytes_available():
            raise ConfigError(
                "trainer.load_in_4bit = true: bitsandbytes is not installed; "
                "pip install 'playpen-core[quantization]', or leave the option out"
            )
    if options.max_steps <= 0 and options.max_steps != -1:
        raise ConfigError(
            f"trainer.max_steps = {options.max_steps}: "
            "write a positive number, or leave it out to train for num_train_epochs"
        )


def arguments(
    kind: type[ArgumentsT], options: OptimiserOptions, run: TrainingRun, **own: Any
) -> ArgumentsT:
    """The arguments of one of TRL's trainers.

    Args:
        kind: TRL's class of arguments.
        options: ours.
        run: gives the output directory.
        own: further arguments of `kind`.
    """
    cuda = torch.cuda.is_available()
    capable = cuda and torch.cuda.is_bf16_supported()
    return kind(
        output_dir=str(run.output / _CHECKPOINTS),
        learning_rate=options.learning_rate,
        max_steps=options.max_steps,
        num_train_epochs=options.num_train_epochs,
        per_device_train_batch_size=options.per_device_train_batch_size,
        gradient_accumulation_steps=options.gradient_accumulation_steps,
        lr_scheduler_type=options.lr_scheduler_type,
        warmup_steps=options.warmup_steps,
        weight_decay=options.weight_decay,
        max_grad_norm=options.max_grad_norm,
        gradient_checkpointing=options.gradient_checkpointing,
        save_strategy="steps" if options.save_steps else "no",
        save_steps=options.save_steps or 500,
        save_total_limit=options.save_total_limit,
        logging_steps=options.logging_steps,
        seed=options.seed,
        bf16=capable if options.bf16 is None else options.bf16,
        report_to="none",
        disable_tqdm=True,
        use_cpu=not _accelerated(),
        **own,
    )


def processes() -> PartialState:
    """The processes that train together, and the device of this one.

    accelerate has to be told that there is no accelerator: else it takes each for the only one.
    """
    return PartialState(cpu=not _accelerated())


def _accelerated() -> bool:
    return torch.cuda.is_available() or torch.backends.mps.is_available()


def adapter(options: OptimiserOptions, learner: Learner) -> LoraConfig | None:
    """The LoRA adapter to put on the model: none if all weights are trained, or it has one."""
    if not options.lora_r or learner.adapted:
        return None
    return LoraConfig(
        r=options.lora_r,
        lora_alpha=options.lora_alpha,
        lora_dropout=options.lora_dropout,
        target_modules=options.lora_target_modules or "all-linear",
        task_type="CAUSAL_LM",
    )


def length_limit(options: OptimiserOptions, learner: Learner) -> int:
    """The longest row in tokens."""
    positions = getattr(learner.model.config, "max_position_embeddings", None) or 2**31
    return min(options.max_length or positions, positions)


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
            # It must not look complete while its files go one by one.
            (complete[step] / STATE_FILE).unlink()
            shutil.rmtree(complete[step])


_OVER = "over"
"""Whether training ends at the checkpoint."""


def _complete_checkpoints(folder: Path) -> dict[int, Path]:
    """Step to directory of the checkpoints that have everything."""
    found = {}
    for path in folder.glob("checkpoint-*"):
        step = path.name.removeprefix("checkpoint-")
        if step.isdigit() and (path / STATE_FILE).is_file():
            found[int(step)] = path
    return found


def kept_checkpoint_states(output: Path) -> list[dict[str, Any]]:
    """What the checkpoints in an output directory keep of our parts, by the parts' names."""
    checkpoints = _complete_checkpoints(output / _CHECKPOINTS).values()
    return [msgspec.json.decode((path / STATE_FILE).read_bytes()) for path in checkpoints]


def _tidy(folder: Path) -> None:
    """Remove what does not belong to the model that was saved."""
    (folder / "training_args.bin").unlink(missing_ok=True)  # a pickle that nobody needs
    # TRL's frozen copy of an adapter that is trained further.  It is made from the learner each
    # time; transformers, finding it in a checkpoint, would resume without the trained adapter.
    if (folder / "ref" / "adapter_config.json").is_file():
        shutil.rmtree(folder / "ref")


def last_checkpoint(folder: Path) -> Path | None:
    """The newest complete checkpoint; what was being written when its process died goes."""
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
    checkpoint = last_checkpoint(run.output / _CHECKPOINTS)
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
        start: what `starting_point` found.
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


_TRAINING_FILES = (STATE_FILE, "trainer_state.json", "optimizer*", "scheduler*", "scaler*", "rng_*")


def _beside(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.tmp")


def _put(unfinished: Path, folder: Path) -> None:
    """Put a directory that is complete now into the place of an earlier one."""
    if folder.exists():
        shutil.rmtree(folder)
    unfinished.rename(folder)
