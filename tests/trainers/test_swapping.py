"""Swapping the trainer: one file, and only the name changes."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from playpen import get_game, make_player
from playpen import play as play_episodes
from playpen.plugins import registry
from playpen.training import read_config, train
from playpen_trainers.demo import mini_instances, vocabulary
from playpen_trainers.tiny import make_tiny_model

STRANGER = Path(__file__).parents[1] / "packs" / "playpen-trainer-plainloop" / "src"
CONFIG = """
[learner]
player = "hf:{base}"

[games]
names = ["taboo"]
levels = ["mini"]
per_level = 16

[rollout]
max_new_tokens = 8

[trainer]
learning_rate = 1e-3
seed = 3

[trainer.grpo]
num_generations = 4
max_steps = 2

[trainer.rloo]
num_generations = 2
max_steps = 1
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("swapping")
    words = vocabulary(mini_instances(get_game("taboo"), "train", 0))
    make_tiny_model(folder / "base", words, hidden_size=32)
    path = folder / "train.toml"
    path.write_text(CONFIG.format(base=folder / "base"), encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ["sft", "grpo", "rloo", "plainloop"])
def test_only_the_name_changes(
    name: str, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(STRANGER)
    [spec] = importlib.import_module("playpen_plainloop.plugin").playpen_trainers()
    monkeypatch.setitem(registry().trainers, spec.name, [(spec, "playpen-trainer-plainloop")])

    checkpoint = train(name, read_config(file), tmp_path / name)

    player = make_player(f"hf:{checkpoint}?max_new_tokens=4")
    [episode] = play_episodes(
        get_game("taboo"), player, mini_instances(get_game("taboo"), "validation", 0)[:1]
    )
    assert episode.failure is None
