"""Instances of Guess What: word material, generator, splits, schema."""

from __future__ import annotations

import pytest

from playpen.instance import SPLITS
from playpen.instance_sets import Checker, ready_instances
from playpen_clembench.guesswhat import taxonomy
from playpen_clembench.guesswhat.game import GuessWhat
from playpen_clembench.guesswhat.generate import LEVELS, READY

GAME = GuessWhat()
CHECKER = Checker(GAME)
SETS = {"concrete": taxonomy.everything, "abstract": taxonomy.abstract}


# --- word material -------------------------------------------------------------------------------


def test_every_word_is_a_single_token_and_occurs_once():
    words = [
        word
        for subcategories in taxonomy.everything().values()
        for group in subcategories.values()
        for word in group
    ]
    assert len(words) == len(set(words)) == len(taxonomy.labels())
    assert all(word.isascii() and word.isalpha() and word.islower() for word in words)
    assert len(words) > 1900


def test_every_label_is_used_once_and_can_be_asked_for():
    names = [*taxonomy.everything()]
    names += [name for groups in taxonomy.everything().values() for name in groups]
    assert len(names) == len(set(names))
    assert not any(" or " in name or "," in name for name in names)
    assert not set(names) & taxonomy.labels().keys()


@pytest.mark.parametrize("words", SETS.values(), ids=SETS)
def test_the_material_is_plentiful(words):
    assert len(words()) >= 15
    for groups in words().values():
        assert len(groups) >= 4
        assert all(len(group) >= 10 for group in groups.values())


# --- splits --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ready():
    return {split: ready_instances(GAME, split) for split in SPLITS}


def of_level(instances, level):
    return [item for item in instances if item.experiment.name == level]


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("level", LEVELS)
def test_ready_instances(ready, split, level):
    items = of_level(ready[split], level)
    assert len(items) == READY[split]
    for item in items:
        assert item["max_turns"] == 8
        assert item["target_word"] in item["candidate_list"]
    words = [word for item in items for word in item["candidate_list"]]
    assert len(words) == len(set(words)) == 8 * len(items)


@pytest.mark.parametrize("level", LEVELS)
def test_lists_have_the_structure_of_their_level(ready, level):
    words, spelt = taxonomy.everything(), str.capitalize
    if level.startswith("Abs_"):
        words, spelt = taxonomy.abstract(), str.lower
    categories, subcategories, size = LEVELS[level]
    for item in of_level(ready["train"], level):
        listed = item["candidate_list"]
        assert listed == [spelt(word) for word in listed]
        groups = [taxonomy.labels()[word.lower()] for word in listed]
        assert {category for category, _ in groups} <= words.keys()
        assert len({category for category, _ in groups}) == categories
        assert len(set(groups)) == categories * subcategories
        assert groups == [group for group in dict.fromkeys(groups) for _ in range(size)]


def test_targets_stand_at_any_place(ready):
    places = {item["candidate_list"].index(item["target_word"]) for item in ready["train"]}
    assert places == set(range(8))


def test_concrete_levels_mix_both_kinds_of_words(ready):
    abstract = {
        word for groups in taxonomy.abstract().values() for g in groups.values() for word in g
    }
    words = {
        w.lower() for item in of_level(ready["train"], "Level_1") for w in item["candidate_list"]
    }
    assert words & abstract and words - abstract


@pytest.mark.parametrize("level", LEVELS)
def test_a_thousand_instances(level):
    (experiment,) = GAME.generate("test", seed=1, level=level, n=1000)["experiments"]
    items = experiment["game_instances"]
    assert len({frozenset(item["candidate_list"]) for item in items}) == 1000
    assert len({item["target_word"] for item in items}) > 100


# --- schema --------------------------------------------------------------------------------------

ITEM = {"game_id": 0, "target_word": "Oak", "candidate_list": ["Oak", "Fern"]}
OFFICIAL = {
    "max_turns": 8,
    "question_tag": "Q",
    "answer_tag": "A",
    "guess_tag": "G",
    "answer_variations": ["yes"],
    "letter_based_pattern": "a",
    "direct_guess_pattern": "b",
    "length_question_pattern": "c",
    "syllable_question_pattern": "d",
    "pos_question_pattern": "e",
    "guesser_initial_prompt": "$LIST$",
    "answerer_initial_prompt": "$TARGET WORD$",
}


def test_our_own_and_official_files_are_valid():
    assert CHECKER.errors("experiment", {"max_turns": 8}) == []
    assert CHECKER.errors("experiment", {**OFFICIAL, "more": 1}) == []
    assert CHECKER.errors("instance", {**ITEM, "more": 1}) == []


@pytest.mark.parametrize("field", ITEM)
def test_every_field_of_an_instance_is_required(field):
    assert CHECKER.errors("instance", {k: v for k, v in ITEM.items() if k != field})


@pytest.mark.parametrize("field", sorted(OFFICIAL.keys() - {"answer_tag"}))
def test_prompts_tags_and_patterns_come_together(field):
    config = {k: v for k, v in OFFICIAL.items() if k != field}
    assert any(field in line for line in CHECKER.errors("experiment", config))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_turns", 0),
        ("max_turns", 101),
        ("max_turns", "8"),
        ("question_tag", ""),
        ("guess_tag", None),
        ("answer_variations", []),
        ("answer_variations", "yes"),
        ("pos_question_pattern", ""),
        ("guesser_initial_prompt", "no list"),
        ("answerer_initial_prompt", "$TARGET_WORD$"),
    ],
)
def test_faulty_experiments_are_refused(field, value):
    assert any(field in line for line in CHECKER.errors("experiment", {**OFFICIAL, field: value}))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("game_id", -1),
        ("target_word", ""),
        ("target_word", ["Oak"]),
        ("candidate_list", ["Oak"]),
        ("candidate_list", ["Oak", "Oak"]),
        ("candidate_list", ["Oak", 1]),
        ("candidate_list", "Oak, Fern"),
    ],
)
def test_faulty_instances_are_refused(field, value):
    assert any(field in line for line in CHECKER.errors("instance", {**ITEM, field: value}))
