"""``playpen compare`` from runs to tables."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.core.command_line import good, playpen, refused

from playpen.conversation import Conversation
from playpen.plugins import get_game
from playpen.scoring import Attempts, results_of
from playpen.store import Run

SELF = "program:tests.core.test_compare"


def careless(conversation: Conversation) -> str:
    """Breaks the rules of taboo in every third game."""
    if int(conversation.instance, 16) % 3 == 0:
        return "what?"
    return "CLUE: nothing" if conversation.role == "describer" else "GUESS: nothing"


def silent(conversation: Conversation) -> str:
    """Breaks the rules at once."""
    return ""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    players = {
        "oracle": "program:oracle",
        "careless": f"{SELF}:careless",
        "silent": f"{SELF}:silent",
    }
    for name, spec in players.items():
        good("play", "taboo", "guesswhat", "-p", spec, "-n", "12", "-o", folder / name)
    return {name: folder / name for name in players}


def test_attempts_of_a_run(runs: dict[str, Path]) -> None:
    run = Run.open(runs["careless"])
    results = results_of(run.episodes(), {name: get_game(name) for name in ("taboo", "guesswhat")})
    assert {name: len(table) for name, table in results.items()} == {"taboo": 12, "guesswhat": 12}
    broken = [key for key in results["taboo"] if int(key, 16) % 3 == 0]
    assert broken
    for key, attempts in results["taboo"].items():
        assert attempts == (Attempts(1, 0, 0, 0, 0) if key in broken else Attempts(1, 1, 1, 0, 0))


def test_a_table_for_each_pair(runs: dict[str, Path]) -> None:
    out = good("compare", runs["silent"], runs["careless"], runs["oracle"])
    assert out.count("against") == 2
    assert max(map(len, out.splitlines())) <= 80
    line = next(line for line in out.splitlines() if line.startswith("taboo"))
    n, gain, low, _, high, p, detectable, form, skill = line.split()[1:]
    # All 12 differences are 0: others may not be.  What could be detected is not known, nor is
    # how well the silent one would have played.
    assert (n, gain, p) == ("12", "+0.0", "1")
    assert float(low) < 0 < float(high) == -float(low)
    assert (detectable, form, skill) == ("-", "-", "-")


def test_the_oracle_is_better(runs: dict[str, Path]) -> None:
    found = json.loads(good("compare", runs["silent"], runs["oracle"], "--json"))
    gains = {gain["game"]: gain for gain in found[str(runs["oracle"])]["gains"]}
    taboo = gains["taboo"]
    assert taboo["instances"] == 12
    assert taboo["difference"]["value"] > 50 and taboo["p"] < 0.001
    # Nothing of the silent run was played: how well it would have been played is not known.
    assert (taboo["format"], taboo["skill"]) == (None, None)
    found = json.loads(good("compare", runs["careless"], runs["oracle"], "--json"))
    [taboo] = [one for one in found[str(runs["oracle"])]["gains"] if one["game"] == "taboo"]
    assert taboo["format"] > 0 and taboo["skill"] > 0
    assert taboo["format"] + taboo["skill"] == pytest.approx(taboo["difference"]["value"])


def test_what_one_pair_cannot_tell_is_a_dash(tmp_path: Path) -> None:
    for name, spec in (("a", f"{SELF}:silent"), ("b", "program:oracle")):
        good("play", "taboo", "-p", spec, "-n", "1", "-o", tmp_path / name)
    [gain] = json.loads(good("compare", tmp_path / "a", tmp_path / "b", "--json"))[
        str(tmp_path / "b")
    ]["gains"]
    assert gain["difference"] == {"value": 100, "low": None, "high": None}
    for name in ("p", "p_holm", "detectable", "format", "skill"):
        assert gain[name] is None
    out = good("compare", tmp_path / "a", tmp_path / "b")
    [line] = [line for line in out.splitlines() if line.startswith("taboo")][:1]
    assert line.split() == ["taboo", "1", "+100.0", *5 * ["-"]]


def test_the_reasons_of_both_runs_stand_side_by_side(runs: dict[str, Path]) -> None:
    found = json.loads(good("compare", runs["silent"], runs["careless"], "--json"))
    shifts = [s for s in found[str(runs["careless"])]["reasons"] if s["game"] == "taboo"]
    run = Run.open(runs["careless"])
    aborted = [e for e in run.episodes() if e.game == "taboo" and e.aborted]
    share = 100 * len(aborted) / 12
    assert {(s["role"], s["reason"]): (s["before"], s["after"]) for s in shifts} == {
        ("describer", "missing_tag"): (100.0, pytest.approx(share)),
        ("", "lost"): (0.0, pytest.approx(100 - share)),
    }
    out = good("compare", runs["silent"], runs["careless"])
    line = next(line for line in out.splitlines() if "describer" in line and "missing_tag" in line)
    assert line.split()[-3:] == ["100.0", f"{share:.1f}", f"{share - 100:+.1f}"]


def test_only_common_instances_have_reasons(runs: dict[str, Path], tmp_path: Path) -> None:
    part = tmp_path / "part"
    good("play", "taboo", "-p", f"{SELF}:careless", "-n", "5", "-o", part)
    document = json.loads(good("compare", runs["careless"], part, "--json"))[str(part)]
    assert [gain["instances"] for gain in document["gains"]] == [5]
    assert document["reasons"] and all(s["before"] == s["after"] for s in document["reasons"])


def test_runs_without_a_common_instance(runs: dict[str, Path], tmp_path: Path) -> None:
    other = tmp_path / "other"
    good("play", "wordle", "-p", "program:oracle", "-n", "2", "-o", other)
    result = playpen("compare", runs["oracle"], other)
    assert result.code == 1 and "no instance in common" in result.err


def test_evaluations_are_compared_as_their_runs_are(
    runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, spec in (("a", "program:oracle"), ("b", f"{SELF}:silent")):
        good("eval", spec, "--games", "taboo", "-o", name)
        good("eval", spec, "--suite", "static-1.0", "-o", name)
    found = json.loads(good("compare", "a", "b", "--json"))["b"]["gains"]
    assert {"taboo", "cladder"} <= {gain["game"] for gain in found}


def test_wrong_calls(runs: dict[str, Path]) -> None:
    assert "at least two runs" in refused("compare", runs["oracle"])
