"""``playpen demo`` shows a real and large improvement on instances that training did not see."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from playpen import get_game
from playpen.store import Run

PLAYPEN = Path(sys.executable).with_name("playpen")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("demo") / "out"
    done = subprocess.run(
        [PLAYPEN, "demo", "-o", str(folder), "-n", "120"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return folder, done.stdout


def won(run: Path) -> float:
    episodes = list(Run.open(run).episodes())
    assert len(episodes) == 120
    return sum(episode.success for episode in episodes) / len(episodes)


def test_the_model_learned_to_win(demo: tuple[Path, str]):
    folder, _ = demo
    assert won(folder / "before-training") == 0
    assert won(folder / "after-training") > 0.6


def test_training_did_not_see_what_is_measured(demo: tuple[Path, str]):
    folder, _ = demo
    game = get_game("taboo")
    trained = {game.fingerprint(i) for i in Run.open(folder / "sft" / "demonstrations").instances()}
    measured = {game.fingerprint(i) for i in Run.open(folder / "after-training").instances()}
    assert len(trained) > 3000
    assert len(measured) == 120
    assert not trained & measured


def test_table_transcripts_and_time_are_shown(demo: tuple[Path, str]):
    _, output = demo
    for text in ("before training", "after training", "oracle", "% played", "clemscore"):
        assert text in output
    assert output.count("game master → describer") >= 2
    assert "s in all" in output
    assert "it/s" not in output


def test_another_folder_is_not_overwritten(tmp_path: Path):
    (tmp_path / "precious.txt").write_text("mine")
    done = subprocess.run([PLAYPEN, "demo", "-o", str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 2
    assert "is not empty and no earlier demo" in done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "precious.txt").read_text() == "mine"
