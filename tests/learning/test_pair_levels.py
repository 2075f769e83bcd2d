"""Pairs of replies against pairs of dialogues, for as many sampled and as many trained tokens.

Both kinds come from the same model, which wins about half of its games, and train it with the same
mask, that of the learner's own tokens.  Every run prints its row (``pytest -s -m slow
tests/learning/test_pair_levels.py``).  Which kind is better is the result, not the test: the test
holds that the comparison was a fair one.
"""

from __future__ import annotations

import json
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest
from tests.trainers.lift_kit import config_from, make_beginner, self_play, unseen

from playpen.training import train
from playpen_trainers.demo import success
from playpen_trainers.sign_test import compare

PLAN = tomllib.loads((Path(__file__).parent / "plan.toml").read_text(encoding="utf-8"))[
    "pair_levels"
]
KINDS = ("dialogue", "turn")

pytestmark = pytest.mark.slow


def counts(output: Path) -> dict[str, float]:
    """What was played and found, from the first line of the log."""
    with (output / "metrics.jsonl").open(encoding="utf-8") as file:
        found: dict[str, float] = json.loads(file.readline())
    return found


def trained(folder: Path, beginner: Path, seed: int, kind: str, rate: float) -> tuple[Path, str]:
    """The model that learned from one kind of pairs, and a line about what it took."""
    settings: dict[str, Any] = {**PLAN["trainer"], **PLAN[kind]["trainer"], "learning_rate": rate}
    per_level = PLAN[kind]["instances"]
    # The pairs are collected once; how often they are passed over depends on their tokens.
    collected = folder / f"{kind}-pairs"
    if not collected.exists():
        first = config_from(beginner, seed, per_level, {**settings, "max_steps": 1})
        train("dpo", first, collected)
    numbers = counts(collected)
    epochs = PLAN["trained_tokens"] / numbers["trained_tokens"]
    output = folder / f"{kind}-{rate}"
    output.mkdir()
    shutil.copy(collected / "pairs.jsonl", output)
    config = config_from(beginner, seed, per_level, {**settings, "num_train_epochs": epochs})
    assert abs(numbers["sampled_tokens"] / PLAN["sampled_tokens"] - 1) < PLAN["tolerance"]
    return train("dpo", config, output), (
        f"{numbers['sampled_tokens']:,.0f} tokens sampled, {numbers['pairs']:,.0f} pairs, "
        f"{epochs:.2f} epochs of {numbers['trained_tokens']:,.0f} tokens"
    )


@pytest.mark.parametrize("seed", PLAN["seeds"])
def test_replies_against_dialogues(seed: int, tmp_path: Path) -> None:
    beginner = make_beginner(tmp_path, seed)
    instances = unseen(seed)
    before = self_play(beginner, instances, seed)
    share, half = success(before)
    print(f"\nseed {seed}: before {100 * share:.1f} ± {100 * half:.1f} % of {len(before)} won")
    assert 0.2 <= share <= 0.6
    for rate in PLAN["learning_rates"]:
        after = {}
        for kind in KINDS:
            model, effort = trained(tmp_path, beginner, seed, kind, rate)
            after[kind] = self_play(model, instances, seed)
            share, half = success(after[kind])
            gain = compare(before, after[kind])
            print(
                f"learning rate {rate:g}, {kind:9}{100 * share:.1f} ± {100 * half:.1f}  "
                f"{100 * gain.difference:+.1f}, p = {gain.p:.2g}  ({effort})"
            )
        change = compare(after["dialogue"], after["turn"])
        print(f"turn - dialogue: {100 * change.difference:+.1f}, p = {change.p:.2g}")
