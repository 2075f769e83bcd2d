"""``sft``: supervised fine-tuning on episodes, by TRL's `SFTTrainer`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import msgspec
import torch
import transformers
from peft import LoraConfig
from transformers.trainer_utils import get_last_checkpoint
from trl import SFTConfig, SFTTrainer

from playpen.training import ConfigError, Trainer, TrainingRun
from playpen_trainers.data import IGNORED, ImitationRow, imitation_rows
from playpen_trainers.learner import check_learner, load_learner
from playpen_trainers.progress import Progress


class SFTOptions(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Options of ``sft``; the names are those of TRL's `SFTConfig` where it has them.

    Attributes:
        learning_rate: peak learning rate.
        num_train_epochs: passes over the rows.
        max_steps: optimiser steps instead of epochs, if positive.
        per_device_train_batch_size: rows per step and device.
        gradient_accumulation_steps: steps whose gradients are added up.
        lr_scheduler_type: as in transformers.
        warmup_steps: number of warm-up steps, or their share of all steps if below 1.
        weight_decay: of AdamW.
        max_length: longest row in tokens; longer ones are left out.  The model's limit if unset.
        packing: put several rows into one sequence (no attention between them).
        gradient_checkpointing: trade time for memory.
        lora_r: rank of the LoRA adapter; 0 trains all weights.
        lora_alpha: scale of the adapter.
        lora_dropout: dropout of the adapter.
        dtype: of the weights; ``auto`` is bfloat16 where the device can, else float32.
        save_steps: steps between checkpoints; 0 saves only the end.
        logging_steps: steps between log lines.
        seed: of order, dropout and adapter initialisation.
    """

    learning_rate: float = 2e-5
    num_train_epochs: float = 1.0
    max_steps: int = -1
    per_device_train_batch_size: int = 8
    gradient_accumulation_steps: int = 1
    lr_scheduler_type: str = "cosine"
    warmup_steps: float = 0.03
    weight_decay: float = 0.0
    max_length: int | None = None
    packing: bool = False
    gradient_checkpointing: bool = False
    lora_r: int = 0
    lora_alpha: int = 32
    lora_dropout: float = 0.0
    dtype: str = "auto"
    save_steps: int = 0
    logging_steps: int = 10
    seed: int = 0


class SFT(Trainer):
    """Imitate what the demonstrating players said: loss on their replies only."""

    Options = SFTOptions
    options: SFTOptions

    def train(self, run: TrainingRun) -> Path:
        """Fine-tune the learner on the run's demonstrations.

        Interrupted training continues from the last checkpoint in the output directory.

        Raises:
            ConfigError: the learner is not an ``hf:`` model, or no row fits into it.
        """
        spec, options = check_learner(run.learner)
        demonstrations = run.demonstrations()
        learner = load_learner(spec, options, self.options.dtype)
        rows = self._fitting(imitation_rows(learner.chat, demonstrations), learner.model)
        run.log(0, {"episodes": len(demonstrations), "rows": len(rows)})
        checkpoints = run.output / "checkpoints"
        with Progress(run) as progress:
            trainer = SFTTrainer(
                model=learner.model,
                args=self._arguments(checkpoints),
                train_dataset=datasets.Dataset.from_list(
                    [{"input_ids": r["input_ids"], "labels": r["labels"]} for r in rows]
                ),
                processing_class=learner.tokenizer,
                peft_config=None if learner.adapted else self._adapter(),
                callbacks=[progress],
            )
            # Ours shows the same in one line, beside the rest of the command's output.
            trainer.remove_callback(transformers.PrinterCallback)
            last = get_last_checkpoint(str(checkpoints)) if checkpoints.is_dir() else None
            trainer.train(resume_from_checkpoint=last)
        final = run.output / "final"
        trainer.save_model(str(final))
        (final / "training_args.bin").unlink(missing_ok=True)  # a pickle that nobody needs
        learner.tokenizer.save_pretrained(str(final))
        return final

    def _fitting(self, rows: list[ImitationRow], model: Any) -> list[ImitationRow]:
        limit = self.options.max_length or model.config.max_position_embeddings
        fitting = [
            row
            for row in rows
            if len(row["input_ids"]) <= limit and any(x != IGNORED for x in row["labels"])
        ]
        if not fitting:
            raise ConfigError(
                f"none of the {len(rows)} rows fits into {limit} tokens; raise trainer.max_length"
            )
        if len(fitting) < len(rows):
            transformers.utils.logging.get_logger("playpen").warning(
                f"{len(rows) - len(fitting)} of {len(rows)} rows are longer than {limit} tokens "
                "and are left out"
            )
        return fitting

    def _adapter(self) -> LoraConfig | None:
        if not self.options.lora_r:
            return None
        return LoraConfig(
            r=self.options.lora_r,
            lora_alpha=self.options.lora_alpha,
            lora_dropout=self.options.lora_dropout,
            target_modules="all-linear",
            task_type="CAUSAL_LM",
        )

    def _arguments(self, checkpoints: Path) -> SFTConfig:
        options = self.options
        return SFTConfig(
            output_dir=str(checkpoints),
            learning_rate=options.learning_rate,
            num_train_epochs=options.num_train_epochs,
            max_steps=options.max_steps,
            per_device_train_batch_size=options.per_device_train_batch_size,
            gradient_accumulation_steps=options.gradient_accumulation_steps,
            lr_scheduler_type=options.lr_scheduler_type,
            warmup_steps=options.warmup_steps,
            weight_decay=options.weight_decay,
            max_length=None,  # nothing is cut: rows that are too long were left out
            packing=options.packing,
            gradient_checkpointing=options.gradient_checkpointing,
            save_strategy="steps" if options.save_steps else "no",
            save_steps=options.save_steps or 500,
            logging_steps=options.logging_steps,
            seed=options.seed,
            bf16=False,  # the weights' own type decides
            report_to="none",
            disable_tqdm=True,
            use_cpu=not torch.cuda.is_available() and not torch.backends.mps.is_available(),
        )
