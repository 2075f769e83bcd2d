"""The programs that play the family."""

from __future__ import annotations

import ast

import pytest
from tests.clembench.games_kit import consult, generated, noted, oracles

from playpen import play, ready_instances
from playpen.instance import SPLITS
from playpen_clembench.textmapworld.game import (
    TextMapWorld,
    TextMapWorldGraphReasoning,
    TextMapWorldSpecificRoom,
)
from playpen_clembench.textmapworld.maps import house_of

MAIN, DRAWING, TARGET = GAMES = (
    TextMapWorld(),
    TextMapWorldGraphReasoning(),
    TextMapWorldSpecificRoom(),
)
ALL = pytest.mark.parametrize("game", GAMES, ids=lambda game: game.name)
MOVED = "You have made a step and entered {}. Currently available directions: {}. Next?"
BLOCKED = "Not valid. You are still in the {}. Currently available directions: {}. Next?"
START = (
    "GO: DIRECTION, one of [north, south, east, west].\nYou are in the Kitchen. Currently available"
    " directions: south, west.\nGO: west\nThe target room is a Bedroom. You are in the Cave.\n\n"
    "The target room is Box Room. You are in the Study. Currently available directions: east, north"
    ". Next?\n"
)


def played(game, instances):
    return play(game, oracles(game), instances)


def say(game, *texts: str) -> str:
    return consult(game, "explorer", *texts)


@ALL
@pytest.mark.parametrize("split", SPLITS)
def test_the_oracle_succeeds_on_every_ready_instance(game, split):
    episodes = played(game, ready_instances(game, split))
    assert all(episode.success for episode in episodes)
    mean = sum(episode.main_score for episode in episodes) / len(episodes)
    assert mean == 100 if game is TARGET else mean > 95


@ALL
def test_the_oracle_needs_few_moves(game):
    for level in game.levels():
        for episode in played(game, generated(game, "train", seed=11, level=level, n=100)):
            assert episode.success
            assert len(episode.replies()) <= 14


def test_the_drawn_map_is_that_of_the_rooms_entered():
    for item in ready_instances(DRAWING, "test"):
        (episode,) = played(DRAWING, [item])
        house = house_of(item)
        entered = [item["Current_Position"]]
        for said in episode.replies():
            graph = ast.literal_eval(said.reply.text)["graph"]
            assert graph["nodes"] == list(dict.fromkeys(entered))
            pairs = [pair for pairs in graph["edges"].values() for pair in pairs]
            assert {frozenset(pair) for pair in pairs} == {
                frozenset(edge) for edge in house.edges if set(edge) <= set(entered)
            }
            assert len(pairs) == len({frozenset(pair) for pair in pairs})
            for direction, ends in graph["edges"].items():
                assert all(house.doors[first][direction] == second for first, second in ends)
            moves = noted(episode, "move")
            entered = [item["Current_Position"], *(m["new"] for m in moves)][: len(entered) + 1]


@pytest.mark.parametrize("game", [MAIN, TARGET], ids=lambda game: game.name)
def test_the_wording_of_clembench_is_understood(game):
    assert say(game, START) == "GO: east"
    moved = MOVED.format("Hall", "west")
    assert say(game, START, "GO: east", moved) == "GO: west"
    back = MOVED.format("Study", "east, north")
    assert say(game, START, "GO: east", moved, "GO: west", back) == "GO: north"
    end = MOVED.format("Box room", "south")
    assert say(game, START, "GO: north", end) == ("DONE" if game is TARGET else "GO: south")
    assert say(game, START, "GO: east", moved, "GO: west", back, "GO: north", end) == "DONE"


def test_moves_of_others_are_followed():
    """A fork, or a teacher's prefix, may hold replies that no oracle would give."""
    blocked = BLOCKED.format("Study", "east, north")
    hall = MOVED.format("Hall", "west")
    assert say(MAIN, START, "GO: south", blocked, "GO: EAST", hall) == "GO: west"
    dictionary = '{"action": "GO: East", "graph": {"nodes": [], "edges": {}}}'
    graph = '"graph": {"nodes": ["Study"], "edges": {"north": [], "east": [], "south": [], "west": '
    reply = say(DRAWING, START, dictionary, blocked)
    assert reply.startswith('{"action": "GO: east"')
    assert graph + "[]}}" in reply


def test_a_house_of_one_room():
    text = "You are in this room: Cell\nDoors lead: "
    assert say(MAIN, text) == "DONE"
