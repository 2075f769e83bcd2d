"""What the repository says of itself: versions, and what its pages name."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

REPOSITORY = Path(__file__).parents[2]
DISTRIBUTIONS = ("playpen-core", "playpen-games-clembench", "playpen-trainers")
SAMPLE_PACKS = ("playpen-game-higherlower", "playpen-trainer-plainloop")
PAGES = ("CONTRIBUTING.md", "AGENTS.md", "RELEASING.md")
FOLDERS = (
    REPOSITORY,
    REPOSITORY / "playpen-core/src/playpen",
    REPOSITORY / "tests/packs/playpen-game-higherlower/src/playpen_higherlower",
)
"""Where the pages' names of files begin."""
MADE = re.compile(r"\.venv|dist/|htmlcov/|clean/")
"""Names of what commands make."""


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


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == version()
    assert [author["name"] for author in citation["authors"]] == [
        author["name"] for author in project(REPOSITORY / "playpen-core")["authors"]
    ]


def test_make_version_sets_every_version(tmp_path: Path):
    for file in ("Makefile", "CITATION.cff", *(f"{name}/pyproject.toml" for name in DISTRIBUTIONS)):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        shutil.copy(REPOSITORY / file, tmp_path / file)
    subprocess.run(["make", "version", "VERSION=12.3.45"], cwd=tmp_path, check=True)
    assert [project(tmp_path / name)["version"] for name in DISTRIBUTIONS] == ["12.3.45"] * 3
    needs = [str(core_needed(tmp_path / name)) for name in DISTRIBUTIONS[1:]]
    assert needs == ["playpen-core~=12.3.45", "playpen-core[hf]~=12.3.45"]
    assert "\nversion: 12.3.45\n" in (tmp_path / "CITATION.cff").read_text(encoding="utf-8")
    assert sorted(file.name for file in tmp_path.rglob("*")) == sorted(
        ["Makefile", "CITATION.cff", *DISTRIBUTIONS, *["pyproject.toml"] * 3]
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


# --- what the pages name --------------------------------------------------------------------------


def page(name: str) -> str:
    """The text of a page."""
    return (REPOSITORY / name).read_text(encoding="utf-8")


def code(text: str) -> list[str]:
    """What a page shows as code: its spans, and the commands of its blocks."""
    return [*re.findall(r"`([^`\n]+)`", text), *re.findall(r"^ *\$ (.+)", text, re.MULTILINE)]


def files_named(text: str) -> set[str]:
    """The spans that are paths: with a slash or a suffix, and no blank."""
    paths = {span for span in code(text) if re.fullmatch(r"\.?[\w-]+([./][\w.*-]+)*/?", span)}
    suffixes = (".md", ".py", ".toml", ".txt", ".json", ".cff", ".yaml")
    return {p for p in paths if ("/" in p or p.endswith(suffixes)) and not MADE.match(p)}


def is_there(path: str) -> bool:
    return any(any(folder.glob(path)) for folder in FOLDERS)


@pytest.mark.parametrize("name", PAGES)
def test_the_files_that_a_page_names_exist(name: str):
    links = set(re.findall(r"\]\((?!http)([^)#]+)\)", page(name)))
    named = files_named(page(name))
    assert named
    # What nobody shall write.
    assert {path for path in named | links if not is_there(path)} <= {"utils.py"}


@pytest.mark.parametrize("name", [*PAGES, "README.md"])
def test_the_make_targets_that_a_page_names_exist(name: str):
    targets = set(re.findall(r"^([a-z-]+):.*##", page("Makefile"), re.MULTILINE))
    commands = [span.split("#")[0].split()[1:] for span in code(page(name)) if "make " in span[:5]]
    words = [word for command in commands for word in command if "=" not in word]
    assert words
    assert {word for word in words if word not in targets and word != "FILE"} == set()


def test_every_target_is_phony_and_in_the_help():
    text = page("Makefile").replace("\\\n", " ")
    [phony] = re.findall(r"^\.PHONY: (.*)", text, re.MULTILINE)
    assert set(phony.split()) == set(re.findall(r"^([a-z-]+):.*##", text, re.MULTILINE))


def test_the_classes_of_the_glossary_exist():
    [glossary] = re.findall(r"^## Words\n(.*?)^## ", page("CONTRIBUTING.md"), re.M | re.DOTALL)
    names = {span for span in code(glossary) if re.fullmatch(r"([A-Z][a-z]+)+", span)}
    sources = [f for d in DISTRIBUTIONS for f in (REPOSITORY / d / "src").rglob("*.py")]
    text = "\n".join(file.read_text(encoding="utf-8") for file in sources)
    defined = set(re.findall(r"^(?:class )?(\w+)(?:[(:]| = )", text, re.MULTILINE))
    assert len(names) > 30
    assert names - defined == set()


def test_every_mark_is_told():
    settings = tomllib.loads(page("pyproject.toml"))["tool"]["pytest"]["ini_options"]
    marks = {mark.split(":")[0] for mark in settings["markers"]}
    [told] = re.findall(r"^- Marks: ([^.]*)\.", page("CONTRIBUTING.md"), re.MULTILINE)
    assert marks == set(code(told))


def test_the_hooks_before_a_commit_are_linters_of_ours():
    [repository] = yaml.safe_load(page(".pre-commit-config.yaml"))["repos"]
    assert repository["repo"] == "local"
    lint = re.findall(r"^lint:.*\n((?:\t.*\n)+)", page("Makefile"), re.MULTILINE)[0]
    for hook in repository["hooks"]:
        assert hook["language"] == "system"
        command = hook["entry"].removeprefix(".venv/bin/").split(" --")[0]
        assert f"$(BIN)/{command}" in lint
