"""Training started by accelerate and by torchrun: one process, and two that share the work."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.trainers.lift_kit import make_base

from playpen import get_game

pytestmark = pytest.mark.slow

CONFIG = """
[learner]
player = "hf:{base}"
[games]
names = ["taboo"]
levels = ["mini"]
per_level = 40
[rollout]
max_new_tokens = 8
[trainer]
learning_rate = 1e-3
logging_steps = 1
[trainer.sft]
max_steps = 3
[trainer.grpo]
max_steps = 3
num_generations = 4
per_device_train_batch_size = 8
"""
ONE = ["accelerate.commands.launch", "--cpu", "--num_processes=1", "--num_machines=1",
       "--mixed_precision=no", "--dynamo_backend=no", "-m", "playpen"]  # fmt: skip
TWO = ["torch.distributed.run", "--nproc_per_node=2", "-m", "playpen"]


@pytest.mark.parametrize("trainer", ["sft", "grpo"])
@pytest.mark.parametrize("launcher", [ONE, TWO], ids=["accelerate", "torchrun, two processes"])
def test_training_by_a_launcher(launcher: list[str], trainer: str, tmp_path: Path) -> None:
    make_base(tmp_path / "base", get_game("taboo"), seed=0)
    config = tmp_path / "train.toml"
    config.write_text(CONFIG.format(base=tmp_path / "base"), encoding="utf-8")
    output = tmp_path / "out"
    done = subprocess.run(
        [sys.executable, "-m", *launcher, "train", trainer, "-c", str(config), "-o", str(output)],
        capture_output=True,
        text=True,
        env={**os.environ, "ACCELERATE_USE_CPU": "true"},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("The checkpoint is a player") == 1
    lines = [json.loads(x) for x in (output / "metrics.jsonl").read_text().splitlines()]
    steps = [line["step"] for line in lines if "loss" in line]
    assert steps == [1, 2, 3]
    assert (output / "final" / "model.safetensors").is_file()
