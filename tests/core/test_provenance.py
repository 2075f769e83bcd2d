"""What a score is over: published instances, a pack's own, somebody's file, or several."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.core.command_line import good

from playpen.conversation import Conversation
from playpen.instance import Experiment, Instance
from playpen.panels import panel_games, panel_scores
from playpen.plugins import PluginError, get_game
from playpen.provenance import (
    MIXED,
    InstanceSet,
    Published,
    instance_sets,
    published_hash,
    read_published,
    together,
)
from playpen.scoring import RunScore, score_game, score_games
from playpen.store import Run, RunConfig

ORACLE = "program:oracle"
LIST = "playpen_clembench:official/instances.tsv.xz"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def half(conversation: Conversation) -> str:
    """The oracle on some instances, and nothing of sense on the others."""
    if int(conversation.instance, 16) % 3 == 0:
        return "what?"
    return get_game(conversation.game).oracle(conversation.role)(conversation)


def instance(**data: Any) -> Instance:
    return Instance("taboo", Experiment("easy", {"max_turns": 3}), data)


def run_of(folder: Path, instances: list[Instance], **config: Any) -> Run:
    plan = RunConfig(
        assignments={"taboo": {}}, episodes={"taboo": len(instances)}, rules={"taboo": "2.0"},
        **config,
    )  # fmt: skip
    return Run.create(folder, plan, instances)


# --- hashes --------------------------------------------------------------------------------------


def test_an_instance_is_known_by_its_fields_whatever_their_order_and_its_number() -> None:
    known = published_hash({"game_id": 7, "word": "Straße", "n": [1, {"b": None, "a": True}]})
    assert known == published_hash({"n": [1, {"a": True, "b": None}], "word": "Straße"})
    # printf JSON | sha256sum | cut -c1-24, of {"n":[1,{"a":true,"b":null}],"word":"Straße"}
    assert known == "94752904b71769a56bf10c15"
    assert known != published_hash({"n": [1, {"a": True, "b": None}], "word": "Strasse"})


def test_the_packs_list_names_revisions_and_selections() -> None:
    published = read_published(LIST)
    assert len(published.sets) > 14_000
    assert published.sizes["2025-validation"] > 400
    assert "v3.0" in published.sets["006d382ed1d773657ccb023d"]


def test_the_smallest_set_that_holds_all_is_named_and_the_newest_of_several() -> None:
    published = Published(
        {"a": ("1", "2", "all", "some"), "b": ("1", "2", "all"), "c": ("all",), "d": ()},
        {"1": 2, "2": 2, "all": 3, "some": 1},
    )
    assert published.common(["a"]) == "some"
    assert published.common(["a", "b"]) == "2"
    assert published.common(["a", "b", "c"]) == "all"
    assert published.common(["a", "d"]) == ""


@pytest.mark.parametrize("path", ["playpen_clembench:nothing.xz", "nowhere:x", "playpen:py.typed"])
def test_a_broken_list_is_told(path: str) -> None:
    with pytest.raises(PluginError, match="is no list of published instances"):
        read_published(path)


# --- what a run is over --------------------------------------------------------------------------


def test_sets_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = instance(word="one"), instance(word="two")
    listed = Published({published_hash(theirs.data): ("2.0.1",)}, {"2.0.1": 1})
    monkeypatch.setattr("playpen.provenance.read_published", lambda path: listed)
    imported = {"prompts": {"taboo": "imported"}}

    def over(name: str, instances: list[Instance], **config: Any) -> InstanceSet:
        return instance_sets(run_of(tmp_path / name, instances, **config))["taboo"]

    assert over("a", [theirs], **imported) == InstanceSet("official 2.0.1", True, "2.0")
    assert over("b", [theirs, ours], **imported) == InstanceSet(MIXED, False, "2.0")
    other = InstanceSet("not published (few.json)", False, "2.0")
    assert over("c", [ours], source="/x/few.json", **imported) == other
    pack = over(
        "d", [theirs], prompts={"taboo": "pack"}, split="test",
        versions={"playpen-games-clembench": "9.9"},
    )  # fmt: skip
    assert pack == InstanceSet("playpen-games-clembench 9.9 (test)", False, "2.0")


def test_an_average_is_over_all_of_them_together() -> None:
    one, two = InstanceSet("official a", True, "2.0"), InstanceSet("official b", True, "2.0")
    assert together([one, one]) == one
    assert together([two, one]) == InstanceSet("official a, b", True, "2.0")
    own = InstanceSet("pack 1 (test)", False, "2.0")
    assert together([one, own]) == InstanceSet(MIXED, False, "2.0")
    newer = InstanceSet("official a", True, "3.0")
    assert together([one, newer]) == InstanceSet("official a", True, MIXED)


# --- one number under one name -------------------------------------------------------------------


def test_games_and_benchmarks_are_never_averaged_together() -> None:
    assert panel_games(["bbh", "taboo", "wordle"]) == {
        "dialogue games": ["taboo", "wordle"], "static benchmarks": ["bbh"],
    }  # fmt: skip
    rows = {"Aborted": 0, "Success": 1, "Lose": 0}
    score = score_games(
        score_game(name, [{**rows, "Main Score": value}])
        for name, value in (("bbh", 0), ("taboo", 80))
    )
    assert isinstance(score, RunScore)
    official = InstanceSet("official 2.0.1", True, "2.0")
    dialogue, static = panel_scores(score, {"taboo": official, "bbh": official})
    assert (dialogue.name, dialogue.score) == ("clemscore", 80)
    assert (static.name, static.score) == ("statscore", 0)
    own = InstanceSet("pack 1", False, "2.0")
    assert [p.name for p in panel_scores(score, {"taboo": own, "bbh": own})] == [
        "dialogue games", "static benchmarks",
    ]  # fmt: skip


def test_score_eval_and_report_show_the_same_numbers() -> None:
    """The README's evaluation of two kinds of games: eval, report and score of one directory."""
    spec = "program:tests.core.test_provenance:half"
    good("play", "taboo", "guesswhat", "cladder", "-p", spec, "-n", "20", "-o", "run")
    scores = json.loads(good("score", "run", "--json"))
    by_score = {panel["title"]: panel["score"] for panel in scores["panels"]}
    assert (scores["played"], scores["quality"], scores["clemscore"]) == (None, None, None)
    good("eval", "run", "-o", "out", "--name", "m")
    document = json.loads(Path("out/m.val.json").read_text(encoding="utf-8"))
    by_eval = {title: document[title]["score"] for title in by_score}
    report = json.loads(good("report", "run", "--format", "json"))
    by_report = {
        panel["name"]: panel["scores"]["clemscore"]["value"]
        for panel in report["runs"][0]["panels"]
    }
    assert by_score == by_eval == by_report
    assert list(by_score) == ["dialogue games", "static benchmarks"]
    assert 0 < by_score["dialogue games"] != by_score["static benchmarks"] > 0
    shown = good("score", "run")
    for title, value in by_score.items():
        assert any(title in line and f" {value:.2f} " in line for line in shown.splitlines())


def test_a_suite_of_our_own_instances_promises_no_statscore() -> None:
    out = good("eval", ORACLE, "--suite", "static-1.0", "-o", "out", "--name", "m")
    assert "statscore" not in out.replace("statscore over published", "")
    document = json.loads(Path("out/m.val.json").read_text(encoding="utf-8"))
    assert "statscore" not in document
    told = document["static benchmarks"]
    assert told["score"] == 100 and told["instances"].endswith("(validation)")


def test_an_earlier_number_under_the_other_name_goes() -> None:
    Path("out").mkdir()
    Path("out/m.val.json").write_text('{"statscore": 56.46, "clemscore": 29.28}', encoding="utf-8")
    good("eval", ORACLE, "--games", "cladder", "-o", "out", "--name", "m")
    document = json.loads(Path("out/m.val.json").read_text(encoding="utf-8"))
    assert list(document) == ["clemscore", "static benchmarks", "missing", "evaluation"]
