"""Instances of the family: generator, splits, schema.

See docs/rules/textmapworld.md, "Instances" and "Our own part".
"""

from __future__ import annotations

import ast
from typing import Any

import pytest

from playpen import Experiment, Instance, ready_instances
from playpen.instance import SPLITS
from playpen.instance_sets import Checker
from playpen_clembench.textmapworld.game import (
    TextMapWorld,
    TextMapWorldGraphReasoning,
    TextMapWorldSpecificRoom,
)
from playpen_clembench.textmapworld.generate import room_names
from playpen_clembench.textmapworld.maps import distances, house_of

MAIN, DRAWING, TARGET = GAMES = (
    TextMapWorld(),
    TextMapWorldGraphReasoning(),
    TextMapWorldSpecificRoom(),
)
ALL = pytest.mark.parametrize("game", GAMES, ids=lambda game: game.name)
SIZES = {
    "small": (4, {3}),
    "medium": (6, {5}),
    "large": (8, {7}),
    "medium_cycle": (6, {6}),
    "large_cycle": (8, {8, 9}),
    "on": (8, {7}),
    "close": (8, {7}),
    "far": (8, {7}),
}
DISTANCES = {"on": {0}, "close": {1, 2}, "far": {3, 4}}
NORTH_EAST = {"north": (0, 1), "east": (1, 0), "south": (0, -1), "west": (-1, 0)}


@pytest.fixture(scope="module")
def ready() -> dict[str, dict[str, list[Instance]]]:
    return {game.name: {s: ready_instances(game, s) for s in SPLITS} for game in GAMES}


def test_levels():
    assert MAIN.levels() == ("small", "medium", "large", "medium_cycle", "large_cycle")
    assert DRAWING.levels() == ("small", "medium", "large")
    assert TARGET.levels() == ("on", "close", "far")


@ALL
def test_the_ready_splits_have_every_level(game, ready):
    for split, number in (("train", 50), ("validation", 10), ("test", 10)):
        items = ready[game.name][split]
        assert [item.id for item in items] == list(range(number * len(game.levels())))
        names = [item.experiment.name for item in items]
        assert names == [level for level in game.levels() for _ in range(number)]


@ALL
def test_houses_are_sound(game, ready):
    for item in (item for items in ready[game.name].values() for item in items):
        nodes, edges = ast.literal_eval(item["Graph_Nodes"]), ast.literal_eval(item["Graph_Edges"])
        rooms, passages = SIZES[item.experiment.name]
        assert len(set(nodes)) == len(nodes) == rooms
        assert len(edges) in passages
        assert len(set(map(frozenset, edges))) == len(edges)
        assert item["Cycle"] == ("cycle_true" if len(edges) >= rooms else "cycle_false")
        house = house_of(item)
        assert house.rooms == tuple(nodes)
        assert len(distances(house.graph, nodes[0])) == rooms

        cells = ast.literal_eval(item["Mapping"])
        assert sorted(cells.values()) == sorted(nodes)
        assert all(0 <= x < 4 and 0 <= y < 4 for x, y in cells)
        for (x, y), room in cells.items():
            for direction, other in house.doors[room].items():
                east, north = NORTH_EAST[direction]
                assert cells[x + east, y + north] == other
        assert item["Current_Position"] in nodes


@ALL
def test_fields_that_say_the_same_agree(game, ready):
    for item in ready[game.name]["test"]:
        directions = dict(ast.literal_eval(item["Directions"]))
        moves = {entry["node"]: entry["node_moves"] for entry in ast.literal_eval(item["Moves"])}
        assert directions.keys() == moves.keys() == set(ast.literal_eval(item["Graph_Nodes"]))
        assert {room: [way for way, _ in ways] for room, ways in moves.items()} == directions


def test_targets_are_as_far_away_as_the_level_says(ready):
    found: dict[str, set[int]] = {level: set() for level in DISTANCES}
    for item in (item for items in ready[TARGET.name].values() for item in items):
        away = distances(house_of(item).graph, item["Current_Position"])
        distance = away[item["Specific_Room"]]
        assert item["Specific_Room_Distance"] == str(distance)
        found[item.experiment.name].add(distance)
    assert found == DISTANCES


def test_the_games_share_their_houses(ready):
    def houses(game, level):
        return [game.fingerprint(i) for i in ready[game.name]["test"] if i.experiment.name == level]

    for level in DRAWING.levels():
        assert houses(MAIN, level) == houses(DRAWING, level)
    for level in TARGET.levels():
        assert houses(TARGET, level) == houses(MAIN, "large")


def test_names_of_rooms():
    names = room_names()
    assert len(names) == len(set(names)) >= 40
    assert not any("_" in name or name != name.strip() for name in names)
    assert not any(a.lower() in b.lower() for a in names for b in names if a != b)


