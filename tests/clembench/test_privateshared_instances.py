"""Instances of private and shared: our texts and values, the generator, the schema."""

from __future__ import annotations

import copy
import re

import pytest
from tests.clembench.games_kit import generated

from playpen import ready_instances
from playpen.instance import SPLITS, InstanceError
from playpen.instance_sets import Checker, parse_instances
from playpen_clembench.privateshared.game import PrivateShared
from playpen_clembench.privateshared.generate import pools
from playpen_clembench.privateshared.texts import scenes_of

GAME = PrivateShared()
SIZES = {
    "travel-booking": 5,
    "job-interview": 5,
    "restaurant": 5,
    "things-places": 15,
    "letter-number": 10,
}
PLACES = """left right top bottom center northwest northeast southwest southeast here there nowhere
everywhere inside outside"""
# Slot to the number of requests and of probing questions in clembench
# (docs/rules/privateshared.md, "Instances").
OFFICIAL = {
    "travel-booking": {
        "from": (5, 10),
        "to": (5, 10),
        "by": (5, 8),
        "class": (5, 4),
        "when": (5, 10),
    },
    "job-interview": {
        "bachelor": (5, 5),
        "industry-experience": (5, 5),
        "highest-education": (3, 5),
        "other-skills": (5, 5),
        "availability": (5, 7),
    },
    "restaurant": dict.fromkeys(["appetizer", "drink", "main-dish", "dessert", "salad"], (5, 5)),
    "things-places": dict.fromkeys(PLACES.split(), (1, 1)),
    "letter-number": dict.fromkeys("abcdefghij", (1, 1)),
}
TAGS = ["TRAVEL-AGENT", "RECRUITER", "WAITER", "QUESTIONER", "QUESTIONER"]


# --- our texts and values ------------------------------------------------------------------------


def test_our_texts_are_enough_for_all_official_numbers():
    scenes = scenes_of("en")
    assert [*scenes, "mini"] == [*OFFICIAL, "mini"] == list(GAME.levels())
    assert [scene.tag for scene in scenes.values()] == TAGS
    for name, slots in OFFICIAL.items():
        scene = scenes[name]
        assert list(scene.requests) == list(scene.probing_questions) == list(slots)
        for slot, (requests, questions) in slots.items():
            assert len(scene.requests[slot]) >= requests
            assert len(scene.probing_questions[slot]) >= questions


def sentences(scene):
    return [
        (slot, text)
        for wordings in (scene.requests, scene.probing_questions)
        for slot, texts in wordings.items()
        for text in texts
    ]


@pytest.mark.parametrize("name", SIZES)
def test_no_text_stands_for_two_slots(name):
    texts = [text for _, text in sentences(scenes_of("en")[name])]
    assert len(set(texts)) == len(texts)
    assert not any(a != b and a in b for a in texts for b in texts)
    assert all(re.fullmatch(r"[A-Z][^?]*\?", text) for text in texts)


def values_of(name):
    """All values of a level that has fixed ones, with the slots that they are for."""
    pool = pools()[name]
    if isinstance(pool, list):
        return [("", value) for value in pool]
    return [(slot, value) for slot, values in pool.items() for value in values]


@pytest.mark.parametrize("name", list(SIZES)[:-1])
def test_no_value_is_part_of_what_is_said_anyway(name):
    """Else it would be told by accident: what counts is whether an answer contains the value."""
    values = [value.lower() for _, value in values_of(name)]
    assert len(set(values)) == len(values)
    assert not [(a, b) for a in values for b in values if a != b and a in b]
    scene = scenes_of("en")[name]
    said = [text for _, text in sentences(scene)]
    said += [scene.situation, scene.topic, scene.tag, *scene.requests]
    said += ["I do not know.", "None", "No.", "Yes, that is right.", "First", "Nothing", "Any"]
    assert not [(v, text) for v in values for text in said if v in text.lower()]


@pytest.mark.parametrize("name", ["travel-booking", "job-interview", "restaurant"])
def test_every_slot_has_values(name):
    assert list(pools()[name]) == list(OFFICIAL[name])
    assert all(len(values) >= 5 for values in pools()[name].values())


# --- generator -----------------------------------------------------------------------------------


@pytest.mark.parametrize("split", SPLITS)
def test_ready_instances(split):
    instances = ready_instances(GAME, split)
    per_level = 60 if split == "train" else 10
    names = [instance.experiment.name for instance in instances]
    assert {name: names.count(name) for name in SIZES} == dict.fromkeys(SIZES, per_level)
    for instance in instances:
        slots, number = instance["slots"], SIZES[instance.experiment.name]
        scene = scenes_of("en")[instance.experiment.name]
        assert list(slots) == list(scene.requests) and len(set(slots.values())) == number
        assert sorted(instance["request_order"]) == sorted(slots)
        assert all(instance["requests"][slot] < len(scene.requests[slot]) for slot in slots)
        assert list(instance["probes"]) == [str(n) for n in range(number + 1)]
        for probes in instance["probes"].values():
            assert list(probes) == list(slots)
            assert all(n < len(scene.probing_questions[slot]) for slot, n in probes.items())
        assert not {"initial_prompt", "tag"} & instance.data.keys()
    orders = {tuple(i["request_order"]) for i in instances if i.experiment.name == names[0]}
    assert len(orders) > per_level // 2


