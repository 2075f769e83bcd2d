"""Online trainers lift a model that wins about half of its games.

Every run prints its line (``pytest -s -m slow tests/learning/test_online_lift.py``).
"""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from tests.trainers.lift_kit import config_from, lift, make_beginner

from playpen.training import train

PLAN = tomllib.loads((Path(__file__).parent / "plan.toml").read_text(encoding="utf-8"))[
    "online_lift"
]

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("seed", PLAN["seeds"])
@pytest.mark.parametrize("trainer", ["grpo", "rloo"])
def test_play_lifts_a_beginner(trainer: str, seed: int, tmp_path: Path) -> None:
    beginner = make_beginner(tmp_path, seed)
    config = config_from(beginner, seed, PLAN["instances"], PLAN["trainer"])
    start, change = lift(beginner, train(trainer, config, tmp_path / trainer), seed)
    assert 0.2 <= start <= 0.6
    assert change.difference >= PLAN["margin"]
    assert change.p < PLAN["p"]
