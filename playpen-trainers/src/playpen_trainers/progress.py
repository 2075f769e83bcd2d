"""Live progress of a training, in the terminal and in ``metrics.jsonl``."""

from __future__ import annotations

import math
from types import TracebackType
from typing import Any

import rich.progress
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from playpen.training import TrainingRun

_RECORDED = ("loss", "learning_rate", "grad_norm", "epoch", "num_tokens", "mean_token_accuracy")


class Progress(TrainerCallback):
    """One live line: step, loss, accuracy, tokens, time left; every log line is recorded."""

    def __init__(self, run: TrainingRun) -> None:
        self._run = run
        self._bar = rich.progress.Progress(
            rich.progress.SpinnerColumn(),
            rich.progress.TextColumn("training"),
            rich.progress.BarColumn(bar_width=None),
            rich.progress.MofNCompleteColumn(),
            rich.progress.TextColumn("{task.fields[numbers]}"),
            rich.progress.TimeRemainingColumn(),
        )
        self._task = self._bar.add_task("training", total=None, numbers="")

    def __enter__(self) -> Progress:
        """Show the line."""
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave the last state of the line."""
        self._bar.stop()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Learn how many steps there will be."""
        self._bar.update(self._task, total=state.max_steps, completed=state.global_step)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Move on by one step."""
        self._bar.update(self._task, completed=state.global_step)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        """Record what TRL logs, and show the loss and the token accuracy."""
        found = {k: float(v) for k, v in (logs or {}).items() if k in _RECORDED}
        if "loss" not in found:
            return
        self._run.log(state.global_step, {k: v for k, v in found.items() if math.isfinite(v)})
        accuracy = found.get("mean_token_accuracy", math.nan)
        self._bar.update(
            self._task, numbers=f"loss {found['loss']:.3f}  tokens right {100 * accuracy:.0f} %"
        )
