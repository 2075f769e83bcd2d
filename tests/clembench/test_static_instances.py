"""Instances of the static benchmarks: made-up questions, splits, schemas."""

from __future__ import annotations

import random
from typing import Any

import pytest

from playpen.game import Game
from playpen.instance import SPLITS, Experiment, Instance, InstanceError
from playpen.instance_sets import Checker, ready_instances
from playpen_clembench.static.bbh import Bbh
from playpen_clembench.static.cladder import Cladder
from playpen_clembench.static.eqbench import EqBench
from playpen_clembench.static.ifeval import IfEval
from playpen_clembench.static.made_up.puzzles import READY, Item, Puzzles
from playpen_clembench.static.mmlu_pro import MmluPro

ALL = [MmluPro(), Cladder(), EqBench(), Bbh(), IfEval()]
GAMES = pytest.mark.parametrize("game", ALL, ids=lambda game: game.name)
LEVELS = pytest.mark.parametrize(
    ("game", "level"), [(game, level) for game in ALL for level in game.levels()]
)


# --- made-up questions ---------------------------------------------------------------------------


@GAMES
@pytest.mark.parametrize("split", SPLITS)
def test_ready_instances(game: Game, split: str) -> None:
    instances = ready_instances(game, split)
    names = [instance.experiment.name for instance in instances]
    assert tuple(dict.fromkeys(names)) == game.levels()
    assert len(instances) == READY[split] * len(game.levels())


@LEVELS
def test_not_all_questions_have_the_same_answer(game: Game, level: str) -> None:
    (experiment,) = game.generate("test", seed=1, level=level, n=1000)["experiments"]
    assert len({str(item["target"]) for item in experiment["game_instances"]}) > 1


def test_a_level_that_is_used_up_says_so() -> None:
    with pytest.raises(
        InstanceError, match=r"'sums' has \d+ instances in the test split, not 9999"
    ):
        MmluPro().generate("test", level="sums", n=9999)


def test_puzzles_are_all_combinations_each_once() -> None:
    puzzles = Puzzles(lambda a, b: None if a == b else Item(f"{a}{b}", a), ("xyz", "xyzw"))
    dealt = [[item.input for item in puzzles.shuffled(random.Random(seed))] for seed in (0, 1)]
    expected = {a + b for a in "xyz" for b in "xyzw" if a != b}
    assert [sorted(order) for order in dealt] == [sorted(expected)] * 2
    assert dealt[0] != dealt[1]


@GAMES
def test_a_fingerprint_is_the_question_alone(game: Game) -> None:
    one, other = ready_instances(game, "train")[:2]
    same = Instance(game.name, Experiment("y", {"a": 1}), {**one.data, "game_id": 99})
    assert game.fingerprint(same) == game.fingerprint(one) != game.fingerprint(other)


def test_answers_are_spread() -> None:
    letters = [i["target"] for i in ready_instances(MmluPro(), "train")]
    assert set(letters) == set("ABCDEFGHIJ")
    words = [i["target"] for i in ready_instances(Cladder(), "train")]
    assert 0.3 < words.count("yes") / len(words) < 0.7


def test_options_are_ten_different_numbers_with_the_right_one_at_its_letter() -> None:
    for instance in ready_instances(MmluPro(), "test"):
        question, _, options = instance["input"].partition("Options:\n")
        lines = options.splitlines()
        assert [line[:3] for line in lines] == [f"{letter}. " for letter in "ABCDEFGHIJ"]
        assert len(set(lines)) == len({line[3:] for line in lines}) == 10
        if instance.experiment.name == "sums":
            expression = question.split("What is ")[1].rstrip("?\n")
            a, operation, b = expression.split()
            right = {"plus": int(a) + int(b), "minus": int(a) - int(b), "times": int(a) * int(b)}
            assert f"{instance['target']}. {right[operation]}" in lines


def test_tasks_combine_as_many_instructions_as_their_level_says() -> None:
    counts: dict[str, set[int]] = {}
    ids = set()
    for instance in ready_instances(IfEval(), "train"):
        counts.setdefault(instance.experiment.name, set()).add(len(instance["target"]))
        ids |= set(instance["target"])
    assert counts == {"one_instruction": {1}, "two_instructions": {2}, "three_instructions": {3}}
    assert len(ids) == 17


# --- schemas -------------------------------------------------------------------------------------

