"""Where the time of a GRPO step goes, and what roll-outs cost beside plain generation.

Two tables, one for a tiny model and one for SmolLM2-135M-Instruct with LoRA:

- the wall time of a training (self-play in taboo), split into generation (the engine's model and
  sampling), game logic (the referee, with the game and its prompts), optimisation (forward and
  backward pass, optimiser) and the rest (chat templates, event loop, laying out rows, log);
- sampled tokens per second of our roll-outs of whole episodes against TRL's own generation of one
  reply to each of the episodes' first prompts: same model, same batch, same limit.

``python tests/benchmarks/grpo_step.py [tiny|smollm]``
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
import transformers
from rich.console import Console

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.smollm import fetch_smollm

from playpen import get_game
from playpen.players.transformers_engine.batch import Batch
from playpen.referee import Referee
from playpen.terminal.plain_table import PlainTable
from playpen.training import TrainConfig, read_config, train
from playpen_trainers import grpo
from playpen_trainers.demo import imitate, make_base

ROUNDS = 5


class Setting(NamedTuple):
    """A model and how it is trained."""

    name: str
    learner: Path
    settings: list[str]


class Clock:
    """Wall seconds by part; what runs inside of another part counts for the inner one alone."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self._stack: list[list[Any]] = []

    def timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, with its time booked."""

        def wrapped(*args: Any, **named: Any) -> Any:
            begin = time.perf_counter()
            self._stack.append([part, 0.0])
            try:
                return function(*args, **named)
            finally:
                spent = time.perf_counter() - begin
                _, inner = self._stack.pop()
                self.seconds[part] += spent - inner
                if self._stack:
                    self._stack[-1][1] += spent

        return wrapped


@contextmanager
def clocked(clock: Clock) -> Iterator[None]:
    """Book the time of the engine, of the referee and of TRL's training step."""
    places: list[tuple[Any, str, str]] = [
        (Batch, "serve", "generation"),
        (Referee, "advance", "game logic"),
        (grpo.DialogueGRPOTrainer, "training_step", "optimisation"),
        (grpo.DialogueGRPOTrainer, "_generate_and_score_completions", "rest"),
        (torch.optim.AdamW, "step", "optimisation"),
    ]
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in places]
    for owner, name, part in places:
        setattr(owner, name, clock.timed(part, getattr(owner, name)))
    try:
        yield
    finally:
        for owner, name, function in before:
            setattr(owner, name, function)


def configured(setting: Setting) -> TrainConfig:
    overrides = [f"learner.player=hf:{setting.learner}", *setting.settings]
    return read_config("recipe:demo-grpo", overrides)


def split(setting: Setting, folder: Path) -> tuple[Counter[str], float, int]:
    """Seconds by part, all seconds, and sampled tokens of a training."""
    clock, sampled = Clock(), 0
    original = grpo.DialogueGRPOTrainer._rows

    def counting(self: Any, batch: Any) -> Any:
        nonlocal sampled
        sampled += sum(sum(row.mask) for part in batch.parts for row in part.rows)
        return original(self, batch)

    whole: list[float] = []
    fit = grpo.fit

    def timed_fit(*args: Any, **named: Any) -> Any:
        begin = time.perf_counter()
        try:
            return fit(*args, **named)
        finally:
            whole.append(time.perf_counter() - begin)

    grpo.DialogueGRPOTrainer._rows = counting  # type: ignore[method-assign]
    grpo.fit = timed_fit
    try:
        with clocked(clock):
            train("grpo", configured(setting), folder)
    finally:
        grpo.DialogueGRPOTrainer._rows = original  # type: ignore[method-assign]
        grpo.fit = fit
    clock.seconds["rest"] += whole[0] - sum(clock.seconds.values())
    return clock.seconds, whole[0], sampled


def generation(setting: Setting, folder: Path) -> tuple[list[float], list[float]]:
    """Sampled tokens per second, ours and TRL's, alternating on the same model."""
    rates: tuple[list[float], list[float]] = ([], [])
    original = grpo.DialogueGRPOTrainer._generate_and_score_completions

    def both(self: Any, inputs: list[Any]) -> Any:
        size = self._options.num_generations
        model = self.accelerator.unwrap_model(self.model).eval()
        player = self._seating.learner_player(model, self._learner.tokenizer)
        for _ in range(ROUNDS):
            begin = time.perf_counter()
            batch = self._rollouts.play(player, len(inputs) // size, size)
            ours = time.perf_counter() - begin
            tokens = sum(sum(row.mask) for part in batch.parts for row in part.rows)
            rates[0].append(tokens / ours)
            prompts = [
                said.reply.tokens.context
                for episode in batch.episodes
                for said in episode.replies()[:1]
                if said.reply.tokens
            ]
            begin = time.perf_counter()
            completions, _ = self._generate_single_turn(prompts, None, {}, size)
            theirs = time.perf_counter() - begin
            rates[1].append(sum(map(len, completions)) / theirs)
        model.train()
        return original(self, inputs)

    grpo.DialogueGRPOTrainer._generate_and_score_completions = both  # type: ignore[method-assign]
    try:
        train("grpo", configured(setting._replace(settings=[*setting.settings, *ONE_STEP])), folder)
    finally:
        grpo.DialogueGRPOTrainer._generate_and_score_completions = original  # type: ignore[method-assign]
    return rates


ONE_STEP = ["trainer.max_steps=1", "teacher.partners=[]"]


def tiny(folder: Path) -> Setting:
    make_base(folder / "base", get_game("taboo"), seed=0)
    learner = imitate(folder / "sft", folder / "base", seed=0)
    return Setting("tiny model", learner, ["trainer.max_steps=10", "teacher.partners=[]"])


def smollm() -> Setting:
    settings = [
        "teacher.partners=[]",
        "games.levels=['low_en']",
        "rollout.max_new_tokens=16",
        "rollout.concurrency=32",
        "trainer.lora_r=16",
        "trainer.per_device_train_batch_size=8",
        "trainer.gradient_accumulation_steps=2",
        "trainer.max_steps=2",
    ]
    return Setting("SmolLM2-135M, LoRA", fetch_smollm(), settings)


def main(wanted: list[str]) -> None:
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    console = Console()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        settings = []
        if "tiny" in wanted:
            settings.append(tiny(folder))
        if "smollm" in wanted:
            settings.append(smollm())
        shares = PlainTable("share of wall time")
        speeds = PlainTable("sampled tokens/s")
        for column in ("generation", "game logic", "optimisation", "rest", "wall s", "sampled"):
            shares.add_column(column, justify="right")
        for column in ("roll-outs", "TRL, single turn", "ratio"):
            speeds.add_column(column, justify="right")
        for number, setting in enumerate(settings):
            seconds, whole, sampled = split(setting, folder / f"split-{number}")
            parts = ("generation", "game logic", "optimisation", "rest")
            cells = [f"{100 * seconds[part] / whole:.1f} %" for part in parts]
            shares.add_row(setting.name, *cells, f"{whole:.1f}", str(sampled))
            ours, theirs = map(statistics.median, generation(setting, folder / f"speed-{number}"))
            speeds.add_row(setting.name, f"{ours:.0f}", f"{theirs:.0f}", f"{ours / theirs:.2f}")
        console.print(shares)
        console.print(speeds)


if __name__ == "__main__":
    main(sys.argv[1:] or ["tiny", "smollm"])
