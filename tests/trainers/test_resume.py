"""Training that is killed and continued in a new process ends as if nothing had happened."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import random
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from transformers import TrainerControl, TrainerState, TrainingArguments

from playpen import get_game, make_player, play
from playpen.instance_sets import parse_instances
from playpen_trainers import checkpointing
from playpen_trainers.demo import mini_instances, vocabulary
from playpen_trainers.tiny import make_tiny_model

TIMINGS = ("tokens_per_second", "step_time")
WARM_UP = {"num_train_epochs": 3, "per_device_train_batch_size": 32, "learning_rate": 4e-3}
SFT = {
    "max_steps": 12,  # of 8 steps in an epoch
    "per_device_train_batch_size": 16,
    "learning_rate": 4e-3,
    "lora_r": 4,
    "lora_dropout": 0.2,
    "save_steps": 4,
    "logging_steps": 1,
}
GRPO = {
    "max_steps": 12,
    "per_device_train_batch_size": 8,
    "gradient_accumulation_steps": 1,
    "steps_per_generation": 4,
    "num_generations": 4,
    "learning_rate": 1e-3,
    "save_steps": 4,
}
POOL = {"partners": ["program:oracle"], "partner_share": 0.6}
EVAL = {"every": 2, "episodes": 20, "temperature": 1.0, "patience": 20}

FORKED = multiprocessing.get_context("forkserver")
"""What takes long to import is imported once; every training is a new process all the same."""
FORKED.set_forkserver_preload(["playpen_trainers.sft", "playpen_trainers.grpo", __name__])
SPAWNED = multiprocessing.get_context("spawn")
"""A new interpreter, with other hash values: what takes long, so for one case only."""


def config(model: Path, trainer: dict[str, Any], **tables: Any) -> dict[str, Any]:
    games = {"names": ["taboo"], "levels": ["mini"], "per_level": 72, **tables.pop("games", {})}
    return {
        "learner": {"player": f"hf:{model}"},
        "games": games,
        "rollout": {"max_new_tokens": 8, "concurrency": 16},
        "trainer": trainer,
        **tables,
    }


class Unsteady:
    """A clock in whose eyes everything takes another time in every process."""

    def __init__(self) -> None:
        self._chance = random.Random(time.time_ns())
        self._now = 0.0

    time = staticmethod(time.time)

    def perf_counter(self) -> float:
        self._now += self._chance.choice([0.0, 0.01, 0.06])
        return self._now


def train_in_this_process(job: dict[str, Any]) -> None:
    """Train, record what is played, and die where the job says so."""
    from playpen import rollout
    from playpen.hookspecs import hookimpl
    from playpen.plugins import registry
    from playpen.training import TrainConfig, train
    from playpen_trainers.online import OnlineRollouts

    with Path(job["errors"]).open("w") as file:
        os.dup2(file.fileno(), 2)
    torch.set_num_threads(1)
    # Episodes pause by the clock; nothing else may depend on it.
    rollout.time = Unsteady()  # type: ignore[assignment]
    played: list[dict[str, Any]] = []
    original = OnlineRollouts.play

    def recorded(self, learner, groups, size):
        batch = original(self, learner, groups, size)
        met = sorted({name for e in batch.episodes for name in e.players.values()})
        played.append({"digest": batch.digest(), "met": met})
        Path(job["played"]).write_text(json.dumps(played))
        return batch

    class Killer:
        @hookimpl
        def playpen_train_logged(self, step, values):
            if step == job["kill_at"] and "loss" in values:
                os.kill(os.getpid(), signal.SIGKILL)

    OnlineRollouts.play = recorded  # type: ignore[method-assign]
    registry().manager.register(Killer())
    train(job["trainer"], msgspec.convert(job["config"], TrainConfig), job["output"])


def run_process(
    folder: Path,
    trainer: str,
    settings: dict[str, Any],
    kill_at: int | None = None,
    processes: Any = FORKED,
) -> list[dict[str, Any]]:
    """Train in a new process; give what was played in it."""
    folder.parent.mkdir(exist_ok=True)
    played, errors = (folder.with_name(f"{folder.name}.{kind}") for kind in ("json", "err"))
    played.write_text("[]")
    job = {"trainer": trainer, "config": settings, "output": str(folder), "kill_at": kill_at}
    job |= {"played": str(played), "errors": str(errors)}
    process = processes.Process(target=train_in_this_process, args=(job,))
    process.start()
    process.join()
    assert process.exitcode == (-signal.SIGKILL if kill_at else 0), errors.read_text()[-4000:]
    found: list[dict[str, Any]] = json.loads(played.read_text())
    return found


def checkpoints(output: Path) -> list[int]:
    folders = (output / "checkpoints").glob("checkpoint-*")
    return sorted(int(path.name.removeprefix("checkpoint-")) for path in folders)


def outcome(output: Path) -> dict[str, Any]:
    """Hashes of the final weights and of the optimiser, the state of our parts, what was logged."""
    found: dict[str, Any] = {
        str(path.relative_to(output)): hashlib.sha256(path.read_bytes()).hexdigest()
        for folder in ("final", "best", "partners")
        for path in sorted((output / folder).rglob("*.safetensors"))
    }
    last = output / "checkpoints" / f"checkpoint-{checkpoints(output)[-1]}"
    digest = hashlib.sha256()
    for number, values in sorted(
        torch.load(last / "optimizer.pt", weights_only=True)["state"].items()
    ):
        for name, value in sorted(values.items()):
            digest.update(f"{number} {name}".encode() + value.numpy().tobytes())
    lines = map(json.loads, (output / "metrics.jsonl").read_text().splitlines())
    return found | {
        "checkpoints": checkpoints(output),
        "optimiser": digest.hexdigest(),
        "parts": json.loads((last / "playpen.json").read_text()),
        "metrics": [{k: v for k, v in line.items() if k not in TIMINGS} for line in lines],
    }


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model that has learned to play taboo's mini world a little, and an adapter on it."""
    folder = tmp_path_factory.mktemp("models")
    words = vocabulary(mini_instances(get_game("taboo"), "train", 0))
    make_tiny_model(folder / "base", words, hidden_size=64)
    warm_up = config(folder / "base", WARM_UP, games={"per_level": 600})
    run_process(folder / "sft", "sft", warm_up)
    shutil.move(folder / "sft" / "final", folder / "warm")
    adapted = config(folder / "warm", {"max_steps": 2, "lora_r": 4, "lora_dropout": 0.2})
    run_process(folder / "lora", "sft", adapted)
    shutil.move(folder / "lora" / "final", folder / "adapted")
    return folder