def test_numbers_have_four_digits():
    for instance in generated(GAME, "test", level="letter-number", n=200):
        assert all(re.fullmatch("[1-9][0-9]{3}", value) for value in instance["slots"].values())


def test_the_instances_of_a_seed_stay_the_same():
    slots = GAME.generate("test")["experiments"][0]["game_instances"][0]["slots"]
    assert list(slots.values()) == ["Krakow", "Seville", "Train", "Business", "On 3 May"]


def test_the_fingerprint_is_the_secret_and_not_its_wording():
    (instance,) = generated(GAME, "test", level="restaurant", n=1)
    data = copy.deepcopy(dict(instance.data))
    data["request_order"].reverse()
    data["probes"]["0"] = dict.fromkeys(data["slots"], 0)
    data["initial_prompt"] = "Hello."
    data["slots"] = dict(reversed(data["slots"].items()))
    (other,) = parse_instances(document(data), GAME)
    assert GAME.fingerprint(other) == GAME.fingerprint(instance)
    data["slots"]["drink"] = "Something else"
    assert GAME.fingerprint(other) != GAME.fingerprint(instance)


def test_a_level_that_is_used_up_says_so():
    with pytest.raises(InstanceError, match=r"has \d{4} instances in the split 'test'"):
        GAME.generate("test", level="job-interview", n=10**6)


# --- schema --------------------------------------------------------------------------------------


def document(instance, **experiment):
    return {"experiments": [{"name": "restaurant", **experiment, "game_instances": [instance]}]}


def example():
    return copy.deepcopy(
        GAME.generate("test", level="restaurant", n=1)["experiments"][0]["game_instances"][0]
    )


def test_official_fields_are_accepted():
    official = {**example(), "tag": "WAITER", "initial_prompt": "Eat.", "more": [1]}
    assert parse_instances(document(official, timestamp="now"), GAME)


WORDS = {
    "ANSWER": "A: ",
    "ASIDE": "B: ",
    "ME": "C: ",
    "PROBE": "C: {}",
    "YES": "yes",
    "NO": "no",
    "OK": "Ok.",
    "CODA": "x",
}


@pytest.mark.parametrize(
    "texts",
    [
        {},
        {"requests": {"drink": ["Drink?"]}},
        {"reprompts": {"suffixes": ["", "a", "b", "c", "d"]}},
        {"words": WORDS},
    ],
)
def test_texts_are_accepted(texts):
    assert Checker(GAME).errors("experiment", {"texts": texts}) == []


@pytest.mark.parametrize(
    "texts",
    [
        {"request": {}},
        {"requests": {"drink": []}},
        {"requests": {"drink": "Drink?"}},
        {"probing_questions": ["a"]},
        {"reprompts": {"suffixes": ["", "a"]}},
        {"reprompts": ["", "a", "b", "c", "d"]},
        {"words": {**WORDS, "PROBE": "C:"}},
        {"words": {**WORDS, "YES": "Yes"}},
        {"words": {**WORDS, "ASIDE": " "}},
        {"words": {"ANSWER": "A: "}},
    ],
)
def test_broken_texts_are_rejected(texts):
    assert Checker(GAME).errors("experiment", {"texts": texts})


REMOVED = object()


@pytest.mark.parametrize(
    "change",
    [
        *({field: REMOVED} for field in ("slots", "request_order", "requests", "probes")),
        {"slots": {}},
        {"slots": {"a": ""}},
        {"slots": {"a": 1}},
        {"slots": {f"s{n}": "v" for n in range(31)}},
        {"request_order": ["drink", "drink"]},
        {"request_order": []},
        {"requests": {"drink": -1}},
        {"requests": {"drink": "Drink?"}},
        {"probes": {}},
        {"probes": {"0": {"drink": 0}}},
        {"probes": {"0": {}, "1": {"drink": 0}}},
        {"probes": {"0": {"drink": 0}, "1": {"drink": 0}, "01": {"drink": 0}}},
        {"tag": ""},
        {"initial_prompt": None},
    ],
)
def test_broken_instances_are_rejected(change):
    data = {key: value for key, value in {**example(), **change}.items() if value is not REMOVED}
    with pytest.raises(InstanceError, match="experiment 'restaurant', instance 0: "):
        parse_instances(document(data), GAME)
