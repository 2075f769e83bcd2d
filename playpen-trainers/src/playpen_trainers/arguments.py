"""What all trainers share: options of the optimiser and the adapter, and TRL's arguments of them.

The names of the options are those of transformers' `TrainingArguments` where it has them.
"""

from __future__ import annotations

from typing import Any, Literal, TypeVar

import msgspec
import torch
import transformers
from accelerate import PartialState
from peft import LoraConfig
from transformers import TrainingArguments

from playpen.bounds import (
    FromZeroBelowOne,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)
from playpen.training import ConfigError, TrainingRun
from playpen_trainers.learner import Learner

ArgumentsT = TypeVar("ArgumentsT", bound=TrainingArguments)


CHECKPOINTS = "checkpoints"
"""The directory in the output of a training where TRL saves."""


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

    learning_rate: PositiveFloat = 2e-5
    max_steps: int = -1
    num_train_epochs: PositiveFloat = 1.0
    per_device_train_batch_size: PositiveInt = 8
    gradient_accumulation_steps: PositiveInt = 1
    lr_scheduler_type: str = "cosine"
    warmup_steps: NonNegativeFloat = 0.03
    weight_decay: NonNegativeFloat = 0.0
    max_grad_norm: NonNegativeFloat = 1.0
    max_length: PositiveInt | None = None
    gradient_checkpointing: bool = False
    lora_r: NonNegativeInt = 0
    lora_alpha: PositiveInt = 32
    lora_dropout: FromZeroBelowOne = 0.0
    lora_target_modules: list[str] | None = None
    load_in_4bit: bool = False
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    bf16: bool | None = None
    save_steps: NonNegativeInt = 0
    save_total_limit: PositiveInt = 2
    logging_steps: PositiveInt = 10
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
        output_dir=str(run.output / CHECKPOINTS),
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
