"""The demo's arc with other seeds: imitation to its plateau, then play; and more imitation instead.

Every run prints its table (``pytest -s -m slow tests/learning/test_arc.py``).
"""

from __future__ import annotations

import time
import tomllib
from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.console import Console

from playpen import get_game
from playpen.episode import Episode
from playpen.instance import Instance
from playpen.training import read_config, train
from playpen_trainers.demo import imitate, make_base, measure, mini_instances, reinforce, success
from playpen_trainers.sign_test import compare

PLAN = tomllib.loads((Path(__file__).parent / "plan.toml").read_text(encoding="utf-8"))["arc"]

SFT_EPOCHS = read_config("recipe:demo-sft").trainer["num_train_epochs"]

pytestmark = pytest.mark.slow


def imitate_for(seconds: float, per_epoch: float, output: Path, learner: Path, seed: int) -> Path:
    """More of the same imitation, from where it ended, for a given CPU time."""
    settings = [
        f"learner.player=hf:{learner}",
        f"games.seed={seed}",
        f"rollout.seed={seed}",
        f"trainer.seed={seed + 1000}",
        f"trainer.num_train_epochs={max(1.0, seconds / per_epoch):.1f}",
    ]
    return train("sft", read_config("recipe:demo-sft", settings), output)


def line(name: str, seats: dict[str, list[Episode]]) -> str:
    cells = [
        f"{100 * share:5.1f} ± {100 * half:.1f}" for share, half in map(success, seats.values())
    ]
    return f"{name:20}" + "".join(f"{cell:>16}" for cell in cells)


@pytest.mark.parametrize("seed", PLAN["seeds"])
def test_play_goes_beyond_imitation(seed: int, tmp_path: Path) -> None:
    game = get_game("taboo")
    unseen: Sequence[Instance] = mini_instances(game, "test", seed)[: PLAN["instances"]]
    known = {game.fingerprint(instance) for instance in mini_instances(game, "train", seed)}
    assert not any(game.fingerprint(instance) in known for instance in unseen)
    console = Console(quiet=True)
    base = tmp_path / "base"
    make_base(base, game, seed)

    began = time.process_time()
    imitated = imitate(tmp_path / "sft", base, seed)
    imitation = time.process_time() - began
    began = time.process_time()
    played = reinforce(tmp_path / "grpo", imitated, seed)
    play = time.process_time() - began
    longer = imitate_for(play, imitation / SFT_EPOCHS, tmp_path / "longer", imitated, seed)

    arms = {"untrained": base, "sft": imitated, "sft for as long": longer, "grpo": played}
    found = {
        name: measure(tmp_path / f"play-{name.replace(' ', '-')}", model, unseen, seed, console)
        for name, model in arms.items()
    }
    print(f"\nseed {seed}: % success on {len(unseen)} unseen instances; ", end="")
    print(f"CPU: sft {imitation:.0f} s, grpo {play:.0f} s")
    print(f"{'':20}{'self-play':>16}" + "".join(f"{role:>16}" for role in game.role_names()))
    for name, seats in found.items():
        print(line(name, seats))
    for name in ("sft", "sft for as long"):
        for seat in ("both roles", *game.role_names()):
            gain = compare(found[name][seat], found["grpo"][seat])
            print(f"grpo - {name}, {seat}: {100 * gain.difference:+.1f}, p = {gain.p:.2g}")

    for name in ("sft", "sft for as long"):
        gain = compare(found[name]["both roles"], found["grpo"]["both roles"])
        assert gain.difference > 0
        assert gain.p < PLAN["p"]
    # A private code would show as a loss with a partner who does not know it.
    with_oracle = [
        compare(found["sft"][role], found["grpo"][role]).difference for role in game.role_names()
    ]
    assert sum(with_oracle) / len(with_oracle) > PLAN["code"]
