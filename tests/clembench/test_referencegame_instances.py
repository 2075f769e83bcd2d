"""Instances of the reference game: generator, splits, schema."""

from __future__ import annotations

import random
from typing import Any

import pytest

from playpen import Experiment, Instance, ready_instances
from playpen.instance import SPLITS, InstanceError
from playpen.instance_sets import Checker
from playpen_clembench.referencegame.game import ReferenceGame
from playpen_clembench.referencegame.generate import LEVELS, grids_of, random_grid, triplets

GAME = ReferenceGame()
LISTED = LEVELS[:-1]
POSITIONS = ("first", "second", "third")


@pytest.fixture(scope="module")
def ready() -> dict[str, list[Instance]]:
    return {split: ready_instances(GAME, split) for split in SPLITS}


def distance(first: str, second: str) -> int:
    row = list(range(len(second) + 1))
    for i, a in enumerate(first, 1):
        previous, row[0] = row[0], i
        for j, b in enumerate(second, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (a != b))
    return row[-1]


def by_level(instances: list[Instance]) -> dict[str, list[Instance]]:
    levels: dict[str, list[Instance]] = {}
    for item in instances:
        levels.setdefault(item.experiment.name, []).append(item)
    return levels


# --- the lists of grids --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("level", "count"),
    [
        ("letter_grids", 26),
        ("number_grids", 10),
        ("line_grids_rows", 30),
        ("line_grids_columns", 30),
    ],
)
def test_every_list_has_different_grids(level: str, count: int) -> None:
    grids = grids_of(level)
    assert len(set(grids)) == len(grids) == count
    for grid in grids:
        lines = grid.split("\n")
        assert len(lines) == 5
        assert all(len(line.split(" ")) == 5 for line in lines)
        assert set(grid) == {"X", "□", " ", "\n"}


def test_line_grids_are_one_to_four_full_lines() -> None:
    rows = [grid.split("\n") for grid in grids_of("line_grids_rows")]
    assert all(set(lines) == {"X X X X X", "□ □ □ □ □"} for lines in rows)
    columns = [grid.split("\n") for grid in grids_of("line_grids_columns")]
    assert all(len(set(lines)) == 1 for lines in columns)


def test_random_grids_have_10_to_20_filled_cells() -> None:
    rng = random.Random(1)
    counts = {random_grid(rng).count("X") for _ in range(500)}
    assert counts == set(range(10, 21))


@pytest.mark.parametrize("level", LISTED)
def test_distractors_are_the_two_closest_grids_in_list_order(level: str) -> None:
    grids = grids_of(level)
    for puzzle, target in zip(triplets(grids), grids, strict=True):
        ranked = sorted(
            (distance(target, grid), place) for place, grid in enumerate(grids) if grid != target
        )
        nearest = tuple(grids[place] for _, place in ranked[:2])
        assert (puzzle.target, puzzle.second, puzzle.third) == (target, *nearest)


# --- ready splits --------------------------------------------------------------------------------


def test_every_level_has_enough_instances_in_every_split(ready: dict[str, list[Instance]]) -> None:
    for split, instances in ready.items():
        levels = by_level(instances)
        assert (*levels, "mini") == (*LEVELS, "mini") == GAME.levels()
        for level, items in levels.items():
            assert len(items) >= 9
            assert len(items) % 3 == 0
            assert [item.id for item in items] == list(range(len(items)))
            if level == "random_grids":
                assert len(items) == (180 if split == "train" else 45)
    assert sum(len(by_level(items)["letter_grids"]) for items in ready.values()) == 3 * 26


def test_the_three_orders_of_a_puzzle_stand_together(ready: dict[str, list[Instance]]) -> None:
    for instances in ready.values():
        for level in by_level(instances).values():
            marks = [GAME.fingerprint(item) for item in level]
            assert marks[0::3] == marks[1::3] == marks[2::3]
            assert len(set(marks)) == len(marks) // 3
            assert len({item.hash for item in level}) == len(level)


def test_labels_fit_the_targets_position(ready: dict[str, list[Instance]]) -> None:
    for item in (item for instances in ready.values() for item in instances):
        target, second, third = (
            item[f"player_1_{which}_grid"] for which in ("target", "second", "third")
        )
        position = int(item.id) % 3
        orders = [(target, second, third), (second, target, third), (third, second, target)]
        assert tuple(item[f"player_2_{which}_grid"] for which in POSITIONS) == orders[position]
        assert item["target_grid_name"] == [POSITIONS[position], str(position + 1)]
        assert len({target, second, third}) == 3
        assert distance(target, second) <= distance(target, third)


