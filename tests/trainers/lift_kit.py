"""What tests of learning share: a tiny model that wins some games, and how it is measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from playpen import get_game, make_player
from playpen import play as play_episodes
from playpen.episode import Episode
from playpen.instance import Instance
from playpen.training import GamesTable, LearnerTable, RolloutTable, TrainConfig, train
from playpen_trainers.demo import make_base, mini_instances
from playpen_trainers.sign_test import Comparison, compare

WARM_UP = {
    "learning_rate": 4e-3,
    "num_train_epochs": 2,
    "per_device_train_batch_size": 32,
    "warmup_steps": 0.05,
}
DEMONSTRATED = 1500
UNSEEN = 600


def make_beginner(folder: Path, seed: int) -> Path:
    """A model that imitated some of the oracle's episodes of taboo's mini world."""
    make_base(folder / "base", get_game("taboo"), seed)
    config = TrainConfig(
        learner=LearnerTable(player=f"hf:{folder / 'base'}"),
        games=GamesTable(names=["taboo"], levels=["mini"], per_level=DEMONSTRATED, seed=seed),
        trainer={**WARM_UP, "seed": seed},
    )
    return train("sft", config, folder / "warm-up")


def config_from(beginner: Path, seed: int, per_level: int, trainer: dict[str, Any]) -> TrainConfig:
    """Training of the beginner on so many instances of the training split."""
    return TrainConfig(
        learner=LearnerTable(player=f"hf:{beginner}"),
        games=GamesTable(names=["taboo"], levels=["mini"], per_level=per_level, seed=seed + 100),
        rollout=RolloutTable(max_new_tokens=8, concurrency=256, seed=seed),
        trainer={**trainer, "seed": seed},
    )


def unseen(seed: int) -> Sequence[Instance]:
    """Instances of the test split; none of them can occur in training."""
    game = get_game("taboo")
    found = mini_instances(game, "test", seed)[:UNSEEN]
    assert len(found) == UNSEEN
    known = {game.fingerprint(instance) for instance in mini_instances(game, "train", seed)}
    assert not any(game.fingerprint(instance) in known for instance in found)
    return found


def self_play(model: Path, instances: Sequence[Instance], seed: int) -> list[Episode]:
    """The model in all roles, sampling at temperature 1."""
    player = make_player(f"hf:{model}?temperature=1&max_new_tokens=8&batch_size=128")
    return play_episodes(get_game("taboo"), player, instances, seed=seed, concurrency=256)


def lift(before: Path, after: Path, seed: int) -> tuple[float, Comparison]:
    """Share of unseen instances that are won before, and what changed; both are printed."""
    instances = unseen(seed)
    first, second = (self_play(model, instances, seed) for model in (before, after))
    start = sum(episode.success for episode in first) / len(first)
    change = compare(first, second)
    print(
        f"\nseed {seed}: {start:.1%} -> {start + change.difference:.1%} of {len(first)} unseen "
        f"instances won (+{change.won}, -{change.lost}; p = {change.p:.2g})"
    )
    return start, change