def test_a_fingerprint_is_the_map_and_nothing_else(ready):
    item = ready[MAIN.name]["train"][0]
    turned = str(ast.literal_eval(item["Directions"])[::-1])
    rooms = ast.literal_eval(item["Graph_Nodes"])
    for changes, same in [
        ({"Current_Position": rooms[1], "Prompt": "other", "Directions": turned}, True),
        ({"Mapping": "{}", "Graph_Nodes": str(rooms[::-1])}, True),
        (
            {
                field: item[field].replace(f"'{rooms[0]}'", "'Lighthouse'")
                for field in ("Graph_Nodes", "Graph_Edges", "Directions", "Moves")
            },
            False,
        ),
        (
            {
                field: item[field].replace("'west'", "'up'").replace("'east'", "'down'")
                for field in ("Directions", "Moves")
            },
            "west" not in item["Directions"],
        ),
    ]:
        other = Instance(MAIN.name, Experiment("x", {}), {**item.data, **changes})
        assert (MAIN.fingerprint(other) == MAIN.fingerprint(item)) == same


# --- arguments of the generator ------------------------------------------------------------------


# --- schema --------------------------------------------------------------------------------------

OFFICIAL: dict[str, Any] = {
    "Prompt": "Go. $INITIAL_ROOM$",
    "Player2_positive_answer": "$ANOTHER_ROOM$",
    "Player2_negative_answer": "$SAME_ROOM$",
    "Move_Construction": "^GO:\\s*(north|east|west|south)$",
    "Stop_Construction": "^DONE$",
}
OFFICIAL_DRAWING = {**OFFICIAL, "Response_Construction": "^(a)$"}
CHECKERS = {game: Checker(game) for game in GAMES}


def own(game) -> dict[str, Any]:
    (experiment,) = game.generate("train", level=game.levels()[0], n=1)["experiments"]
    return dict(experiment["game_instances"][0])


def official(game) -> dict[str, Any]:
    return own(game) | (OFFICIAL_DRAWING if game is DRAWING else OFFICIAL)


@ALL
def test_our_own_and_official_instances_are_valid(game):
    checker = CHECKERS[game]
    assert checker.errors("experiment", {}) == []
    assert checker.errors("instance", own(game)) == []
    assert checker.errors("instance", official(game) | {"Picture_Name": "graph.png"}) == []
    coordinates = {"Current_Position": [1, 2], "Ambiguity": [2, 1], "lang": "de"}
    assert checker.errors("instance", official(game) | coordinates) == []


@ALL
@pytest.mark.parametrize(
    "field", ["Graph_Nodes", "Graph_Edges", "Directions", "Moves", "Current_Position"]
)
def test_fields_that_are_required(game, field):
    item = own(game)
    del item[field]
    assert any(field in line for line in CHECKERS[game].errors("instance", item))


@ALL
@pytest.mark.parametrize("field", sorted(OFFICIAL))
def test_prompts_and_patterns_come_together(game, field):
    item = official(game)
    del item[field]
    assert any(field in line for line in CHECKERS[game].errors("instance", item))


def test_what_only_one_game_requires():
    item = official(DRAWING)
    del item["Response_Construction"]
    assert any("Response_Construction" in e for e in CHECKERS[DRAWING].errors("instance", item))
    assert CHECKERS[MAIN].errors("instance", item) == []
    item = own(DRAWING) | {"Response_Construction": "(a)"}
    assert any("Prompt" in e for e in CHECKERS[DRAWING].errors("instance", item))
    item = own(TARGET)
    del item["Specific_Room"]
    assert any("Specific_Room" in e for e in CHECKERS[TARGET].errors("instance", item))
    assert CHECKERS[MAIN].errors("instance", item) == []


@ALL
@pytest.mark.parametrize(
    "changes",
    [
        {"game_id": -1},
        {"game_id": "one"},
        {"Graph_Nodes": ["Barn"]},
        {"Graph_Edges": "{}"},
        {"Moves": ""},
        {"Directions": None},
        {"Current_Position": ""},
        {"Current_Position": 3},
        {"Specific_Room": ""},
        {"Loop_Reminder": True},
        {"Max_Turns_Reminder": 1},
        {"Max_Turns_Reminder": True},
        {"Move_Construction": "^GO: north$"},
        {"Response_Construction": "a"},
        {"Stop_Construction": ""},
        {"Prompt": None},
        {"lang": ""},
    ],
    ids=str,
)
def test_faulty_fields_are_refused(game, changes):
    errors = CHECKERS[game].errors("instance", official(game) | changes)
    assert any(next(iter(changes)) in line for line in errors)
