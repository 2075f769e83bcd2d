"""Live progress of a training, in the terminal and in ``metrics.jsonl``."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any

import rich.progress
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.utils import logging

from playpen.terminal.console import open_console
from playpen.terminal.plain_table import PlainTable
from playpen.terminal.tables import MISSING
from playpen.training import TrainingRun, leads

_UNRECORDED = frozenset({
    "train_runtime", "train_samples_per_second", "train_steps_per_second", "total_flos",
    "train_loss", "clip_ratio/low_min", "clip_ratio/high_max",
})  # fmt: skip

_SHOWN = {
    "loss": "loss {:.3f}",
    "mean_token_accuracy": "tokens right {:.0%}",
    "reward": "reward {:.2f}",
    "played": "played {:.0%}",
    "success": "success {:.0%}",
    "kl": "kl {:.3f}",
    "entropy": "entropy {:.2f}",
    "rewards/accuracies": "preferred {:.0%}",
    "tokens_per_second": "{:,.0f} tokens/s",
}
"""What the second line shows of what was logged, where it was, in this order."""


class Progress(TrainerCallback):
    """What is to be seen while a training runs; every log line is recorded.

    A line with the steps and the time left, a line of numbers, and for online training a small
    table of games and roles.  Nobody else's progress bars are shown meanwhile.

    Args:
        run: records what is logged.
        console: where it is shown; the standard error output if left out.
    """

    name = "progress"

    def __init__(self, run: TrainingRun, console: Console | None = None) -> None:
        self._run = run
        self._steps = rich.progress.Progress(
            rich.progress.SpinnerColumn(),
            rich.progress.TextColumn("training"),
            rich.progress.BarColumn(bar_width=None),
            rich.progress.MofNCompleteColumn(),
            rich.progress.TimeRemainingColumn(),
            rich.progress.TextColumn("left"),
            speed_estimate_period=math.inf,  # a step may take minutes
            expand=True,
        )
        self._task = self._steps.add_task("training", total=None)
        self._last: dict[str, float] = {}
        self._tokens = 0.0
        self._tokens_before = 0.0
        self._counted = 0.0
        self._moment = time.monotonic()
        self._bars = False
        self._live = Live(
            get_renderable=self._shown,
            console=console or open_console(stderr=True, quiet=not leads()),
            refresh_per_second=4,
        )

    def state(self) -> dict[str, float]:
        """How many tokens were trained on so far, where TRL counts them."""
        return {"tokens": self._tokens}

    def restore(self, state: dict[str, float]) -> None:
        """Take up what was kept."""
        self._tokens = self._tokens_before = state["tokens"]

    def __enter__(self) -> Progress:
        """Show the lines."""
        self._bars = logging.is_progress_bar_enabled()
        logging.disable_progress_bar()
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave the last state of the lines."""
        self._live.stop()
        if self._bars:
            logging.enable_progress_bar()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Learn how many steps there will be."""
        self._steps.update(self._task, total=state.max_steps, completed=state.global_step)
        self._counted = state.num_input_tokens_seen or self._tokens_before
        self._moment = time.monotonic()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Move on by one step."""
        self._steps.update(self._task, completed=state.global_step)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        """Record what TRL logs, and show what matters of it."""
        numbers = {
            key: float(value)
            for key, value in (logs or {}).items()
            if key not in _UNRECORDED and isinstance(value, int | float) and math.isfinite(value)
        }
        if "loss" not in numbers:
            return
        if "num_tokens" in numbers:  # TRL counts from the start of the process
            numbers["num_tokens"] += self._tokens_before
            self._tokens = numbers["num_tokens"]
        count = numbers.get("tokens_sampled", numbers.get("num_tokens"))
        if count is not None:
            now = time.monotonic()
            numbers["tokens_per_second"] = (count - self._counted) / max(now - self._moment, 1e-9)
            self._counted, self._moment = count, now
        self._run.log(state.global_step, numbers)
        # A generation batch lasts several steps, and only the first of them tells of it.
        self._last = self._last | numbers

    def _shown(self) -> RenderableType:
        """What is drawn, by a thread of its own."""
        last = self._last
        numbers = [
            form.format(last[key])
            for key, form in _SHOWN.items()
            # The loss of a policy gradient says nothing.
            if key in last and not (key == "loss" and "reward" in last)
        ]
        parts: list[RenderableType] = [self._steps]
        if numbers:
            parts.append(Text("  ".join(numbers), overflow="fold"))
        table = _games(last)
        if table.row_count > 1:
            parts.append(table)
        return Group(*parts)


def _games(last: Mapping[str, float]) -> PlainTable:
    """Success of each game, and reward of each of the learner's roles in it."""
    table = PlainTable("game")
    table.add_numbers("success")
    table.add_column("role")
    table.add_numbers("reward")
    for key, value in last.items():
        first, _, game = key.partition("/")
        if first != "success" or not game:
            continue
        roles = {
            name.rpartition("/")[2]: f"{reward:.2f}"
            for name, reward in last.items()
            if name.startswith(f"reward/{game}/")
        }
        label, success = game, f"{value:.0%}"
        for role, reward in (roles or {MISSING: MISSING}).items():
            table.add_row(label, success, role, reward)
            label = success = ""
    return table