def test_fingerprints_ignore_order_and_wording(ready: dict[str, list[Instance]]) -> None:
    item = ready["train"][0]
    swapped = {
        **item.data,
        "player_1_second_grid": item["player_1_third_grid"],
        "player_1_third_grid": item["player_1_second_grid"],
        "player_1_prompt_header": "other words",
    }
    other = Instance(GAME.name, Experiment("x", {}), swapped)
    assert GAME.fingerprint(other) == GAME.fingerprint(item)
    turned = {**item.data, "player_1_target_grid": item["player_1_second_grid"]}
    assert GAME.fingerprint(Instance(GAME.name, item.experiment, turned)) != GAME.fingerprint(item)


# --- arguments of the generator ------------------------------------------------------------------


@pytest.mark.parametrize("level", LEVELS)
def test_every_level_has_sixty_instances(level: str) -> None:
    (experiment,) = GAME.generate("validation", level=level, n=60)["experiments"]
    assert len(experiment["game_instances"]) == 60


def test_a_level_that_is_used_up_says_so() -> None:
    with pytest.raises(InstanceError, match=r"'number_grids' gives \d+ instances.*not 5000"):
        GAME.generate("test", level="number_grids", n=5000)


# --- schema --------------------------------------------------------------------------------------

CHECKER = Checker(GAME)
PATTERN = "^(?P<tag>a)(?P<content>(?P<response>.+)(?P<remainder>.*))"
OFFICIAL = {
    "player_1_prompt_header": "Describe it.",
    "player_2_prompt_header": "TARGET_EXPRESSION Which one?",
    "player_1_response_pattern": PATTERN,
    "player_2_response_pattern": PATTERN,
}


def own() -> dict[str, Any]:
    return dict(
        GAME.generate("train", level="number_grids", n=1)["experiments"][0]["game_instances"][0]
    )


def test_our_own_and_official_instances_are_valid() -> None:
    assert CHECKER.errors("experiment", {}) == []
    assert CHECKER.errors("instance", own()) == []
    assert CHECKER.errors("instance", {**own(), **OFFICIAL, "note": "more fields"}) == []
    assert CHECKER.errors("instance", {**own(), **OFFICIAL, "target_grid_name": "first"}) == []
    named = {key: "A" if key.endswith("_grid") else value for key, value in own().items()}
    assert CHECKER.errors("instance", {**named, **OFFICIAL}) == []


@pytest.mark.parametrize("field", sorted(own()))
def test_every_field_is_required(field: str) -> None:
    item = own()
    del item[field]
    assert CHECKER.errors("instance", item)


@pytest.mark.parametrize("field", sorted(OFFICIAL))
def test_prompts_and_patterns_come_together(field: str) -> None:
    item = {**own(), **OFFICIAL}
    del item[field]
    assert any(field in line for line in CHECKER.errors("instance", item))


SHORT_ROW = "X X X X\nX □ □ □ X\nX □ □ □ X\nX □ □ □ X\nX X X X X"
FULL = "X X X X X\nX □ □ □ X\nX □ □ □ X\nX □ □ □ X\nX X X X X"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("game_id", -1),
        ("game_id", "0"),
        ("p1_mode", "lenient"),
        ("p2_mode", None),
        ("lang", ""),
        ("target_grid_name", []),
        ("target_grid_name", ["FIRST"]),
        ("target_grid_name", ""),
        ("target_grid_name", 1),
        ("player_1_target_grid", SHORT_ROW),
        ("player_2_third_grid", FULL + "\n"),
        ("player_2_third_grid", FULL + "\nX X X X X"),
        ("player_1_second_grid", FULL.replace("□", "▢")),
    ],
)
def test_faulty_fields_are_refused(field: str, value: object) -> None:
    errors = CHECKER.errors("instance", {**own(), field: value})
    assert any(field in line for line in errors)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("player_2_prompt_header", "Which one?"),
        ("player_1_prompt_header", ""),
        ("player_1_response_pattern", "^a(?P<response>.+)"),
        ("player_2_response_pattern", "^a(?P<remainder>.+)"),
    ],
)
def test_faulty_official_fields_are_refused(field: str, value: object) -> None:
    errors = CHECKER.errors("instance", {**own(), **OFFICIAL, field: value})
    assert any(field in line for line in errors)
