"""``playpen demo`` shows imitation, then play, each measured on instances not seen in training."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from playpen import get_game
from playpen.store import Run
from playpen_trainers.demo import mini_instances

PLAYPEN = Path(sys.executable).with_name("playpen")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("demo") / "out"
    done = subprocess.run(
        [PLAYPEN, "demo", "--quick", "-o", str(folder), "-n", "60"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return folder, done.stdout


def won(run: Path) -> float:
    episodes = list(Run.open(run).episodes())
    assert len(episodes) == 60
    return sum(episode.success for episode in episodes) / len(episodes)


def test_the_model_learned_to_win(demo: tuple[Path, str]) -> None:
    folder, _ = demo
    assert won(folder / "play-0" / "both-roles") == 0
    assert won(folder / "play-2" / "both-roles") > 0.2


def test_training_did_not_see_what_is_measured(demo: tuple[Path, str]) -> None:
    folder, _ = demo
    game = get_game("taboo")
    trained = {game.fingerprint(i) for i in Run.open(folder / "sft" / "demonstrations").instances()}
    played = {game.fingerprint(instance) for instance in mini_instances(game, "train", 0)}
    measured = {game.fingerprint(i) for i in Run.open(folder / "play-2" / "both-roles").instances()}
    assert len(trained) == 300
    assert trained <= played
    assert len(measured) == 60
    assert not played & measured


def test_the_oracle_sits_in_the_other_seat(demo: tuple[Path, str]) -> None:
    folder, _ = demo
    for role, other in (("describer", "guesser"), ("guesser", "describer")):
        players = next(Run.open(folder / "play-2" / role).episodes()).players
        assert players[role].startswith("hf:")
        assert players[other] == "program:oracle"


def test_table_transcripts_and_time_are_shown(demo: tuple[Path, str]) -> None:
    _, output = demo
    for text in ("before training", "after sft", "after grpo", "oracle", "exact sign test", "±"):
        assert text in output
    assert output.count("game master → describer") >= 2
    assert "s in all" in output
    assert "it/s" not in output


def test_another_folder_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    done = subprocess.run([PLAYPEN, "demo", "-o", str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 2
    assert "is not empty and no earlier demo" in done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "precious.txt").read_text() == "mine"
