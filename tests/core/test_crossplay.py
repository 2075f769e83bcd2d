"""``playpen crossplay``: every pairing, in every role."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.core.command_line import good, playpen, refused

from playpen.conversation import Conversation
from playpen.crossplay import cast_of, cells, everybody, seatings
from playpen.plugins import get_game
from playpen.scoring import results_of
from playpen.store import Run
from playpen.terminal.matrix import letter

SELF = "program:tests.core.test_crossplay"
ORACLE = "program:oracle"
TABOO = ("describer", "guesser")


def mute(conversation: Conversation) -> str:
    """Keeps to the form and says nothing."""
    return "CLUE: nothing" if conversation.role == "describer" else "GUESS: nothing"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def cross(*specs: str, games: str = "taboo", count: int) -> list[str]:
    """The arguments of a call."""
    players = [part for spec in specs for part in ("-p", spec)]
    return ["crossplay", *players, "--games", games, "-n", str(count), "-o", "out"]


def matrix(name: str) -> dict[str, dict[str, Any]]:
    document = json.loads(Path("out/crossplay.json").read_text(encoding="utf-8"))
    return {"".join(cell["players"]): cell for cell in document["games"][name]}


def test_every_pairing_plays_what_play_plays() -> None:
    wrong = "program:tests.core.command_line:wrong"
    out = good(*cross(ORACLE, f"{SELF}:mute", wrong, count=10), "--seed", "3")
    assert max(map(len, out.splitlines())) <= 80
    found = matrix("taboo")
    assert sorted(found) == ["AA", "AB", "AC", "BA", "BB", "BC", "CA", "CB", "CC"]
    assert found["AA"]["scores"]["unbiased"]["value"] == 100
    assert found["AB"]["scores"]["unbiased"]["value"] == 0
    good("play", "taboo", "-p", f"describer={ORACLE}", "-p", f"guesser={SELF}:mute", "-n", "10",
         "--seed", "3", "-o", "single")  # fmt: skip
    alone = {e.key: e.events for e in Run.open("single").episodes()}
    assert {e.key: e.events for e in Run.open("out/runs/taboo-A-B").episodes()} == alone
    assert Path("out/crossplay.svg").read_text().startswith("<?xml")


def test_it_goes_on_where_it_was() -> None:
    call = cross(ORACLE, f"{SELF}:mute", count=5)
    first = good(*call)
    files = {path: path.read_bytes() for path in Path("out/runs").glob("*/episodes.jsonl")}
    assert len(files) == 4
    cut = Path("out/runs/taboo-B-A/episodes.jsonl")
    cut.write_bytes(b"".join(cut.read_bytes().splitlines(keepends=True)[:2]))
    assert good(*call) == first
    assert all(path.read_bytes() == content for path, content in files.items() if path != cut)
    assert len(cut.read_bytes().splitlines()) == 5


def test_games_of_several_sizes_have_matrices_of_their_own() -> None:
    out = good(*cross(ORACLE, f"{SELF}:mute", games="taboo,wordle", count=3))
    assert sorted(matrix("wordle")) == ["A", "B"]
    assert "all games" not in out


def test_many_players_fit_a_terminal() -> None:
    out = good(*cross(*[f"{SELF}:mute"] * 6, count=1))
    assert max(map(len, out.splitlines())) <= 80 and "…" not in out
    assert len(matrix("taboo")) == 36


def test_averages_are_over_games() -> None:
    good(*cross(ORACLE, f"{SELF}:mute", games="taboo,referencegame", count=4))
    together = matrix("all games")
    for pairing, cell in together.items():
        parts = [
            matrix(name)[pairing]["scores"]["unbiased"]["value"]
            for name in ("taboo", "referencegame")
        ]
        assert cell["scores"]["unbiased"]["value"] == pytest.approx(sum(parts) / 2)
        assert cell["coverage"]["planned"] == 8


def test_one_spec_given_twice_is_two_players_and_self_play_is_one() -> None:
    cast = cast_of(everybody(["program:x", "program:x"]), TABOO, (1, 0))
    assert cast.by_role == {"describer": "program:x#2", "guesser": "program:x"}
    assert cast.specs == {"program:x#2": "program:x", "program:x": "program:x"}
    assert cast_of(everybody(["program:x", "program:y"]), TABOO, (1, 1)).everyone == "program:y"
    three = cast_of(everybody(["program:x", "program:y"]), ("a", "b", "c"), (0, 1, 0))
    assert three.by_role == {"a": "program:x", "b": "program:y", "c": "program:x"}
    assert len(list(seatings(3, 2))) == 9 and len(list(seatings(2, 3))) == 8


def test_what_failed_is_marked_and_told() -> None:
    result = playpen(*cross(ORACLE, "program:tests.core.test_evaluation:dead", count=2))
    assert result.code == 3 and "failed" in result.err
    assert matrix("taboo")["AB"]["coverage"]["errored"] == 2
    assert matrix("taboo")["AA"]["coverage"]["played"] == 2


def test_models_stay_loaded_from_pairing_to_pairing(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.core.tiny_model import save_tiny_model

    from playpen.players.transformers_engine import engine

    loaded: list[object] = []
    begin = engine.Engine.__init__

    def counted(self: engine.Engine, *args: Any, **kwargs: Any) -> None:
        loaded.append(self)
        begin(self, *args, **kwargs)

    monkeypatch.setattr(engine.Engine, "__init__", counted)
    save_tiny_model(Path("model"))
    good(*cross("hf:model?max_new_tokens=3", ORACLE, count=2))
    assert len(loaded) == 1


def test_cells_are_those_of_the_runs() -> None:
    good("play", "taboo", "-p", ORACLE, "-n", "4", "-o", "run")
    run = Run.open("run")
    [cell] = cells({("taboo", (0, 0)): run})["taboo"].values()
    results = results_of(run.episodes(), {"taboo": get_game("taboo")})
    assert cell.scores is not None and len(results["taboo"]) == 4
    assert cell.scores.unbiased.value == 100 and cell.coverage.complete


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (("-p", ORACLE), "at least two players"),
        (("-p", f"guesser={ORACLE}", "-p", ORACLE), "everybody plays every role"),
        (("-p", ORACLE, "-p", "nobody"), "is not a player"),
    ],
)
def test_wrong_calls_are_told(call: tuple[str, ...], message: str) -> None:
    assert message in refused("crossplay", *call, "--games", "taboo", "-o", "out")
    assert not Path("out").exists()


def test_letters() -> None:
    assert [letter(n) for n in (0, 25, 26, 27, 701, 702)] == ["A", "Z", "AA", "AB", "ZZ", "AAA"]
