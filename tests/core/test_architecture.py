"""The map of the code, docs/architecture.md: what it names is there."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
HOMES = (
    ROOT,
    ROOT / "playpen-core/src/playpen",
    ROOT / "playpen-core/src/playpen/training",
    ROOT / "playpen-games-clembench/src/playpen_clembench",
    ROOT / "playpen-trainers/src/playpen_trainers",
)
GENERATED = {"run.json", "instances.jsonl", "episodes.jsonl", "playpen.toml"}


def test_every_file_that_is_named_is_there() -> None:
    named = set(re.findall(r"`([\w./-]+(?:\.(?:py|md|toml|json|jsonl)|/))`", PAGE)) - GENERATED
    assert len(named) > 60
    gone = sorted(name for name in named if not any((home / name).exists() for home in HOMES))
    assert not gone


@pytest.mark.parametrize(
    ("package", "mark", "column"),
    [
        ("playpen", "<!-- floors: from the top -->", 2),
        ("playpen_trainers", "<!-- trainers' floors: from the top -->", 1),
    ],
)
def test_the_floors_are_those_of_the_linter(package: str, mark: str, column: int) -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    [contract] = [
        contract
        for contract in settings["tool"]["importlinter"]["contracts"]
        if contract.get("containers") == [package]
    ]
    table = PAGE.split(mark)[1].strip().split("\n\n")[0]
    rows = [line.split("|")[column] for line in table.splitlines()[2:]]
    drawn = [sorted(re.findall(r"`(\w+)`", row)) for row in rows]
    assert drawn == [sorted(re.findall(r"\w+", floor)) for floor in contract["layers"]]