# --- killed and continued ------------------------------------------------------------------------


def test_supervised_training_is_continued_exactly(models: Path, tmp_path: Path):
    settings = config(models / "warm", SFT, eval={**EVAL, "every": 3})
    run_process(tmp_path / "undisturbed", "sft", settings)
    expected = outcome(tmp_path / "undisturbed")
    assert [line["step"] for line in expected["metrics"] if "loss" in line] == [*range(1, 13)]

    output = tmp_path / "killed"
    run_process(output, "sft", settings, kill_at=6)
    assert checkpoints(output) == [4]
    run_process(output, "sft", settings, kill_at=10)  # continued from 4, killed once more
    assert checkpoints(output) == [4, 8]  # 8 is the end of the first epoch
    run_process(output, "sft", settings)
    assert outcome(output) == expected


@pytest.mark.parametrize(
    ("learner", "trainer", "tables", "kill_at"),
    [
        pytest.param(
            "warm",
            {"baseline": "running"},
            {
                "teacher": POOL | {"snapshot_every": 2, "snapshots": 2, "choice": "hard"},
                "games": {"curriculum": "success"},
                "eval": EVAL,
            },
            6,
            id="full",
        ),
        pytest.param(
            # Snapshot 4 is met in the second and in the third generation batch: the process that
            # continues loads it anew, in between.
            "warm",
            {
                "per_device_train_batch_size": 16,
                "lora_r": 4,
                "lora_dropout": 0.2,
                "logging_steps": 5,
                "save_total_limit": 1,
            },
            {"teacher": POOL | {"snapshot_every": 4, "partner_share": 0.9}},
            10,
            id="lora",
        ),
        pytest.param(
            # Trained further, compared with what it was in the beginning.
            "adapted",
            {"beta": 0.05, "off_policy": "trainer", "num_iterations": 2, "save_steps": 8},
            {
                "teacher": POOL | {"snapshot_every": 2, "choice": "recent"},
                "games": {"fresh": True, "per_level": 3},
            },
            10,
            id="adapter",
        ),
    ],
)
def test_online_training_is_continued_exactly(
    models: Path, tmp_path: Path, learner: str, trainer: dict, tables: dict, kill_at: int
):
    settings = config(models / learner, GRPO | {"max_steps": 16} | trainer, **tables)
    played = run_process(tmp_path / "undisturbed", "grpo", settings)
    output = tmp_path / "killed"
    before = run_process(output, "grpo", settings, kill_at=kill_at)
    every = 16 // len(played)  # optimiser steps for each generation batch
    assert kill_at % every, "it is to be killed inside a generation batch"
    processes = SPAWNED if learner == "warm" and "lora_r" not in trainer else FORKED
    after = run_process(output, "grpo", settings, processes=processes)

    begun = checkpoints_before(kill_at, settings) // every
    assert before[:begun] + after == played
    assert before == played[: len(before)]
    assert outcome(output) == outcome(tmp_path / "undisturbed")
    met_later = {name for batch in after for name in batch["met"]}
    assert any(name.startswith("learner@") for name in met_later)
    assert {"learner", "program:oracle"} <= {name for batch in played for name in batch["met"]}
    assert output.joinpath("partners").is_dir()


