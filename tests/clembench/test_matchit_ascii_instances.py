"""Instances of match it: the generator and the schema."""

from __future__ import annotations

import copy
import re
from collections import Counter

import pytest

from playpen import ready_instances
from playpen.instance import SPLITS, InstanceError
from playpen.instance_sets import Checker, parse_instances
from playpen_clembench.grids import parse_grid
from playpen_clembench.matchit_ascii.game import MatchItAscii

GAME = MatchItAscii()
LEVELS = ("same_grid", "similar_grid_1", "similar_grid_2", "different_grid")
GRID = re.compile("[X▢]( [X▢]){4}(\n[X▢]( [X▢]){4}){4}")


def pairs(level, split="train", n=300, seed=0):
    (experiment,) = GAME.generate(split, level=level, n=n, seed=seed)["experiments"]
    return [(item["grid_a"], item["grid_b"]) for item in experiment["game_instances"]]


def differences(first, second):
    return sum(a != b for a, b in zip(first, second, strict=True))


def images(grid):
    """The grid turned and mirrored in all eight ways, as rows of cells."""
    rows = parse_grid(grid)
    found = []
    for _ in range(4):
        rows = tuple(zip(*rows[::-1], strict=True))
        found += [rows, tuple(row[::-1] for row in rows)]
    return found


@pytest.mark.parametrize("split", SPLITS)
def test_ready_instances(split):
    instances = ready_instances(GAME, split)
    per_level = 60 if split == "train" else 10
    names = [instance.experiment.name for instance in instances]
    assert Counter(names) == dict.fromkeys(LEVELS, per_level)
    for instance in instances:
        assert GRID.fullmatch(instance["grid_a"]) and GRID.fullmatch(instance["grid_b"])
        assert instance["decision_turn"] == 3
        same = instance["grid_a"] == instance["grid_b"]
        assert same == (instance.experiment.name == "same_grid")
        solutions = (instance["solution"], instance["wrong_solution"])
        assert solutions == (
            ("same grid", "different grids") if same else ("different grids", "same grid")
        )
        assert not {"initial_prompt", "flags", "d_reprompt"} & set(instance)


def test_mirrored_and_turned_grids():
    """A quarter turn either way, a half turn, and the two mirror images of rows and columns."""
    times = Counter()
    for first, second in pairs("similar_grid_1"):
        kinds = {n for n, image in enumerate(images(second)) if image == parse_grid(first)}
        assert first != second and kinds & {0, 2, 3, 4, 7}
        times.update(kinds)
    assert all(times[kind] > 20 for kind in (0, 2, 3, 4, 7))


def test_edited_grids_differ_in_two_cells():
    assert {differences(*pair) for pair in pairs("similar_grid_2")} == {2}


def test_different_grids_are_unrelated():
    for first, second in pairs("different_grid"):
        assert differences(first, second) >= 6
        assert parse_grid(first) not in images(second)
        inverted = second.translate(str.maketrans("X▢", "▢X"))
        assert first != inverted
        filled = [{n for n, cell in enumerate(grid) if cell == "X"} for grid in (first, second)]
        assert filled[0] - filled[1] and filled[1] - filled[0]


@pytest.mark.parametrize("level", LEVELS)
def test_no_grid_is_empty_or_full(level):
    first = [grid for grid, _ in pairs(level, n=1000)]
    assert all("X" in grid and "▢" in grid for grid in first)


@pytest.mark.parametrize("level", ["similar_grid_1", "similar_grid_2", "different_grid"])
def test_either_player_may_have_either_grid(level):
    # Were the edited grid always the second one, it would give the answer away.
    order = [first < second for first, second in pairs(level)]
    assert 100 < sum(order) < 200


def test_the_instances_of_a_seed_stay_the_same():
    assert pairs("same_grid", "test", n=1)[0][0].split("\n") == [
        "▢ ▢ X ▢ ▢",
        "▢ X ▢ X ▢",
        "X X X ▢ X",
        "X X X X ▢",
        "▢ ▢ X ▢ ▢",
    ]


def test_the_fingerprint_is_the_pair_of_grids():
    first, second = pairs("different_grid", n=1)[0]
    variants = [
        {"game_id": 0, "grid_a": first, "grid_b": second, "decision_turn": 3},
        {"game_id": 1, "grid_a": second, "grid_b": first, "decision_turn": 5},
    ]
    instances = parse_instances(document(*variants), GAME)
    assert len({GAME.fingerprint(instance) for instance in instances}) == 1
    (other,) = parse_instances(document({**variants[0], "grid_b": first}), GAME)
    assert GAME.fingerprint(other) != GAME.fingerprint(instances[0])


# --- schema --------------------------------------------------------------------------------------


def document(*instances, **experiment):
    solutions = {"solution": "same grid", "wrong_solution": "different grids"}
    entry = {"name": "x", **solutions, **experiment, "game_instances": list(instances)}
    return {"experiments": [entry]}


def example():
    return copy.deepcopy(GAME.generate("test", n=1)["experiments"][0]["game_instances"][0])


OFFICIAL = {
    "initial_prompt": "Look: $GRID$",
    "desc_intro": "Mine is ",
    "q_reprompt": "Ask.",
    "a_request": " Answer.",
    "d_reprompt": "Decide.\n",
    "flags": {"description": "D:", "question": "Q:", "answer": "A:", "decision": "E:"},
    "timestamp": "now",
}


def test_official_fields_are_accepted():
    assert parse_instances(document({**example(), "more": 1}, **OFFICIAL), GAME)


REMOVED = object()


@pytest.mark.parametrize(
    "change",
    [
        {"solution": REMOVED},
        {"wrong_solution": REMOVED},
        {"solution": "same grid."},
        {"solution": ""},
        {"solution": "same\ngrid"},
        {"initial_prompt": "Look."},
        {"desc_intro": 1},
        {"q_reprompt": ""},
        {"flags": {"description": "D:"}},
        {"flags": {**OFFICIAL["flags"], "answer": "MY ANSWER:"}},
        {"flags": {**OFFICIAL["flags"], "answer": ""}},
        {"flags": {**OFFICIAL["flags"], "answer": "A:\n"}},
        {"wrong_solution": "no\n"},
    ],
)
def test_broken_experiments_are_rejected(change):
    config = {"solution": "same grid", "wrong_solution": "different grids", **OFFICIAL, **change}
    config = {key: value for key, value in config.items() if value is not REMOVED}
    assert Checker(GAME).errors("experiment", config)


@pytest.mark.parametrize(
    "change",
    [
        *({field: REMOVED} for field in ("grid_a", "grid_b", "decision_turn")),
        {"grid_a": ""},
        {"grid_b": "X  X"},
        {"grid_b": "X X\n"},
        {"grid_b": ["X"]},
        {"decision_turn": 0},
        {"decision_turn": 101},
        {"decision_turn": "3"},
    ],
)
def test_broken_instances_are_rejected(change):
    data = {key: value for key, value in {**example(), **change}.items() if value is not REMOVED}
    with pytest.raises(InstanceError, match="experiment 'x', instance 0: "):
        parse_instances(document(data), GAME)
