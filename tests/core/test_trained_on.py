"""What a checkpoint was trained on is known where it is measured, down the chain of its bases."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.core.command_line import good, playpen, refused
from tests.core.tiny_model import save_tiny_model

from playpen.fingerprints import Mark, hash_list, read_hash_list
from playpen.store import Run
from playpen.trained_on import Exposure, exposures
from playpen.training import train
from playpen.training.config import ConfigError, DataTable, GamesTable, LearnerTable, TrainConfig
from playpen.training.run import TrainingRun
from playpen.training.trainer import Trainer

ORACLE = "program:oracle"


class Copying(Trainer):
    """Learns nothing: the checkpoint is a copy of the learner."""

    class Options(msgspec.Struct):
        """None."""

    def train(self, run: TrainingRun) -> Path:
        """Read what it would learn from, and copy the model."""
        if run.config.data.runs or not run.config.games.names:
            run.demonstrations()
        source = Path(run.learner.removeprefix("hf:"))
        shutil.copytree(source, run.output / "final", dirs_exist_ok=True)
        (run.output / "final" / "trained_on.tsv").unlink(missing_ok=True)
        return run.output / "final"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "playpen.training.plan.make_trainer", lambda name, config: Copying(Copying.Options())
    )
    return tmp_path


def learned(output: str, player: str, **data: Any) -> Path:
    """A training on recorded runs, or on what the oracle demonstrates of taboo."""
    games = GamesTable() if data else GamesTable(names=["taboo"], levels=["mini"], per_level=4)
    config = TrainConfig(learner=LearnerTable(player=player), games=games, data=DataTable(**data))
    return train("copying", config, output)


def test_validation_does_not_leak_into_training_by_the_readmes_example() -> None:
    """Once: 139 instances of validation were learned from, and scored as unseen."""
    save_tiny_model(Path("model"))
    good("play", "taboo", "-p", ORACLE, "-n", "3", "-o", "runs/first")
    with pytest.raises(ConfigError) as caught:
        learned("out", "hf:model", runs=["runs/first"])
    assert str(caught.value).startswith(
        "data.splits = ['train']: none of the 3 recorded episodes is of these splits "
        "(3 of validation).  Record with `playpen play --split train`"
    )
    good("play", "taboo", "-p", ORACLE, "-n", "3", "--split", "train", "-o", "runs/train")
    assert learned("out", "hf:model", runs=["runs/train"]).is_dir()


def test_what_is_named_may_be_learned_from_and_is_marked_wherever_it_is_scored() -> None:
    save_tiny_model(Path("model"))
    good("play", "taboo", "-p", ORACLE, "-n", "139", "-o", "runs/first")
    final = learned("out", "hf:model", runs=["runs/first"], splits=("train", "validation"))
    marks = list(read_hash_list(final / "trained_on.tsv"))
    assert len(marks) == 139 and {mark.game for mark in marks} == {"taboo"}
    spec = f"hf:{final}?max_new_tokens=1"
    good("play", "taboo", "-p", spec, "-n", "5", "-o", "measured")
    run = Run.open("measured")
    assert exposures([run]) == [Exposure(spec, "taboo", 139, 139)]
    told = f"{spec} was trained on 139 of the 139 instances of taboo"
    evaluated = playpen("eval", "measured", "-o", "out2", "--name", "m")
    assert told in " ".join(evaluated.out.split())
    document = json.loads(Path("out2/m.val.json").read_text(encoding="utf-8"))
    assert document["evaluation"]["trained_on"] == [
        {"player": spec, "game": "taboo", "instances": 139, "trained_on": 139}
    ]
    report = json.loads(good("report", "measured", "--format", "json"))
    assert told in report["runs"][0]["notes"]
    shutil.copytree("measured", "again")
    assert told in " ".join(good("compare", "measured", "again").split())
    compared = json.loads(good("compare", "measured", "again", "--json"))
    assert compared["again"]["trained_on"][0]["trained_on"] == 139


def test_strict_gives_no_score_over_what_was_trained_on() -> None:
    save_tiny_model(Path("model"))
    good("play", "guesswhat", "-p", ORACLE, "-o", "runs/first")
    final = learned("out", "hf:model", runs=["runs/first"], splits=("validation",))
    call = (
        "eval",
        f"hf:{final}?max_new_tokens=1",
        "--games",
        "guesswhat",
        "-o",
        "e",
        "--name",
        "m",
    )
    strict = playpen(*call, "--strict")
    assert strict.code == 1 and "Trained on, so there is no score (--strict)" in strict.err
    assert not Path("e/m.val.json").exists()
    good(*call)


def test_the_base_checkpoint_counts_down_the_chain() -> None:
    save_tiny_model(Path("model"))
    for name, game in (("one", "taboo"), ("two", "guesswhat")):
        good("play", game, "-p", ORACLE, "-n", "2", "--split", "train", "-o", f"runs/{name}")
    first = learned("first", "hf:model", runs=["runs/one"])
    second = learned("second", f"hf:{first}", runs=["runs/two"])
    games = [mark.game for mark in read_hash_list(second / "trained_on.tsv")]
    assert sorted(games) == ["guesswhat"] * 2 + ["taboo"] * 2
    assert {mark.game for mark in read_hash_list(first / "trained_on.tsv")} == {"taboo"}


def test_what_is_played_for_a_training_counts_and_a_resumed_training_keeps_it() -> None:
    save_tiny_model(Path("model"))
    final = learned("out", "hf:model")
    before = (final / "trained_on.tsv").read_bytes()
    assert len(list(read_hash_list(final / "trained_on.tsv"))) == 4
    assert (learned("out", "hf:model") / "trained_on.tsv").read_bytes() == before


def test_another_wording_of_a_puzzle_is_the_same_puzzle() -> None:
    save_tiny_model(Path("model"))
    good("play", "wordle", "-p", ORACLE, "-n", "4", "-o", "first")
    final = learned("out", "hf:model", runs=["first"], splits=("validation",))
    good("play", "wordle_withclue", "-p", f"hf:{final}?max_new_tokens=1", "-n", "1", "-o", "run")
    [exposure] = exposures([Run.open("run")])
    assert exposure.game == "wordle_withclue" and (exposure.trained_on or 0) > 0


def test_a_checkpoint_that_does_not_tell_is_not_said_to_be_clean() -> None:
    checkpoint = save_tiny_model(Path("trained/final"))
    Path("trained/train.json").write_text("{}", encoding="utf-8")
    spec = f"hf:{checkpoint}?max_new_tokens=1"
    good("play", "taboo", "-p", spec, "-n", "1", "-o", "run")
    [exposure] = exposures([Run.open("run")])
    assert exposure.trained_on is None and "did not record" in str(exposure)


@pytest.mark.parametrize("spec", [ORACLE, "replay:first", "hf:model?max_new_tokens=1"])
def test_who_was_not_trained_here_was_trained_on_nothing(spec: str) -> None:
    save_tiny_model(Path("model"))
    good("play", "taboo", "-p", ORACLE, "-n", "1", "-o", "first")
    good("play", "taboo", "-p", spec, "-n", "1", "-o", "run")
    assert exposures([Run.open("run")]) == []


def test_a_damaged_list_is_told() -> None:
    checkpoint = save_tiny_model(Path("trained/final"))
    (checkpoint / "trained_on.tsv").write_text(hash_list([Mark("a", "b", "c", "d")]) + "what?\n")
    good("play", "taboo", "-p", f"hf:{checkpoint}?max_new_tokens=1", "-n", "1", "-o", "run")
    assert "trained_on.tsv, line 3: not a line of a hash list" in refused("eval", "run")


@pytest.mark.parametrize("split", ["test", "dev"])
def test_only_some_splits_may_be_named(split: str, tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text(
        f'[learner]\nplayer = "hf:x"\n[data]\nruns = ["r"]\nsplits = ["{split}"]\n',
        encoding="utf-8",
    )
    message = refused("train", "sft", "-c", file, "-o", "out")
    assert "splits" in message and split in message