def checkpoints_before(step: int, settings: dict[str, Any]) -> int:
    """The step of the last checkpoint before another step."""
    every: int = settings["trainer"]["save_steps"]
    return (step - 1) // every * every


def test_killed_before_the_first_checkpoint(models: Path, tmp_path: Path):
    settings = config(models / "warm", GRPO | {"max_steps": 4}, eval=EVAL)
    run_process(tmp_path / "undisturbed", "grpo", settings)
    run_process(tmp_path / "killed", "grpo", settings, kill_at=2)
    run_process(tmp_path / "killed", "grpo", settings)
    assert outcome(tmp_path / "killed") == outcome(tmp_path / "undisturbed")


def test_killed_while_a_checkpoint_is_written(models: Path, tmp_path: Path):
    teacher = POOL | {"snapshot_every": 2, "snapshots": 1}
    settings = config(models / "warm", GRPO | {"save_total_limit": 1}, teacher=teacher)
    run_process(tmp_path / "undisturbed", "grpo", settings)
    output = tmp_path / "killed"
    run_process(output, "grpo", settings, kill_at=8)  # just before the checkpoint
    assert checkpoints(output) == [4]
    unfinished = output / "checkpoints" / "checkpoint-8"
    shutil.copytree(output / "checkpoints" / "checkpoint-4", unfinished)
    (unfinished / "playpen.json").unlink()
    (unfinished / "model.safetensors").write_bytes(b"half of it")
    run_process(output, "grpo", settings)
    assert outcome(output) == outcome(tmp_path / "undisturbed")


def test_killed_while_the_end_is_saved(models: Path, tmp_path: Path):
    """What was trained to its end, or stopped early, is not trained on."""
    stop = {"every": 2, "episodes": 8, "patience": 1, "keep_best": False, "metric": "played"}
    for name, options, tables in [
        ("ended", {"max_steps": 6, "save_steps": 2}, {}),  # in the middle of an epoch
        ("stopped", {"max_steps": 20, "save_steps": 2, "learning_rate": 1e-9}, {"eval": stop}),
    ]:
        output = tmp_path / name
        settings = config(models / "warm", SFT | options, **tables)
        run_process(output, "sft", settings)
        expected = outcome(output)
        assert expected["metrics"][-1]["step"] == (6 if name == "ended" else 2)
        assert (output / "final" / "adapter_model.safetensors").is_file()
        names = {path.name for path in (output / "final").iterdir()}
        shutil.move(output / "final", output / "final.tmp")
        run_process(output, "sft", settings)
        assert outcome(output) == expected
        assert {path.name for path in (output / "final").iterdir()} == names


# --- what is on the disk -------------------------------------------------------------------------


def test_there_is_a_complete_checkpoint_at_every_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    keeper = checkpointing._Keeper([], limit=1)
    folder = tmp_path / "checkpoints"
    arguments = TrainingArguments(output_dir=str(folder), use_cpu=True)
    removed: list[str] = []
    original = shutil.rmtree

    def watched(path: Path) -> None:
        removed.append(path.name)
        assert checkpointing._complete_checkpoints(folder)
        assert path not in checkpointing._complete_checkpoints(folder).values()
        original(path)

    monkeypatch.setattr(checkpointing.shutil, "rmtree", watched)
    for step in (9, 10, 11):
        (folder / f"checkpoint-{step}").mkdir(parents=True)
        keeper.on_save(arguments, TrainerState(global_step=step), TrainerControl())
    assert removed == ["checkpoint-9", "checkpoint-10"]
    assert checkpointing.last_checkpoint(folder) == folder / "checkpoint-11"


def test_all_that_is_saved_is_a_player_without_pickles(models: Path, tmp_path: Path):
    """An adapter that is trained further has a frozen copy beside it, which is not saved."""
    settings = config(
        models / "adapted",
        GRPO | {"beta": 0.05, "max_steps": 4},
        teacher=POOL | {"snapshot_every": 2},
        eval=EVAL,
    )
    run_process(tmp_path / "out", "grpo", settings)
    saved = ["final", "best", "partners/step-2", "partners/step-4", "checkpoints/checkpoint-4"]
    game = get_game("taboo")
    instances = parse_instances(game.generate("validation", level="mini", n=2), game)
    for name in saved:
        folder = tmp_path / "out" / name
        files = {str(path.relative_to(folder)) for path in folder.rglob("*")}
        assert {"adapter_model.safetensors", "adapter_config.json", "tokenizer.json"} <= files
        assert not any("ref" in file for file in files)
        if "checkpoint" not in name:
            assert not [file for file in files if Path(file).suffix in {".bin", ".pt", ".pth"}]
        episodes = play(game, make_player(f"hf:{folder}?max_new_tokens=8"), instances)
        assert all(episode.failure is None for episode in episodes)
    trained, initial = tmp_path / "out" / "final", models / "adapted"
    weights = "adapter_model.safetensors"
    assert (trained / weights).read_bytes() != (initial / weights).read_bytes()
