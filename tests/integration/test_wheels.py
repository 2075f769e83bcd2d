"""Our three distributions, built as wheels and installed alone."""

from __future__ import annotations

import subprocess
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest
from tests.environments import Environment, build_wheel, output_of

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[2]
IMPORT_NAMES = {
    "playpen-core": "playpen",
    "playpen-games-clembench": "playpen_clembench",
    "playpen-trainers": "playpen_trainers",
}


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("our-wheels")
    return {name: build_wheel(ROOT / name, folder) for name in IMPORT_NAMES}


@pytest.fixture(scope="module")
def environment(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """Core and games with their dependencies from the index: no torch."""
    made = Environment(tmp_path_factory.mktemp("core-and-games") / "venv")
    made.install(wheels["playpen-core"], wheels["playpen-games-clembench"], deps=True)
    return made


@pytest.mark.parametrize("name", IMPORT_NAMES)
def test_a_wheel_holds_its_package_and_nothing_else(wheels: dict[str, Path], name: str):
    package = IMPORT_NAMES[name]
    files = set(zipfile.ZipFile(wheels[name]).namelist())
    source = ROOT / name / "src" / package
    expected = {
        f"{package}/{file.relative_to(source).as_posix()}"
        for file in source.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert f"{package}/py.typed" in expected
    assert expected <= files
    version = tomllib.loads((ROOT / name / "pyproject.toml").read_text())["project"]["version"]
    assert {file.split("/")[0] for file in files - expected} == {
        f"{name.replace('-', '_')}-{version}.dist-info"
    }
    assert any(file.endswith("licenses/LICENSE") for file in files)


def test_core_and_games_play_without_torch(environment: Environment, tmp_path: Path):
    assert not list(environment.packages.glob("torch*"))
    shown = output_of(
        environment.playpen(
            "play", "taboo", "wordle", "-p", "program:oracle", "-n", "5", "-o", "run", cwd=tmp_path
        )
    )
    assert "taboo 5 100.00 100.00 100.00" in shown
    assert "10 agree, 0 differ" in output_of(environment.playpen("replay", "run", cwd=tmp_path))


def test_what_is_missing_is_named(environment: Environment, tmp_path: Path):
    play = environment.playpen("play", "taboo", "-p", "hf:any/model", cwd=tmp_path)
    assert 'pip install "playpen-core[hf]"' in output_of(play, status=2)
    trainers = environment.playpen("list", "trainers", cwd=tmp_path)
    assert "pip install playpen-trainers" in output_of(trainers)
    demo = environment.playpen("demo", cwd=tmp_path)
    assert "pip install playpen-trainers" in output_of(demo, status=2)


def test_the_games_need_only_the_core(environment: Environment):
    script = "import sys, playpen_clembench.plugin as p; p.playpen_games(); print(*sys.modules)"
    done = subprocess.run(
        [environment.python, "-c", script], capture_output=True, text=True, check=True
    )
    assert not {"nltk", "torch", "numpy"} & set(done.stdout.split())


def test_the_trainers_install_on_their_own(
    wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
):
    """With the core only, and torch and TRL as they are in this environment."""
    made = Environment(tmp_path_factory.mktemp("trainers") / "venv")
    made.install(wheels["playpen-core"], wheels["playpen-trainers"], deps=False)
    (made.packages / "running.pth").write_text(sysconfig.get_path("purelib") + "\n")
    listed = output_of(made.playpen("list", "trainers", cwd=tmp_path))
    assert "trainers of playpen-trainers" in listed
    assert "sft" in listed
    shown = output_of(made.playpen("show", "trainer", "sft", cwd=tmp_path))
    assert "learning_rate" in shown
