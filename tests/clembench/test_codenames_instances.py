"""Codenames: generator, splits, word material, schema."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from playpen import Experiment, Instance, ready_instances
from playpen.instance import SPLITS
from playpen.instance_sets import Checker, parse_instances
from playpen_clembench.codenames import material
from playpen_clembench.codenames.board import ASSIGNMENTS
from playpen_clembench.codenames.game import Codenames
from playpen_clembench.codenames.generate import FLAGS, LEVELS
from playpen_clembench.codenames.lemmas import lemma

GAME = Codenames()
CHECKER = Checker(GAME)
LISTS = ("rare", "frequent", "unambiguous", "ambiguous", "concrete", "abstract", "everyday")


@pytest.fixture(scope="module")
def ready() -> dict[str, list[Instance]]:
    return {split: ready_instances(GAME, split) for split in SPLITS}


# --- words ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LISTS)
def test_no_two_words_of_a_list_share_a_lemma(name: str) -> None:
    words = material.words(name)
    assert len(words) >= 250
    assert all(word.isascii() and word.isalpha() and word.islower() for word in words)
    assert [c for c in Counter(map(lemma, words)).items() if c[1] > 1] == []


def test_themes_are_clues_for_at_least_eight_words_each() -> None:
    themes = material.themes()
    assert len(themes) >= 20
    assert min(map(len, themes.values())) >= 8
    lemmas = set(map(lemma, material.words("everyday")))
    assert not {theme for theme in themes if lemma(theme) in lemmas}
    assert len(material.theme_of()) == len(material.words("everyday"))


# --- boards --------------------------------------------------------------------------------------


def test_the_ready_splits_have_all_experiments(ready: dict[str, list[Instance]]) -> None:
    for split, instances in ready.items():
        sizes = Counter(item.experiment.name for item in instances)
        assert tuple(sizes) == tuple(LEVELS) == GAME.levels()
        assert set(sizes.values()) == {50 if split == "train" else 10}


def test_boards_are_valid(ready: dict[str, list[Instance]]) -> None:
    for item in (item for instances in ready.values() for item in instances):
        lists = item["assignments"]
        counts = item.experiment.config["assignments"]
        assert {name: len(words) for name, words in lists.items()} == counts
        assert len(set(item["board"])) == len(item["board"]) == 25
        assert sorted(item["board"]) == sorted(word for words in lists.values() for word in words)
        known = material.words(LEVELS[item.experiment.name].wordlist.replace("themes", "everyday"))
        assert set(item["board"]) <= set(known)


def test_what_sets_the_experiments_apart(ready: dict[str, list[Instance]]) -> None:
    config = {item.experiment.name: item.experiment.config for item in ready["test"]}
    usual = {"team": 9, "opponent": 8, "innocent": 7, "assassin": 1}
    assert config["risk_low"]["assignments"] == {**usual, "innocent": 8, "assassin": 0}
    assert config["risk_high"]["assignments"] == {**usual, "innocent": 3, "assassin": 5}
    difficulty = {"opponent_none": 0, "opponent_difficult": 2}
    for name, values in config.items():
        assert values["opponent difficulty"] == difficulty.get(name, 1)
        assert values["flags"] == FLAGS
        if not name.startswith("risk"):
            assert values["assignments"] == usual


@pytest.mark.parametrize("level", ["association_easy", "association_difficult"])
def test_related_words_are_dealt_as_the_experiment_says(level: str) -> None:
    document = GAME.generate("train", level=level, n=60)
    together = apart = 0
    for item in parse_instances(document, GAME):
        themes = item["private"]["categories"]
        assert len(set(themes)) == len(themes)
        of_theme = material.theme_of()
        assert {of_theme[word] for word in item["board"]} == set(themes)
        for theme in themes:
            spread = [
                sum(of_theme[w] == theme for w in item["assignments"][a]) for a in ASSIGNMENTS
            ]
            assert 1 <= sum(spread) <= 4
            # A single word of a theme only where a single slot was open.
            together += sum(count * (count - 1) for count in spread)
            apart += sum(spread) ** 2 - sum(count * count for count in spread)
    if level == "association_easy":
        assert apart == 0 and together > 0
    else:
        assert together < apart / 3


def test_fingerprints_ignore_order_and_wording(ready: dict[str, list[Instance]]) -> None:
    item = ready["train"][0]
    lists = {name: words[::-1] for name, words in item["assignments"].items()}
    data = {"game_id": 9, "board": item["board"][::-1], "assignments": lists}
    other = Instance(GAME.name, Experiment("x", {"guesser_initial_prompt": "y"}), data)
    assert GAME.fingerprint(other) == GAME.fingerprint(item)
    lists["team"][0], lists["opponent"][0] = lists["opponent"][0], lists["team"][0]
    assert GAME.fingerprint(other) != GAME.fingerprint(item)


def test_an_experiment_says_how_many_instances_it_has() -> None:
    (experiment,) = GAME.generate("validation", level="abstract", n=7)["experiments"]
    assert len(experiment["game_instances"]) == experiment["number of instances"] == 7


# --- schema --------------------------------------------------------------------------------------


def one(level: str = "risk_high") -> tuple[dict[str, Any], dict[str, Any]]:
    (experiment,) = GAME.generate("train", level=level, n=1)["experiments"]
    (item,) = experiment.pop("game_instances")
    return experiment, item


def test_our_own_instances_and_more_fields_are_valid() -> None:
    experiment, item = one()
    more = {"guesser_follow_up_prompt": "$board", "note": 1}
    assert CHECKER.errors("experiment", {**experiment, **more}) == []
    assert CHECKER.errors("instance", {**item, "note": 1}) == []
    spaced = ["ice cream", "o'neill", "x-ray", "übung", "b2"]
    assert CHECKER.errors("instance", {**item, "board": spaced}) == []


@pytest.mark.parametrize("field", ["variable", "opponent difficulty", "assignments", "flags"])
def test_fields_of_an_experiment_are_required(field: str) -> None:
    experiment, _ = one()
    del experiment[field]
    assert any(field in line for line in CHECKER.errors("experiment", experiment))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("opponent difficulty", -1),
        ("opponent difficulty", "1"),
        ("assignments", {"team": 9, "opponent": 8, "innocent": 7}),
        ("assignments", {"team": 0, "opponent": 8, "innocent": 7, "assassin": 1}),
        ("flags", {"STRIP WORDS": True}),
        ("flags", {**FLAGS, "STRIP WORDS": 1}),
        ("cluegiver_initial_prompt", 3),
    ],
)
def test_faulty_experiments_are_refused(field: str, value: object) -> None:
    experiment, _ = one()
    assert CHECKER.errors("experiment", {**experiment, field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("game_id", "0"),
        ("board", ["one"]),
        ("board", ["twice", "twice"]),
        ("board", ["fine", "Upper"]),
        ("board", ["fine", "com, ma"]),
        ("board", ["fine", "stop."]),
        ("board", ["fine", ""]),
        ("board", ["fine", 3]),
        ("assignments", {"team": ["a"], "opponent": ["b"], "innocent": []}),
        ("assignments", {"team": [], "opponent": ["b"], "innocent": [], "assassin": []}),
        ("assignments", {"team": ["a"], "opponent": [], "innocent": [], "assassin": []}),
        ("assignments", {"team": 9, "opponent": 8, "innocent": 7, "assassin": 1}),
    ],
)
def test_faulty_instances_are_refused(field: str, value: object) -> None:
    _, item = one()
    assert CHECKER.errors("instance", {**item, field: value})
