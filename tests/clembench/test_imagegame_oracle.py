"""The programs that play the image game."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tests.clembench.games_kit import oracles

from playpen import play
from playpen.conversation import Conversation, Message
from playpen.instance import SPLITS, Experiment, Instance
from playpen.instance_sets import ready_instances
from playpen_clembench.imagegame.drawing import blank
from playpen_clembench.imagegame.game import ImageGame

GAME = ImageGame()
PLAYERS = oracles(GAME)

GRIDS = st.text(alphabet="▢▢▢ABK", min_size=25, max_size=25).map(
    lambda cells: "\n".join(" ".join(cells[n : n + 5]) for n in range(0, 25, 5))
)


def instance(target, **more):
    return Instance(
        "imagegame",
        Experiment("x", {}),
        {"game_id": 0, "grid_dimension": 5, "target_grid": target, **more},
    )


def commands(target, **more):
    (episode,) = play(GAME, PLAYERS, [instance(target, **more)])
    return [said.reply.text for said in episode.replies("giver")]


def after(command, grid=None):
    messages = [] if grid is None else [Message("user", "..."), Message("assistant", grid)]
    return GAME.oracle("follower")(
        Conversation("follower", [*messages, Message("user", f"Rules.\n\n{command}")])
    )


@pytest.mark.parametrize("split", SPLITS)
def test_the_oracles_win_every_ready_instance(split):
    episodes = play(GAME, PLAYERS, ready_instances(GAME, split))
    assert all(episode.success for episode in episodes)
    assert max(len(episode.replies("giver")) for episode in episodes) <= 6


@given(GRIDS)
def test_the_oracles_understand_each_other_about_any_grid(target):
    assume(target != blank(5))
    for item in (
        instance(target),
        instance(
            target,
            player_1_prompt_header="Like this:\n\nX Y\nY X\n\nWhat about this?",
            player_2_prompt_header="Command: put an X in the top left\n\nX ▢\n▢ ▢",
            player_1_question="Well?",
        ),
    ):
        (episode,) = play(GAME, PLAYERS, [item])
        assert episode.main_score == 100


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (blank(5).replace("▢", "B"), ["Fill the whole grid with B"]),
        ("\n".join(["B ▢ ▢ ▢ B"] * 5), ["Fill columns 1 and 5 with B"]),
        (
            "A A A A A\n▢ A ▢ A ▢\nA A A A A\n▢ A ▢ A ▢\nC ▢ ▢ ▢ ▢",
            [
                "Fill rows 1 and 3 with A",
                "Put A in rows 2 and 4, columns 2 and 4",
                "Put C in row 5, column 1",
            ],
        ),
    ],
)
def test_the_giver_needs_few_commands(target, expected):
    assert commands(target) == [f"Command: {text}" for text in [*expected, "DONE"]]


@pytest.mark.parametrize(
    ("command", "cells"),
    [
        ("Command: put an X in the top left", {(1, 1)}),
        ("Command: Put an X in the bottom right corner", {(5, 5)}),
        ("Command: Put an X in second row third column", {(2, 3)}),
        ("COMMAND: place X in row 2, column 3", {(2, 3)}),
        ("Command: Put an X in the last row, middle column", {(5, 3)}),
        ("Command: Fill the last row with X", {(5, x) for x in range(1, 6)}),
        ("Command: Fill the leftmost column with X.", {(y, 1) for y in range(1, 6)}),
        (
            "Command: Put X in rows 1 and 4, columns 2, 3 and 5",
            {(y, x) for y in (1, 4) for x in (2, 3, 5)},
        ),
        ("Command: Put X in row 1, columns 2-4", {(1, 2), (1, 3), (1, 4)}),
        ("Command: Put X in row 1, columns 2 to 4", {(1, 2), (1, 3), (1, 4)}),
        ("Command: Fill all cells with X", {(y, x) for y in range(1, 6) for x in range(1, 6)}),
        ("Command: Put an X somewhere nice", set()),
        ("Command: fill row 9 with X", set()),
        ("Command: row 1", set()),
        ("", set()),
        ("Command: " + "row " * 100_000, set()),
    ],
)
def test_the_follower_understands_english(command, cells):
    grid = [cell.split(" ") for cell in after(command).split("\n")]
    assert {(y + 1, x + 1) for y in range(5) for x in range(5) if grid[y][x] == "X"} == cells
    assert {cell for row in grid for cell in row} <= {"X", "▢"}


def test_the_follower_keeps_its_drawing():
    grid = blank(5).replace("▢", "Q")
    assert after("Command: Put A in row 1, column 1", grid) == grid.replace("Q", "A", 1)
    assert after("Command: Erase row 1", grid) == grid.replace("Q", "▢", 5)
    assert after("Command: Put a ▢ in first row first column", grid) == grid.replace("Q", "▢", 1)
    assert after("Command: hello", grid) == grid


def test_a_giver_without_a_grid_is_done():
    assert GAME.oracle("giver")(Conversation("giver", [Message("user", "")])) == "Command: DONE"
