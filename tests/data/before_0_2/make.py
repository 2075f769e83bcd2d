"""How the files beside this one were made: by commit 919d077, the last one before version 0.2.0.

    git worktree add ../before-0.2 919d077
    cp -r tests/data ../before-0.2/tests/
    cd ../before-0.2 && make install && .venv/bin/python -m tests.data.before_0_2.make

``before/`` is the directory of somebody who worked with that version until all processes were ended
by SIGKILL: in the middle of a run, of an evaluation and of five trainings.  ``after/`` is what the
same commit made of a copy of it with the commands in `GOING_ON`; of that, what `RESULTS` names.
A later version has to arrive at the same, so none may make these files anew.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.data.before_0_2.players import SLOW

from playpen_trainers.tiny import make_tiny_model

HERE = Path(__file__).parent
CARELESS = "program:tests.data.before_0_2.players:careless"
MEASURED = "taboo,referencegame,mmlu_pro"

INSTANCES = {
    "taboo": ("high_en", "low_en"),
    "referencegame": ("letter_grids", "random_grids"),
    "codenames": ("opponent_difficult",),
    "mmlu_pro": ("sums", "stock"),
}
"""Per game the levels of which two instances are imported, under the name ``older``."""

RUN = f"""play taboo referencegame codenames --instances older -n 6 --seed 7 --concurrency 4
    --max-episode-replies 30 -p {CARELESS} -p describer=program:oracle -p cluegiver=program:oracle
    -o run"""
ORACLE = f"""eval program:oracle --games {MEASURED} --instances older --repeats 2 --name oracle
    -o oracle --json"""
CARELESS_EVALUATION = f"""eval {CARELESS} --games {MEASURED} --instances older --repeats 2
    --concurrency 4 --name careless -o careless --json"""
TALKS = """play taboo --instances mini.json -n 40 --seed 1 -o talks
    -p hf:model?temperature=1&max_new_tokens=8"""

WARM_UP: dict[str, dict[str, Any]] = {
    "learner": {"player": "hf:base"},
    "games": {"names": ["taboo"], "levels": ["mini"], "per_level": 600},
    "trainer": {
        "num_train_epochs": 3,
        "per_device_train_batch_size": 16,
        "learning_rate": 8e-3,
    },
}
"""How the model learned that the trainings begin with."""

TRAINED_ON: dict[str, dict[str, Any]] = {
    "learner": {"player": "hf:model"},
    "games": {
        "names": ["taboo"],
        "levels": ["mini"],
        "files": {"taboo": "mini.json"},
        "curriculum": "success",
    },
    "rollout": {"max_new_tokens": 8},
    "eval": {"every": 2, "episodes": 12, "temperature": 1.0, "metric": "score", "patience": 9},
    "trainer": {
        "max_steps": 6,
        "save_steps": 3,
        "save_total_limit": 1,
        "logging_steps": 1,
        "learning_rate": 4e-3,
        "warmup_steps": 0,
        "dtype": "float32",
        "bf16": False,
    },
}
"""What the trainings have in common."""

TRAININGS: dict[str, dict[str, dict[str, Any]]] = {
    "sft": {
        "games": {"held_out": ["held-out.txt"]},
        "trainer": {"per_device_train_batch_size": 8},
    },
    "rft": {
        "eval": {"every": 1, "episodes": 12},
        "trainer": {
            "iterations": 2,
            "samples": 2,
            "keep": "best",
            "max_steps": 4,
            "save_steps": 2,
            "lora_r": 2,
        },
    },
    "dpo": {
        "data": {"runs": ["talks"]},
        "trainer": {"per_device_train_batch_size": 4, "lora_r": 2, "lora_dropout": 0.1},
    },
    "kto": {
        "rollout": {"episodes": 32},
        "trainer": {"per_device_train_batch_size": 8, "lora_r": 2},
    },
    "grpo": {
        "teacher": {
            "partners": ["program:oracle"],
            "partner_share": 0.6,
            "snapshot_every": 2,
            "choice": "hard",
        },
        "trainer": {
            "per_device_train_batch_size": 16,
            "num_generations": 4,
            "baseline": "running",
            "beta": 0.1,
            "lora_r": 2,
        },
    },
}
LAST_STEP = 4
"""The last optimiser step that each of them logged, one after it wrote a checkpoint."""

GOING_ON = [
    "report talks oracle grpo --format json > report.json",
    "eval talks --name talks -o measured --json > measured.json",
    "data export talks --format dpo -o pairs",
    "resume run",
    "score run --json > score.json",
    "replay run --out replay.jsonl",
    f"{ORACLE} > oracle.json",
    f"{CARELESS_EVALUATION} > careless.json",
    "compare oracle careless --json > compare.json",
    *(f"train {name} -c {name}/train.json -o {name}" for name in TRAININGS),
]
"""What is done in the directory: arguments of ``playpen``, and where its output goes."""

RESULTS = [
    "*.json",
    "pairs/train.jsonl",
    "run/episodes.*",
    "replay.jsonl",
    "careless/runs/games/episodes.jsonl",
    "careless/*/*.csv",
    "*/metrics.jsonl",
    "*/checkpoints/*/playpen.json",
    "*/final/*.safetensors",
    "*/best/*.safetensors",
    "grpo/partners/*/*.safetensors",
    "rft/iteration-[12]/*.json*",
    "rft/iteration-[12]/final/*.safetensors",
]
"""What is kept of the results."""


def main() -> None:
    """Make both directories anew."""
    assert importlib.metadata.version("playpen-core") == "0.1.0", "later versions only read them"
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        prepare(work)
        interrupt(work, RUN, work / "run" / "episodes.jsonl", lambda lines: len(lines) >= 9)
        tear(work / "run" / "episodes.jsonl")
        call(work, f"{ORACLE} > oracle.json")
        interrupt(
            work,
            CARELESS_EVALUATION,
            work / "careless" / "runs" / "games" / "episodes.jsonl",
            lambda lines: len(lines) >= 12,
        )
        for name, own in TRAININGS.items():
            write_config(work / f"{name}.json", own)
            interrupt(
                work,
                f"train {name} -c {name}.json -o {name}",
                work / name / "metrics.jsonl",
                trained,
            )
            (work / f"{name}.json").unlink()
        keep(work, HERE / "before", ["**/*"])
        for line in GOING_ON:
            call(work, line)
        (work / "mini.json").unlink()
        keep(work, HERE / "after", RESULTS)


def prepare(work: Path) -> None:
    """Import instances, make a tiny model that plays taboo a little, and let it play."""
    for game, levels in INSTANCES.items():
        experiments = []
        for level in levels:
            made = f"{game}-{level}.json"
            call(work, f"instances generate {game} --split validation --level {level} -o {made}")
            [experiment] = json.loads((work / made).read_text())["experiments"]
            experiments.append({**experiment, "game_instances": experiment["game_instances"][:2]})
            (work / made).unlink()
        (work / "file.json").write_text(json.dumps({"experiments": experiments}))
        call(work, f"instances import file.json --game {game} --name older")
        (work / "file.json").unlink()
    call(work, "instances hashes taboo --instances older -o held-out.txt")
    call(work, "instances generate taboo --level mini -n 600 -o mini.json")
    [mini] = json.loads((work / "mini.json").read_text())["experiments"]
    make_tiny_model(work / "base", words_of(mini), hidden_size=32, layers=1, context=128)
    write_config(work / "warm.json", WARM_UP, {})
    call(work, "train sft -c warm.json -o warm")
    (work / "warm" / "final").rename(work / "model")
    for name in ("base", "warm"):
        shutil.rmtree(work / name)
    (work / "warm.json").unlink()
    # Two experiments, so that a curriculum has something to choose from.
    found = mini["game_instances"]
    experiments = [
        {**mini, "game_instances": found[:12]},
        {**mini, "name": "short", "max_turns": 1, "game_instances": found[12:24]},
    ]
    (work / "mini.json").write_text(json.dumps({"experiments": experiments}))
    call(work, TALKS)


def words_of(experiment: dict[str, Any]) -> set[str]:
    """All words that occur in an experiment of taboo's closed world, and in replies."""
    texts = [experiment[f"{role}_initial_prompt"] for role in ("describer", "guesser")]
    for instance in experiment["game_instances"]:
        texts += [instance["target_word"], *instance["related_word"]]
    return {word for text in ["CLUE: GUESS: -", *texts] for word in text.split() if "$" not in word}


