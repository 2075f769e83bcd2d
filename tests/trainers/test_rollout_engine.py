"""Roll-outs by vLLM are refused where it cannot follow the learner; nothing here runs it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from tests.trainers.online_kit import config, register_games, tiny_base

from playpen.play_loop import PlayLoop
from playpen.player import Player
from playpen.players.hf import HuggingFaceOptions
from playpen.players.program import FunctionPlayer
from playpen.training import ConfigError, RolloutTable, TrainingRun, train
from playpen_trainers import seats
from playpen_trainers.seats import Seating

ADAPTED = {"lora_r": 4}
SUPERVISED = {"num_generations": None}
FULL = r"rollout\.engine = 'vllm' follows adapters only.* set trainer\.lora_r = 16"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_base(tmp_path_factory.mktemp("base"))


@pytest.mark.parametrize(
    ("trainer", "options", "environment", "line"),
    [
        ("grpo", {}, {}, FULL),
        ("rloo", {}, {}, FULL),
        ("dpo", SUPERVISED, {}, FULL),
        ("kto", SUPERVISED, {}, FULL),
        ("rft", SUPERVISED, {}, FULL),
        ("sft", SUPERVISED, {}, FULL),
        ("grpo", {**ADAPTED, "load_in_4bit": True}, {}, r"4 bits of trainer\.load_in_4bit = true"),
        ("grpo", ADAPTED, {"WORLD_SIZE": "2"}, r"2 processes that train.* start one"),
        ("grpo", ADAPTED, {}, r"vLLM is not installed; pip install 'playpen-core\[vllm\]'"),
    ],
)
def test_what_vllm_cannot_follow_is_refused_before_anything_is_loaded(
    base: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    trainer: str,
    options: dict[str, Any],
    environment: dict[str, str],
    line: str,
) -> None:
    register_games(monkeypatch)
    monkeypatch.setitem(sys.modules, "vllm", None)  # as where it is not installed
    monkeypatch.setattr("transformers.utils.is_bitsandbytes_available", lambda: True)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    wanted = config(base, rollout=RolloutTable(engine="vllm"), **options)
    for name in [name for name, value in wanted.trainer.items() if value is None]:
        del wanted.trainer[name]
    with pytest.raises(ConfigError, match=line) as caught:
        train(trainer, wanted, tmp_path / "out")
    assert str(caught.value).startswith("rollout.engine = 'vllm'")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_the_seating_has_vllm_play_the_learner_and_ends_it(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every player is asked for anew, and samples as the roll-out says, or as validation does."""
    register_games(monkeypatch)
    told: list[Any] = []

    class Stub:
        def __init__(self, run: TrainingRun, rank: int, loop: PlayLoop) -> None:
            told.append(rank)

        def player(self, model: Any, tokenizer: Any, sampling: HuggingFaceOptions) -> Player:
            told.append((model, tokenizer, sampling))
            return FunctionPlayer(lambda conversation: "red")

        def close(self) -> None:
            told.append("closed")

    monkeypatch.setattr(seats, "VllmLearner", Stub)
    rollout = RolloutTable(engine="vllm", temperature=0.8, max_new_tokens=7, concurrency=3)
    run = TrainingRun("grpo", config(base, rollout=rollout), tmp_path)
    seating = Seating(run, rank=4)
    players = [
        seating.learner_player("model", "tokenizer"),
        seating.learner_player("later", "tokenizer", temperature=0.0),
    ]
    seating.close()
    assert players[0] is not players[1]
    sampling = HuggingFaceOptions(temperature=0.8, max_new_tokens=7, batch_size=3)
    greedy = HuggingFaceOptions(temperature=0.0, max_new_tokens=7, batch_size=3)
    assert told == [
        4,
        ("model", "tokenizer", sampling),
        ("later", "tokenizer", greedy),
        "closed",
    ]
