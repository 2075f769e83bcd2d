"""What is seen and recorded while a training runs."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from transformers import TrainerControl, TrainerState, TrainingArguments
from transformers.utils import logging

from playpen.training import GamesTable, LearnerTable, TrainConfig, TrainingRun
from playpen_trainers import progress as module
from playpen_trainers.progress import Progress

ONLINE = {
    "loss": 0.01234,
    "reward": 0.347,
    "played": 0.98,
    "success": 0.3125,
    "kl": 0.0123,
    "entropy": 0.823,
    "tokens_sampled": 1200.0,
    "success/taboo": 0.25,
    "reward/taboo/describer": 0.3,
    "reward/taboo/guesser": 0.4,
}
SEVERAL = {
    "success/wordle_withcritic": 0.5,
    "reward/wordle_withcritic/guesser": 0.55,
    "reward/wordle_withcritic/critic": -0.25,
}


class Clock:
    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(module, "time", made)
    return made


@pytest.fixture
def console() -> Console:
    return Console(
        record=True, width=80, file=io.StringIO(), force_terminal=True, legacy_windows=False
    )


def progress(output: Path, console: Console) -> Progress:
    config = TrainConfig(learner=LearnerTable(player="hf:nobody"), games=GamesTable(names=["x"]))
    return Progress(TrainingRun("grpo", config, output), console)


def begin(shown: Progress, *, step: int = 0, seen: int = 0) -> tuple[Any, Any, Any]:
    state = TrainerState(global_step=step, max_steps=100, num_input_tokens_seen=seen)
    arguments = TrainingArguments(output_dir="nowhere", use_cpu=True)
    control = TrainerControl()
    shown.on_train_begin(arguments, state, control)
    return arguments, state, control


def steps(shown: Progress, *logs: dict[str, Any]) -> None:
    """A step for each of these log lines."""
    arguments, state, control = begin(shown)
    for logged in logs:
        state.global_step += 1
        shown.on_step_end(arguments, state, control)
        shown.on_log(arguments, state, control, logs=dict(logged))


def seen(console: Console, shown: Progress) -> list[str]:
    """The lines on the screen as they are now."""
    console.export_text()
    console.print(shown._shown())
    return [line.rstrip() for line in console.export_text().splitlines()]


def recorded(output: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]


def test_one_game_with_two_roles(tmp_path: Path, console: Console, clock: Clock):
    shown = progress(tmp_path, console)
    clock.now = 14.0
    arguments, state, control = begin(shown)
    clock.now = 18.0
    state.global_step = 12
    shown.on_step_end(arguments, state, control)
    shown.on_log(arguments, state, control, logs=dict(ONLINE))
    bar, numbers, *table = seen(console, shown)
    assert "training" in bar
    assert "12/100" in bar
    assert bar.endswith("left")
    assert numbers == "reward 0.35  played 98%  success 31%  kl 0.012  entropy 0.82  300 tokens/s"
    assert len(table) == 4


def test_the_numbers_fit_into_a_line_of_80_columns(tmp_path: Path, console: Console, clock: Clock):
    shown = progress(tmp_path, console)
    arguments, state, control = begin(shown)
    clock.now = 1.0
    largest = {"reward": -0.5, "played": 1.0, "success": 1.0, "tokens_sampled": 9999.0}
    shown.on_log(arguments, state, control, logs=ONLINE | largest)
    assert seen(console, shown)[1].endswith("entropy 0.82  9,999 tokens/s")


def test_several_games(tmp_path: Path, console: Console):
    shown = progress(tmp_path, console)
    steps(shown, ONLINE | SEVERAL)
    lines = seen(console, shown)
    assert all(len(line) <= 80 for line in lines)
    rows = [line.split() for line in lines[-4:]]
    assert rows == [
        ["taboo", "25%", "describer", "0.30"],
        ["guesser", "0.40"],
        ["wordle_withcritic", "50%", "guesser", "0.55"],
        ["critic", "-0.25"],
    ]


def test_one_role_of_one_game_needs_no_table(tmp_path: Path, console: Console):
    shown = progress(tmp_path, console)
    steps(shown, {"loss": 1.0, "success/taboo": 0.25, "reward/taboo/guesser": 0.4})
    assert len(seen(console, shown)) == 2


def test_what_a_generation_batch_told_stays_until_the_next(tmp_path: Path, console: Console):
    shown = progress(tmp_path, console)
    steps(shown, ONLINE, {"loss": 0.5, "entropy": 0.7})
    numbers = seen(console, shown)[1]
    assert numbers.startswith("reward 0.35  played 98%  success 31%")
    assert "entropy 0.70" in numbers
    assert "reward" not in recorded(tmp_path)[1]


def test_supervised_training(tmp_path: Path, console: Console):
    shown = progress(tmp_path, console)
    steps(shown, {"loss": 0.5, "mean_token_accuracy": 0.9, "num_tokens": 100.0})
    assert "loss 0.500  tokens right 90%" in seen(console, shown)[1]


def test_tokens_per_second_are_those_since_the_last_batch(
    tmp_path: Path, console: Console, clock: Clock
):
    shown = progress(tmp_path, console)
    arguments, state, control = begin(shown, step=4, seen=1000)
    for now, log in [(10, {"tokens_sampled": 1500.0}), (15, {}), (30, {"tokens_sampled": 1600.0})]:
        clock.now = float(now)
        shown.on_log(arguments, state, control, logs={"loss": 1.0, **log})
    assert [line.get("tokens_per_second") for line in recorded(tmp_path)] == [50.0, None, 5.0]


def test_tokens_are_counted_on_after_an_interruption(
    tmp_path: Path, console: Console, clock: Clock
):
    """TRL begins at zero again."""
    first = progress(tmp_path, console)
    arguments, state, control = begin(first)
    clock.now = 1.0
    first.on_log(arguments, state, control, logs={"loss": 1.0, "num_tokens": 300.0})
    second = progress(tmp_path, console)
    second.restore(json.loads(json.dumps(first.state())))
    arguments, state, control = begin(second, step=1)
    clock.now = 3.0
    second.on_log(arguments, state, control, logs={"loss": 1.0, "num_tokens": 200.0})
    assert [line["num_tokens"] for line in recorded(tmp_path)] == [300.0, 500.0]
    assert recorded(tmp_path)[1]["tokens_per_second"] == 100.0
    assert second.state() == {"tokens": 500.0}


def test_what_is_no_number_is_not_recorded(tmp_path: Path, console: Console):
    steps(
        progress(tmp_path, console),
        {"loss": 1.0, "nan": float("nan"), "none": None, "text": "x", "total_flos": 1.0},
        {"train_loss": 1.0, "train_runtime": 3.0},  # transformers' summary at the end
    )
    assert recorded(tmp_path) == [{"step": 1, "loss": 1.0}]


def test_the_time_left_is_known_after_slow_steps(tmp_path: Path, console: Console):
    shown = progress(tmp_path, console)
    now = [0.0]
    shown._steps.get_time = lambda: now[0]
    arguments, state, control = begin(shown)
    for step in (1, 2, 3):
        now[0] += 100.0  # longer than the half minute that is looked at by default
        state.global_step = step
        shown.on_step_end(arguments, state, control)
    assert "2:41:40 left" in seen(console, shown)[0]


def test_no_other_bars_meanwhile(tmp_path: Path, console: Console):
    assert logging.is_progress_bar_enabled()
    with progress(tmp_path, console):
        assert not logging.is_progress_bar_enabled()
    assert logging.is_progress_bar_enabled()
    with pytest.raises(ZeroDivisionError), progress(tmp_path, console):
        raise ZeroDivisionError
    assert logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        with progress(tmp_path, console):
            pass
        assert not logging.is_progress_bar_enabled()
    finally:
        logging.enable_progress_bar()


def test_the_last_state_is_left_on_the_screen(tmp_path: Path, console: Console):
    shown = progress(tmp_path, console)
    with shown:
        steps(shown, ONLINE | SEVERAL)
    text = console.export_text()
    assert "1/100" in text
    assert text.rstrip().splitlines()[-1].split() == ["critic", "-0.25"]
