"""Adapters trained on weights in 4 bits."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from safetensors.torch import load_file

from playpen import get_game
from playpen.conversation import Conversation, Message
from playpen.players.hf import HuggingFaceOptions, HuggingFacePlayer
from playpen.training import TrainConfig, train
from playpen_trainers import learner as learners
from playpen_trainers.demo import mini_instances, vocabulary
from playpen_trainers.tiny import make_tiny_model

pytest.importorskip("bitsandbytes")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "base"
    words = vocabulary(mini_instances(get_game("taboo"), "train", 0))
    make_tiny_model(folder, words, hidden_size=64)
    return folder


def test_an_adapter_is_trained_on_weights_in_4_bits(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[Any] = []
    load = learners.AutoModelForCausalLM.from_pretrained

    def noting(*args: Any, **named: Any) -> Any:
        loaded.append(load(*args, **named))
        return loaded[-1]

    monkeypatch.setattr(learners.AutoModelForCausalLM, "from_pretrained", noting)
    settings = {"max_steps": 2, "per_device_train_batch_size": 8, "lora_r": 4, "warmup_steps": 0}
    document = {
        "learner": {"player": f"hf:{base}"},
        "games": {"names": ["taboo"], "levels": ["mini"], "per_level": 24},
        "rollout": {"max_new_tokens": 8, "concurrency": 8},
        # Replies before each step: they must not change what is trained.
        "eval": {"every": 1, "episodes": 4},
        "trainer": settings | {"load_in_4bit": True},
    }
    seen: list[int] = []
    step = torch.optim.AdamW.step

    def counting(self: Any, *args: Any, **named: Any) -> Any:
        trained = [p for group in self.param_groups for p in group["params"]]
        # At first the second matrix of an adapter is 0, and so is the gradient of the first one.
        seen.append(sum(p.grad is not None and bool(p.grad.any()) for p in trained))
        return step(self, *args, **named)

    monkeypatch.setattr(torch.optim.AdamW, "step", counting)
    train("sft", msgspec.convert(document, TrainConfig), tmp_path / "out")
    modules = loaded[0].modules()
    layers = [m for m in modules if type(m).__module__.startswith("bitsandbytes")]
    assert len(layers) == 14
    assert all(layer.weight.dtype == torch.uint8 for layer in layers)
    assert seen == [14, 28]
    weights = load_file(tmp_path / "out" / "final" / "adapter_model.safetensors")
    assert len(weights) == 28
    assert all(value.any() for value in weights.values())
    player = HuggingFacePlayer(
        str(tmp_path / "out" / "final"), HuggingFaceOptions(quantization="4bit", max_new_tokens=4)
    )
    asked = Conversation("describer", [Message("user", "describe")])
    assert asyncio.run(player.reply(asked)).completion_tokens
    asyncio.run(player.close())
