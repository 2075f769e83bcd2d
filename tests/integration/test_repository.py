"""What the repository says of itself: versions, and what its pages name."""

from __future__ import annotations

import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

REPOSITORY = Path(__file__).parents[2]
DISTRIBUTIONS = ("playpen-core", "playpen-games-clembench", "playpen-trainers")
SAMPLE_PACKS = ("playpen-game-higherlower", "playpen-trainer-plainloop")


def project(folder: Path) -> dict[str, Any]:
    """The table `[project]` of the distribution in a folder."""
    return tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def core_needed(folder: Path) -> Requirement:
    """What the distribution in a folder asks of the core."""
    needs = [Requirement(text) for text in project(folder)["dependencies"]]
    [need] = [need for need in needs if need.name == "playpen-core"]
    return need


def version() -> str:
    """The version of the core."""
    return project(REPOSITORY / "playpen-core")["version"]


# --- versions -------------------------------------------------------------------------------------


def test_the_three_distributions_have_one_version():
    assert {project(REPOSITORY / name)["version"] for name in DISTRIBUTIONS} == {version()}


@pytest.mark.parametrize("name", DISTRIBUTIONS[1:])
def test_games_and_trainers_need_the_core_of_their_release(name: str):
    major, minor, patch = map(int, version().split("."))
    specifier = core_needed(REPOSITORY / name).specifier
    assert specifier.contains(version())
    assert specifier.contains(f"{major}.{minor}.{patch + 1}")
    assert not specifier.contains(f"{major}.{minor + 1}.0")
    assert [str(s) for s in specifier] == [f"~={version()}"]


@pytest.mark.parametrize("name", SAMPLE_PACKS)
def test_the_sample_packs_take_this_core(name: str):
    assert core_needed(REPOSITORY / "tests" / "packs" / name).specifier.contains(version())


def test_the_changelog_begins_with_this_version():
    lines = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8").splitlines()
    assert next(line for line in lines if line.startswith("## ")).split()[1] == version()


def test_the_three_distributions_run_on_the_same_pythons():
    told = [project(REPOSITORY / name) for name in DISTRIBUTIONS]
    pythons = [[c for c in each["classifiers"] if "Python" in c] for each in told]
    assert pythons[0][1:]
    assert [(each["requires-python"], p) for each, p in zip(told, pythons, strict=True)] == [
        (">=3.11", pythons[0])
    ] * 3


def test_make_version_sets_every_version(tmp_path: Path):
    for file in ("Makefile", *(f"{name}/pyproject.toml" for name in DISTRIBUTIONS)):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        shutil.copy(REPOSITORY / file, tmp_path / file)
    subprocess.run(["make", "version", "VERSION=12.3.45"], cwd=tmp_path, check=True)
    assert [project(tmp_path / name)["version"] for name in DISTRIBUTIONS] == ["12.3.45"] * 3
    needs = [str(core_needed(tmp_path / name)) for name in DISTRIBUTIONS[1:]]
    assert needs == ["playpen-core~=12.3.45", "playpen-core[hf]~=12.3.45"]
    assert sorted(file.name for file in tmp_path.rglob("*")) == sorted(
        ["Makefile", *DISTRIBUTIONS, *["pyproject.toml"] * 3]
    )
    refused = subprocess.run(
        ["make", "version", "VERSION=next"], cwd=tmp_path, capture_output=True, text=True
    )
    assert refused.returncode != 0
    assert "make version VERSION=0.3.0" in refused.stderr


def test_every_package_of_the_groups_has_its_version_pinned():
    groups = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    needs = [n for group in groups["dependency-groups"].values() for n in group]
    names = {Requirement(need).name for need in needs if isinstance(need, str)}
    text = (REPOSITORY / "constraints.txt").read_text(encoding="utf-8")
    pinned = {line.split("==")[0] for line in text.splitlines() if "==" in line}
    assert names - pinned == {"playpen-core", "playpen-games-clembench"}
