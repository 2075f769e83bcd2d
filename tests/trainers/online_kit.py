"""What the tests of online training share: a small game, tiny models, and configurations."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import datasets
import pytest
import torch
from safetensors.torch import load_file
from trl import GRPOConfig, GRPOTrainer

from playpen.conversation import Conversation
from playpen.game import Game, Program, Role
from playpen.hookspecs import GameSpec
from playpen.instance import Instance, split_of
from playpen.moves import Ask, Draw, Lose, Note, Play, Reward, Round, Success, Tell, Violation, ask
from playpen.plugins import registry
from playpen.rewards import RewardTable
from playpen.training import (
    EvalTable,
    GamesTable,
    LearnerTable,
    RolloutTable,
    TeacherTable,
    TrainConfig,
    TrainingRun,
)
from playpen_trainers.advantages import RunningBaselines
from playpen_trainers.arguments import adapter
from playpen_trainers.collapse import CollapseWatch
from playpen_trainers.grpo import GRPO, DialogueGRPOTrainer, GRPOOptions
from playpen_trainers.learner import check_learner, load_learner
from playpen_trainers.seats import Seating
from playpen_trainers.tiny import make_tiny_model

WARM, COLD = ("red", "orange", "yellow", "pink"), ("blue", "green", "grey", "violet")
WORDS = {
    *WARM, *COLD, "warm", "cold", "say", "a", "colour", "sure?", "wish:", "other:", "1", "2", "3",
    "4", "5", "6", "7", "8",
}  # fmt: skip


class Colours(Game):
    """A wisher asks for a warm or a cold colour; a painter names one.

    It is asked aside whether it is sure, before each of its answers.  An untrained model wins some
    of the rounds.  A wisher that says nothing but the word ``grey`` breaks a rule, and so does a
    painter that says nothing at all.
    """

    name = "colours"
    roles = (Role("wisher", "wants a colour"), Role("painter", "names a colour"))

    rounds: ClassVar[int] = 2
    aside: ClassVar[bool] = True

    def play(self, instance: Instance) -> Play:
        [extra] = yield Draw(["1", "2", "3", "4", "5", "6", "7", "8"])
        yield Note("drawn", extra)
        for number in range(self.rounds):
            if number:
                yield Round()
            yield Tell("wisher", f"{extra} {instance['number']}")
            wish = yield from ask("wisher", f"say {instance['wanted']}", _wish)
            if self.aside:
                yield Ask("painter", "sure?", keep=False)
            named = yield from ask("painter", f"wish: {wish} say a colour", _colour)
            fits = named in (WARM if instance["wanted"] == "warm" else COLD)
            yield Reward("painter", float(fits))
            if fits:
                return Success(100 / (number + 1))
        return Lose()

    def generate(
        self, split: str, *, seed: int = 0, level: str | None = None, n: int | None = None
    ) -> dict[str, Any]:
        made = [
            {"number": str(number), "wanted": wanted, "seed": seed}
            for wanted in ("warm", "cold")
            for number in range(1, 9)
            if split_of(f"{wanted} {number}") == split
        ]
        items = [{"game_id": place, **item} for place, item in enumerate(made[:n])]
        return {"experiments": [{"name": "only", "game_instances": items}]}

    def levels(self) -> tuple[str, ...]:
        return ("only",)

    def fingerprint(self, instance: Instance) -> str:
        return f"{instance['wanted']} {instance['number']}"

    def oracle(self, role: str) -> Program:
        return lambda conversation: "red"


class PlainColours(Colours):
    """The same in one round, without the question aside."""

    name = "plaincolours"
    rounds = 1
    aside = False


def _wish(reply: str) -> str:
    words = reply.split()
    if words == ["grey"]:
        raise Violation("grey", "grey is no wish")
    return " ".join(words[:3])


def _colour(reply: str) -> str:
    words = reply.split()
    if not words:
        raise Violation("nothing", "the painter must say something")
    return words[0]


def spoil(conversation: Conversation) -> str:
    """A program that breaks the rule of the wisher in about half of the second rounds."""
    return "grey" if conversation.turn and conversation.seed % 2 else "warm"


def always_spoil(conversation: Conversation) -> str:
    """A program that always breaks the rule of the wisher."""
    return "grey"


def stumble(conversation: Conversation) -> str:
    """A program that fails twice in each episode before it answers."""
    key = conversation.sampling_seed
    STUMBLED[key] = STUMBLED.get(key, 0) + 1
    if STUMBLED[key] <= 2:
        raise OSError("a server hangs up")
    return "warm"


STUMBLED: dict[int, int] = {}


def crash(conversation: Conversation) -> str:
    """A program with a bug."""
    raise ZeroDivisionError("a bug in the teacher")


HERE = "program:tests.trainers.online_kit"


def register_games(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `get_game` find the games of this module while a test runs."""
    for kind in (Colours, PlainColours):
        spec = GameSpec(
            name=kind.name,
            path=f"tests.trainers.online_kit:{kind.__name__}",
            summary="colours",
            roles=kind.role_names(),
        )
        monkeypatch.setitem(registry().games, kind.name, [(spec, "tests")])


