"""Instances of the image game: shapes, generator, splits, schema."""

from __future__ import annotations

import pytest

from playpen.instance import SPLITS, Experiment, Instance, InstanceError, split_of
from playpen.instance_sets import Checker, ready_instances
from playpen_clembench.imagegame.game import ImageGame
from playpen_clembench.imagegame.generate import LEVELS, READY
from playpen_clembench.shapes import compact_shapes, drawn

GAME = ImageGame()
CHECKER = Checker(GAME)


@pytest.fixture(scope="module")
def ready():
    return {split: ready_instances(GAME, split) for split in SPLITS}


def level_of(instances, name):
    return [item for item in instances if item.experiment.name == name]


def filled(item):
    return sum(cell.isalpha() for cell in item["target_grid"])


# --- shapes --------------------------------------------------------------------------------------

REGULAR = {
    "two rows": "##### ..... ..... ##### .....",
    "a column and more": "#.#.. #.#.. #.#.. #.#.. #.#..",
    "both diagonals": "#...# .#.#. ..#.. .#.#. #...#",
    "plus sign": "..#.. ..#.. ##### ..#.. ..#..",
    "border": "##### #...# #...# #...# #####",
    "triangle": "#.... ##... ###.. ####. #####",
    "triangle on its head": "##### .#### ..### ...## ....#",
    "other triangle": "....# ...## ..### .#### #####",
    "last triangle": "##### ####. ###.. ##... #....",
    "board": "#.#.# .#.#. #.#.# .#.#. #.#.#",
    "other board": ".#.#. #.#.# .#.#. #.#.# .#.#.",
    "rectangle": "..... .###. .###. .###. .....",
    "frame": "..... .#### .#..# .#..# .####",
    "letter T": "##### ..#.. ..#.. ..#.. ..#..",
    "everything": "##### ##### ##### ##### #####",
}


@pytest.mark.parametrize("picture", REGULAR.values(), ids=REGULAR)
def test_regular_shapes_are_there(picture):
    single, _ = compact_shapes()
    rows = picture.split(" ")
    assert {(y, x) for y in range(5) for x in range(5) if rows[y][x] == "#"} in single


def test_compact_shapes_are_different_and_large_enough():
    single, unions = compact_shapes()
    assert len({*single, *unions}) == len(single) + len(unions)
    assert {len(cells) for cells in single + unions} == set(range(8, 26))


def test_a_shape_is_drawn_row_by_row():
    assert drawn(frozenset({(0, 1), (4, 0)}), "Q") == (
        "▢ Q ▢ ▢ ▢\n▢ ▢ ▢ ▢ ▢\n▢ ▢ ▢ ▢ ▢\n▢ ▢ ▢ ▢ ▢\nQ ▢ ▢ ▢ ▢"
    )


# --- splits --------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", SPLITS)
def test_ready_instances(ready, split):
    compact, scattered = (level_of(ready[split], level) for level in LEVELS)
    for items in (compact, scattered):
        assert len(items) == READY[split]
        assert all(len(set(item["target_grid"]) - set("▢ \n")) <= 1 for item in items)
    assert {filled(item) for item in compact} <= set(range(8, 26))
    assert {filled(item) for item in scattered} == set(range(5, 11))
    letters = {cell for item in ready[split] for cell in item["target_grid"] if cell.isalpha()}
    assert len(letters) > 20


def test_compact_grids_are_half_regular_shapes_while_there_are_any(ready):
    single, _ = compact_shapes()
    regular = {drawn(cells, "A") for cells in single}
    for split, count in {"train": 75, "validation": 15, "test": 15}.items():
        marks = [GAME.fingerprint(item) for item in level_of(ready[split], "compact_grids")]
        available = sum(split_of(mark) == split for mark in regular)
        assert abs(sum(mark in regular for mark in marks) - min(count, available)) <= count / 2


def test_the_fingerprint_is_the_shape_not_its_letter_or_wording(ready):
    item = ready["test"][0]
    letter = next(cell for cell in item["target_grid"] if cell.isalpha())
    other = "B" if letter == "A" else "A"
    changed = {
        **item.data,
        "target_grid": item["target_grid"].replace(letter, other),
        "player_1_question": "And now?",
    }
    assert GAME.fingerprint(Instance("imagegame", Experiment("x", {}), changed)) == (
        GAME.fingerprint(item)
    )


def test_a_level_that_is_used_up_says_how_many_there_are():
    with pytest.raises(InstanceError, match=r"has (\d+) shapes in the split 'test', not 100000"):
        GAME.generate("test", level="compact_grids", n=100_000)


# --- schema --------------------------------------------------------------------------------------

GRID = "K ▢ ▢ ▢ ▢\n" * 4 + "K ▢ ▢ ▢ ▢"
OWN = {"game_id": 0, "grid_dimension": 5, "target_grid": GRID}
OFFICIAL = {
    "player_1_prompt_header": "a",
    "player_2_prompt_header": "b",
    "player_1_question": "c",
    "player_1_response_pattern": "^d$",
    "player_1_terminate_pattern": "^e$",
    "player_2_response_pattern": "^f$",
}
UNUSED = {"number_of_letters": 0, "fill_row": False, "fill_column": False}


def test_our_own_and_official_instances_are_valid():
    assert CHECKER.errors("experiment", {}) == []
    assert CHECKER.errors("instance", OWN) == []
    assert CHECKER.errors("instance", {**OWN, **OFFICIAL, **UNUSED}) == []
    small = {**OWN, **OFFICIAL, "grid_dimension": 2, "target_grid": "A ▢\n▢ B"}
    assert CHECKER.errors("instance", small) == []


@pytest.mark.parametrize("field", OWN)
def test_every_field_is_required(field):
    item = {**OWN}
    del item[field]
    assert CHECKER.errors("instance", item)


@pytest.mark.parametrize("field", OFFICIAL)
def test_prompts_and_patterns_come_together(field):
    item = {**OWN, **OFFICIAL}
    del item[field]
    assert any(field in line for line in CHECKER.errors("instance", item))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("game_id", "0"),
        ("grid_dimension", 0),
        ("grid_dimension", 4),
        ("grid_dimension", "5"),
        ("target_grid", ""),
        ("target_grid", GRID.replace("K", "▢")),
        ("target_grid", GRID.replace("▢", "□")),
        ("target_grid", GRID.lower()),
        ("target_grid", GRID.replace(" ", "")),
        ("target_grid", GRID + "\n"),
        ("target_grid", GRID + "\nK ▢ ▢ ▢ ▢"),
        ("target_grid", [GRID]),
    ],
)
def test_faulty_fields_are_refused(field, value):
    assert any(field in line for line in CHECKER.errors("instance", {**OWN, field: value}))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("grid_dimension", 12),
        ("player_1_question", ""),
        ("player_2_response_pattern", None),
        ("target_grid", "▢ ▢\n▢ ▢"),
        ("target_grid", "A  B"),
    ],
)
def test_faulty_official_fields_are_refused(field, value):
    item = {**OWN, **OFFICIAL, field: value}
    assert any(field in line for line in CHECKER.errors("instance", item))