def write_config(
    path: Path, own: dict[str, dict[str, Any]], shared: dict[str, dict[str, Any]] = TRAINED_ON
) -> None:
    """Write the configuration of a training, in the form of its train.json."""
    tables = {name: {**shared.get(name, {}), **own.get(name, {})} for name in {**shared, **own}}
    path.write_text(json.dumps({"config": tables}))


def start(work: Path, line: str, **more: Any) -> subprocess.Popen[bytes]:
    """Start ``playpen`` in a directory, as somebody with one core and no accelerator."""
    own = {"PLAYPEN_HOME": str(work / "home"), "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    path = os.pathsep.join([str(HERE.parents[2]), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, **own, "PYTHONPATH": path, **more.pop("env", {})}
    command = [sys.executable, "-m", "playpen", *line.split()]
    return subprocess.Popen(command, cwd=work, env=environment, **more)


def call(work: Path, line: str) -> None:
    """Do what a line says, to its end."""
    arguments, _, output = line.partition(" > ")
    with (work / output).open("wb") if output else contextlib.nullcontext() as file:
        assert start(work, arguments, stdout=file).wait() == 0, line


def interrupt(work: Path, line: str, file: Path, enough: Callable[[list[str]], bool]) -> None:
    """Start what a line says, and kill it as soon as a file has enough lines."""
    process = start(work, line, env={SLOW: "1"})
    while not (file.exists() and enough(file.read_text().splitlines())):
        assert process.poll() is None, f"it came to its end: {line}"
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, f"it came to its end: {line}"


def trained(lines: list[str]) -> bool:
    """Whether the log of a training tells of the last step."""
    found = map(json.loads, lines)
    return any(values["step"] == LAST_STEP and "loss" in values for values in found)


def tear(file: Path) -> None:
    """Leave of the last line what is on the disk if the machine goes down as well."""
    content = file.read_bytes()
    assert content.endswith(b"\n")
    file.write_bytes(content[:-60])


def keep(work: Path, folder: Path, patterns: list[str]) -> None:
    """Put files of a directory in the place of an earlier copy."""
    shutil.rmtree(folder, ignore_errors=True)
    for file in [file for pattern in patterns for file in work.glob(pattern) if file.is_file()]:
        target = folder / file.relative_to(work)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)


if __name__ == "__main__":
    main()