def tiny_base(folder: Path, *, seed: int = 0, context: int = 96) -> Path:
    """A model that has learned nothing, for the games of this module."""
    make_tiny_model(folder, WORDS, hidden_size=64, layers=2, context=context, seed=seed)
    return folder


FAST: dict[str, Any] = {
    "max_steps": 2,
    "per_device_train_batch_size": 8,
    "num_generations": 4,
    "learning_rate": 1e-3,
}


def config(
    base: Path,
    *,
    game: str = "colours",
    roles: list[str] | None = None,
    teacher: TeacherTable | None = None,
    reward: RewardTable | None = None,
    rollout: RolloutTable | None = None,
    evaluation: EvalTable | None = None,
    **trainer: Any,
) -> TrainConfig:
    """The configuration of a short training; `trainer` are options of it."""
    return TrainConfig(
        learner=LearnerTable(player=f"hf:{base}", roles=roles),
        teacher=teacher or TeacherTable(),
        games=GamesTable(names=[game]),
        reward=reward or RewardTable(),
        rollout=rollout or RolloutTable(max_new_tokens=4),
        eval=evaluation or EvalTable(),
        trainer={**FAST, **trainer},
    )


def bare_trainer(
    base: Path,
    output: Path,
    options: GRPOOptions,
    *,
    temperature: float = 1.0,
    rollouts: Any = None,
) -> DialogueGRPOTrainer:
    """The trainer of `GRPO.train`, ready for batches made by hand: nothing is played."""
    run = TrainingRun(
        "grpo",
        config(base, rollout=RolloutTable(max_new_tokens=4, temperature=temperature)),
        output,
    )
    learner = load_learner(*check_learner(run.learner), options.dtype)
    seating = Seating(run)
    trainer = DialogueGRPOTrainer(
        rollouts=rollouts,
        seating=seating,
        learner=learner,
        options=options,
        discount=run.config.reward.discount,
        running=RunningBaselines(),
        watch=CollapseWatch(),
        model=learner.model,
        args=GRPO(options)._arguments(run),
        train_dataset=datasets.Dataset.from_dict({"prompt": ["0"]}),
        processing_class=learner.tokenizer,
        peft_config=adapter(options, learner),
    )
    trainer.current_gradient_accumulation_steps = options.gradient_accumulation_steps
    learner.model.train()
    return trainer


def logged(output: Path) -> list[dict[str, Any]]:
    """The lines of a training's ``metrics.jsonl``."""
    return [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]


def steps_of(output: Path) -> list[dict[str, Any]]:
    """The lines of the optimiser's steps."""
    return [line for line in logged(output) if "loss" in line]


def weights_hash(checkpoint: Path) -> str:
    """A hash of all weights of a checkpoint, to the bit."""
    [file] = checkpoint.glob("*model.safetensors")
    digest = hashlib.sha256()
    for name, tensor in sorted(load_file(file).items()):
        digest.update(name.encode())
        digest.update(tensor.contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def raw_trl(
    base: Path, output: Path, rollout: Callable[..., dict[str, Any]], **arguments: Any
) -> Any:
    """TRL's own trainer with a roll-out function, in groups of two; rewards come with it."""

    def reward(completions: list[Any], reward: list[float | None], **_: Any) -> list[float | None]:
        return reward

    values: dict[str, Any] = {
        "per_device_train_batch_size": 4,
        "num_generations": 2,
        "gradient_checkpointing": False,
        "max_completion_length": 8,
        "bf16": False,
        "use_cpu": True,
        "report_to": "none",
        "output_dir": str(output),
        **arguments,
    }
    trainer: Any = GRPOTrainer(
        model=str(base),
        reward_funcs=reward,
        args=GRPOConfig(**values),
        train_dataset=datasets.Dataset.from_dict({"prompt": ["say", "say a"]}),
        rollout_func=rollout,
    )
    trainer.current_gradient_accumulation_steps = trainer.args.gradient_accumulation_steps
    trainer.model.train()
    return trainer


def trl_batch(trainer: Any) -> dict[str, Any]:
    """What TRL makes of a generation batch of four prompts."""
    inputs = [{"prompt": "say"} for _ in range(4)]
    found: dict[str, Any] = trainer._generate_and_score_completions(inputs)
    return found
