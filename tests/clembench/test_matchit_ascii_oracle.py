"""The program that plays both sides of match it."""

from __future__ import annotations

from functools import partial

import pytest
from tests.clembench.games_kit import consult, oracles

from playpen import Experiment, Instance, play
from playpen.instance_sets import parse_instances
from playpen_clembench.matchit_ascii.game import MatchItAscii

GAME = MatchItAscii()
PLAYERS = oracles(GAME)
GRID = "X X X X X\nX ▢ ▢ ▢ X\nX ▢ ▢ ▢ X\nX ▢ ▢ ▢ ▢\nX X X X X"
FIRST = f"Rules. Begin with DESCRIPTION:\n\n{GRID}\n\nGo."


say = partial(consult, GAME, "player_a")


@pytest.mark.parametrize("questions", [1, 5, 100])
def test_any_number_of_questions(questions):
    document = GAME.generate("test", n=3)
    for experiment in document["experiments"]:
        for item in experiment["game_instances"]:
            item["decision_turn"] = questions
    episodes = play(GAME, PLAYERS, parse_instances(document, GAME))
    assert [episode.success for episode in episodes] == [True] * 12
    assert {len(episode.replies()) for episode in episodes} == {4 + 4 * questions}


def test_a_single_cell_matters():
    for row in range(5):
        for column in range(5):
            place = 10 * row + 2 * column
            cell = "▢" if GRID[place] == "X" else "X"
            other = GRID[:place] + cell + GRID[place + 1 :]
            config = {"solution": "different grids", "wrong_solution": "same grid"}
            data = {"game_id": 0, "grid_a": GRID, "grid_b": other, "decision_turn": 1}
            (episode,) = play(
                GAME, PLAYERS, [Instance(GAME.name, Experiment("similar_grid_2", config), data)]
            )
            assert episode.success


def test_the_row_that_is_asked_for_is_told():
    assert (
        say(FIRST, "", "x\nQUESTION: What is in Row 4? Use ANSWER:") == "ANSWER: row 4: X ▢ ▢ ▢ ▢"
    )
    everything = say(FIRST, "", "x\nQUESTION: A ring? Use ANSWER:")
    assert everything == say(FIRST).replace("DESCRIPTION:", "ANSWER:")
    assert everything.count("row ") == 5


def test_what_a_row_by_row_answer_tells_decides():
    shown = [FIRST, "DESCRIPTION: ", "DESCRIPTION: a ring\nDo say QUESTION:"]
    assert "row 1" in say(*shown)
    shown += ["QUESTION: row 1?", "ANSWER: row 1: x x x x x\nWhat is it? DECISION:"]
    assert say(*shown) == "DECISION: same grid"
    shown += ["QUESTION: row 2?", "ANSWER: Row 2: X X ▢ ▢ X\nWhat is it? DECISION:"]
    assert say(*shown) == "DECISION: different grids"


def test_different_rows_are_asked_for():
    shown = [FIRST, "DESCRIPTION: ", "DESCRIPTION: a ring\nDo say QUESTION:"]
    asked = []
    for _ in range(3):
        asked.append(say(*shown))
        shown += [asked[-1], "QUESTION:"]
    assert len(set(asked)) == 3


@pytest.mark.parametrize("flag", ["DESCRIPTION:", "QUESTION:", "ANSWER:", "DECISION:"])
@pytest.mark.parametrize("first", ["", GRID, GRID.replace("▢", "O"), f"{GRID}\n{GRID}"])
@pytest.mark.parametrize("middle", ["", "row 1: X", "row 1: X X X X X " * 1000])
def test_the_oracle_replies_to_anything(first, middle, flag):
    assert say(first, "?", f"{middle}\n{flag}").startswith(f"{flag} ")