CHECKERS = {game.name: Checker(game) for game in ALL}
META = {"meta": {"task": "x", "generation_kwargs": {"until": ["Q:"], "max_gen_toks": 1280}}}
OFFICIAL: dict[str, dict[str, Any]] = {
    "mmlu_pro": {
        **META,
        "initial_prompt": "The question:\n{{input}}\n",
        "choices": ["A", "B"],
        "regex_pattern": r"answer is \(?([AB])\)?",
    },
    "cladder": {**META, "initial_prompt": "{{ prompt }}", "choices": ["yes", "no"]},
    "eqbench": META,
    "bbh": {**META, "initial_prompt": "Q: 1\nA: 2\n\nQ: {{input}}\nA:"},
    "ifeval": META,
}
TARGETS: dict[str, Any] = {
    "mmlu_pro": "A",
    "cladder": "yes",
    "eqbench": {"Calm": 2, "Proud": 7, "Self-conscious": 0, "Tired": 10},
    "bbh": "(B)",
    "ifeval": {"keywords:existence": {"keywords": ["so"]}, "punctuation:no_comma": {}},
}


def item(name: str, **changes: Any) -> dict[str, Any]:
    return {"game_id": 5, "input": "What?", "target": TARGETS[name], **changes}


@GAMES
def test_official_files_are_valid(game: Game) -> None:
    checker = CHECKERS[game.name]
    assert checker.errors("experiment", OFFICIAL[game.name]) == []
    assert checker.errors("instance", item(game.name, note="more fields")) == []


@GAMES
@pytest.mark.parametrize("field", ["game_id", "input", "target"])
def test_every_field_is_required(game: Game, field: str) -> None:
    faulty = item(game.name)
    del faulty[field]
    assert any(field in line for line in CHECKERS[game.name].errors("instance", faulty))


@GAMES
@pytest.mark.parametrize(
    ("field", "value"),
    [("game_id", -1), ("game_id", "5"), ("input", ""), ("input", ["What?"]), ("target", 1)],
)
def test_faulty_fields_are_refused(game: Game, field: str, value: object) -> None:
    errors = CHECKERS[game.name].errors("instance", item(game.name, **{field: value}))
    assert any(field in line for line in errors)


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("mmlu_pro", "choices", []),
        ("mmlu_pro", "choices", "AB"),
        ("mmlu_pro", "regex_pattern", "answer is [AB]"),
        ("mmlu_pro", "regex_pattern", r"answer is \((?:A|B)"),
        ("mmlu_pro", "initial_prompt", "Question: {{prompt}}"),
        ("mmlu_pro", "initial_prompt", "{% if input %}{{input}}{% endif %}"),
        ("mmlu_pro", "initial_prompt", "{{input}} {{other}}"),
        ("mmlu_pro", "initial_prompt", "{{input|upper}}"),
        ("bbh", "initial_prompt", "{# a note #}{{input}}"),
        ("cladder", "initial_prompt", "Question: {{input}}"),
        ("cladder", "choices", ["Yes", "No"]),
        ("ifeval", "meta", {"generation_kwargs": {"max_gen_toks": "1280"}}),
    ],
)
def test_faulty_experiments_are_refused(name: str, field: str, value: object) -> None:
    errors = CHECKERS[name].errors("experiment", {**OFFICIAL[name], field: value})
    assert any(field in line for line in errors)


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("eqbench", {"Calm": 2, "Proud": 7, "Tired": 0}),
        ("eqbench", {"Calm": 2, "Proud": 7, "Tired": 0, "Angry": 11}),
        ("eqbench", {"Calm": 2, "Proud": 7, "Tired": 0, "Angry": "1"}),
        ("ifeval", {}),
        ("ifeval", {"keywords:rhyme": {}}),
        ("ifeval", {"punctuation:no_comma": {"marks": ","}}),
        ("ifeval", {"keywords:existence": {}}),
        ("ifeval", {"keywords:existence": {"keywords": []}}),
        ("ifeval", {"keywords:existence": {"keywords": "so"}}),
        ("ifeval", {"length_constraints:number_words": {"num_words": 3}}),
        ("ifeval", {"length_constraints:number_words": {"num_words": 3, "relation": "exactly"}}),
        ("ifeval", {"length_constraints:number_paragraphs": {"num_paragraphs": -1}}),
        ("ifeval", {"language:response_language": {"language": "xx"}}),
    ],
)
def test_faulty_targets_are_refused(name: str, target: object) -> None:
    assert CHECKERS[name].errors("instance", item(name, target=target))
