"""What version 0.1 left half done is read, resumed, scored and compared with the same results.

`tests/data/before_0_2/make.py` tells how its files were made, and with which commands version 0.1
went on from them.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.core.command_line import good, playpen

OLDER = Path(__file__).parents[1] / "data" / "before_0_2"
BEFORE, AFTER = OLDER / "before", OLDER / "after"

TIMES = {"seconds", "started", "made", "tokens_per_second", "step_time"}
"""What is another number each time."""

TRAINERS = ("sft", "rft", "dpo", "kto", "grpo")


def copy(folder: Path) -> Path:
    """A copy of the directory that version 0.1 left."""
    shutil.copytree(BEFORE, folder)
    return folder


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory that version 0.1 left, as the working directory."""
    folder = copy(tmp_path / "work")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PLAYPEN_HOME", str(folder / "home"))
    return folder


def leaves(value: Any, path: str = "") -> dict[str, Any]:
    """All parts of a JSON value that have no parts, but times, by where they are."""
    if not isinstance(value, dict | list) or not value:
        return {path: repr(value) if isinstance(value, dict | list) else value}
    parts = value.items() if isinstance(value, dict) else enumerate(value)
    return {
        place: leaf
        for name, part in parts
        if name not in TIMES
        for place, leaf in leaves(part, f"{path}/{name}").items()
    }


def assert_same(found: Any, expected: Any, *, rel: float = 1e-9, abs: float = 1e-12) -> None:
    """Assert that JSON values are equal but for times, and for how a CPU rounds."""
    numbers, others = [], []
    for part in (leaves(found), leaves(expected)):
        numbers.append({place: leaf for place, leaf in part.items() if type(leaf) is float})
        others.append({place: leaf for place, leaf in part.items() if type(leaf) is not float})
    assert others[0] == others[1]
    assert numbers[0] == pytest.approx(numbers[1], rel=rel, abs=abs)


CHANGED = re.compile(
    r"/(intervals|low|high|p|p_holm|detectable|format|skill|notes|chosen_run_config"
    r"|rejected_run_config)(/|$)"
    r"|^/runs/\d+/scores/|^/(played|quality|clemscore)$"
)
"""What 0.2 tells in another way: other intervals (and what rests on them), no averages over
dialogue games and static benchmarks together, hashes of a configuration with new fields."""

RENAMED = {"dialogue games": "clemscore", "static benchmarks": "statscore"}
"""What scores over instances that nobody published were called before."""


def as_it_was(value: Any) -> Any:
    """A JSON value with the names of version 0.1."""
    if isinstance(value, list):
        return [as_it_was(part) for part in value]
    if not isinstance(value, dict):
        return value
    value = {RENAMED.get(name, name): as_it_was(part) for name, part in value.items()}
    if "evaluation" in value:  # a val.json: its scores were bare numbers
        for name in RENAMED.values():
            if isinstance(value.get(name), dict):
                value[name] = value[name]["score"]
    return value


def assert_kept(found: Any, expected: Any) -> None:
    """Assert that what version 0.1 told is still told, except for what has changed."""
    told = leaves(as_it_was(found))
    for place, leaf in leaves(expected).items():
        if CHANGED.search(place):
            continue
        assert place in told, place
        if type(leaf) is float:
            assert told[place] == pytest.approx(leaf, rel=1e-9, abs=1e-12), place
        else:
            assert told[place] == leaf, place


def read(path: Path) -> Any:
    """The content of a JSON file, or the lines of a JSON Lines file."""
    text = path.read_text(encoding="utf-8")
    return (
        [json.loads(line) for line in text.splitlines()]
        if ".jsonl" in path.name
        else json.loads(text)
    )


def episodes(path: Path) -> list[dict[str, Any]]:
    """The episodes of a file in the order of their identities, failed attempts first."""
    wanted = ("game", "instance", "players", "seed", "repeat", "attempts")
    return sorted(
        read(path), key=lambda episode: json.dumps([episode.get(name, 1) for name in wanted])
    )


# --- runs and evaluations ------------------------------------------------------------------------


def test_an_interrupted_run_is_resumed(work: Path):
    before = (work / "run" / "episodes.jsonl").read_bytes()
    assert b'"failure":{' in before and not before.endswith(b"\n")

    good("resume", "--trust", "run")
    assert_same(
        episodes(work / "run" / "episodes.jsonl"), episodes(AFTER / "run" / "episodes.jsonl")
    )
    whole = before.rpartition(b"\n")[0]
    assert (work / "run" / "episodes.jsonl").read_bytes().startswith(whole)
    torn = (work / "run" / "episodes.torn").read_bytes()
    assert torn == (AFTER / "run" / "episodes.torn").read_bytes()
    assert "Nothing was left to play" in good("resume", "--trust", "run")


def test_a_finished_run_is_scored_replayed_and_read(work: Path):
    shutil.copy(AFTER / "run" / "episodes.jsonl", work / "run")

    expected = read(AFTER / "score.json")
    assert_kept(json.loads(playpen("score", "run", "--json").out), expected)
    assert_kept(read(work / "run" / "scores.json"), expected)
    [panel] = read(work / "run" / "scores.json")["panels"]
    assert [panel[name] for name in ("played", "quality", "score")] == [
        expected[name] for name in ("played", "quality", "clemscore")
    ]

    good("replay", "run", "--out", "replay.jsonl")
    assert_same(read(work / "replay.jsonl"), read(AFTER / "replay.jsonl"))

    for number, episode in enumerate(read(work / "run" / "episodes.jsonl"), 1):
        shown = good("transcript", "run", str(number))
        said = [event["reply"]["text"] for event in episode["events"] if event["type"] == "reply"]
        assert said or episode["failure"]
        assert [word for text in said for word in text.split() if word not in shown] == []


def test_an_interrupted_evaluation_is_continued_and_compared(work: Path):
    """The same command goes on; it is in the record of what was played."""
    for name in ("oracle", "careless"):
        run = work / name / "runs" / "games"
        before = (run / "episodes.jsonl").read_bytes()
        found = json.loads(good(*read(run / "run.json")["command"]))
        assert_kept(found, read(AFTER / f"{name}.json"))
        assert (run / "episodes.jsonl").read_bytes().startswith(before)
        assert ((run / "episodes.jsonl").read_bytes() == before) == (name == "oracle")
    expected = AFTER / "careless"
    assert_same(
        episodes(work / "careless" / "runs" / "games" / "episodes.jsonl"),
        episodes(expected / "runs" / "games" / "episodes.jsonl"),
    )
    tables = sorted(path.relative_to(expected) for path in expected.glob("*/*.csv"))
    assert len(tables) == 4
    for table in tables:
        assert (work / "careless" / table).read_text() == (expected / table).read_text()

    found = json.loads(good("compare", "oracle", "careless", "--json"))
    assert_kept(found, read(AFTER / "compare.json"))


def test_what_a_model_said_is_measured_and_made_into_pairs(work: Path):
    found = good("eval", "talks", "--name", "talks", "-o", "measured", "--json")
    assert_kept(json.loads(found), read(AFTER / "measured.json"))

    good("data", "export", "talks", "--format", "dpo", "-o", "pairs")
    pairs = "pairs/train.jsonl"
    assert_kept(read(work / pairs), read(AFTER / pairs))


def test_a_report_of_older_runs_and_a_training(work: Path):
    found = good("report", "talks", "oracle", "grpo", "--format", "json")
    assert_kept(json.loads(found), read(AFTER / "report.json"))

    good("report", "talks", "oracle", "grpo", "-o", "report.html")
    page = (work / "report.html").read_text(encoding="utf-8")
    assert all(name in page for name in ("talks", "oracle", "grpo"))


def test_an_older_run_goes_to_clemcore_and_back(work: Path):
    good("export-run", "oracle/runs/games", "exported")
    good("import-run", "exported", "-o", "imported")
    games = [
        json.loads(good("score", run, "--json"))["games"]
        for run in ("oracle/runs/games", "imported")
    ]
    assert games[0]
    assert games[0] == games[1]


def test_a_list_of_held_out_instances_would_be_written_as_it_was(work: Path):
    good("instances", "hashes", "taboo", "--instances", "older", "-o", "again.txt")
    assert (work / "again.txt").read_bytes() == (work / "held-out.txt").read_bytes()


# --- trainings -----------------------------------------------------------------------------------

PROCESS = """
import json, runpy, sys

for arguments in json.load(sys.stdin):
    sys.argv = ["playpen", *arguments]
    try:
        runpy.run_module("playpen", run_name="__main__")
    except SystemExit as end:
        if end.code:
            raise
"""


@pytest.fixture(scope="module")
def resumed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory that version 0.1 left, with all trainings resumed.

    They run in a process of their own without an accelerator: the results are those of a CPU.
    """
    folder = copy(tmp_path_factory.mktemp("older") / "work")
    # Version 0.1 learned from recordings of any split; now the splits have to be named.
    splits = 'data.splits=["train", "validation", "unknown"]'
    commands = [
        ["train", name, "-c", f"{name}/train.json", "--set", splits, "-o", name]
        for name in TRAINERS
    ]
    done = subprocess.run(
        [sys.executable, "-c", PROCESS],
        input=json.dumps(commands),
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "PLAYPEN_HOME": str(folder / "home")},
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


def weights(folder: Path) -> Mapping[str, np.ndarray]:
    """The weights in a checkpoint."""
    from safetensors.numpy import load_file

    [file] = folder.glob("*.safetensors")
    return load_file(file)


def distance(some: Mapping[str, np.ndarray], others: Mapping[str, np.ndarray]) -> float:
    """The Euclidean distance of weights."""
    assert some.keys() == others.keys()
    return float(np.sqrt(sum(((some[name] - others[name]) ** 2).sum() for name in some)))


@pytest.mark.parametrize("name", TRAINERS)
def test_an_interrupted_training_is_resumed(resumed: Path, name: str):
    before, after, found = BEFORE / name, AFTER / name, resumed / name
    [checkpoint] = before.glob("**/checkpoint-*")
    step = 3  # of the checkpoint
    assert read(before / "metrics.jsonl")[-1]["step"] == step + 1

    # Not done anew: else these lines would tell other times.
    lines = (before / "metrics.jsonl").read_bytes().splitlines()
    kept = [line for line in lines if json.loads(line)["step"] <= step]
    assert (found / "metrics.jsonl").read_bytes().splitlines()[: len(kept)] == kept
    resolved = read(found / "train.json")
    assert resolved["config"]["data"].pop("splits") == ["train", "validation", "unknown"]
    assert resolved == read(before / "train.json")

    rounded = {"rel": 1e-3, "abs": 1e-4}
    assert_same(read(found / "metrics.jsonl"), read(after / "metrics.jsonl"), **rounded)
    states = sorted(path.relative_to(after) for path in after.glob("**/*.json*"))
    for path in states:
        assert_same(read(found / path), read(after / path), **rounded)

    checkpoints = {path.parent.relative_to(after) for path in after.glob("**/*.safetensors")}
    assert checkpoints
    start = weights(checkpoint)
    for folder in checkpoints:
        expected = weights(after / folder)
        allowed = 0.01 * distance(expected, start)
        assert distance(weights(found / folder), expected) <= allowed, folder
