"""The programs that play the reference game."""

from __future__ import annotations

import re
from collections import Counter
from functools import partial

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tests.clembench.games_kit import consult, oracles

from playpen import Instance, play
from playpen.instance_sets import parse_instances
from playpen_clembench.grids import format_grid, parse_grid
from playpen_clembench.referencegame.game import ReferenceGame

GAME = ReferenceGame()
PLAYERS = oracles(GAME)

GRIDS = st.lists(st.text(alphabet="X□", min_size=5, max_size=5), min_size=5, max_size=5).map(
    format_grid
)
ORDERS = st.permutations([0, 1, 2])


say = partial(consult, GAME)


def is_true(fact: str, grid: str) -> bool:
    """Whether a statement of the giver is true of a grid, read independently of the oracle."""
    cells = parse_grid(grid)
    numbers = [int(word) for word in re.findall(r"\d+", fact)]
    if fact.startswith("exactly"):
        return grid.count("X") == numbers[0]
    if fact.startswith("row"):
        named = cells[numbers[0] - 1]
    elif fact.startswith("column"):
        named = tuple(row[numbers[0] - 1] for row in cells)
    else:
        named = (cells[numbers[0] - 1][numbers[1] - 1],)
    return set(named) == {"X" if fact.endswith("filled") else "□"}


def wins(instances: list[Instance]) -> Counter[bool]:
    return Counter(episode.success for episode in play(GAME, PLAYERS, instances))


def test_the_oracles_win_many_random_grids() -> None:
    document = GAME.generate("train", seed=9, level="random_grids", n=600)
    assert wins(parse_instances(document, GAME)) == {True: 600}


@given(GRIDS, GRIDS, GRIDS, ORDERS)
def test_the_oracles_understand_each_other_about_any_grids(
    target: str, second: str, third: str, order: list[int]
) -> None:
    assume(target not in (second, third))
    grids = [target, second, third]
    expression = say("giver", "Some rules.\n\n" + "\n\nNext:\n\n".join(grids) + "\n\nDescribe it.")
    assert expression.startswith("Expression: The grid where ")
    facts = expression.removeprefix("Expression: The grid where ").removesuffix(".").split(" and ")
    assert all(is_true(fact, target) for fact in facts)
    assert not all(is_true(fact, second) for fact in facts)
    assert not all(is_true(fact, third) for fact in facts)
    shown = "\n\n".join(f"No. {i}:\n\n{grids[k]}" for i, k in enumerate(order))
    answer = say("follower", f"{shown}\n\n{expression}\nWhich one?\n")
    assert answer == f"Answer: {('first', 'second', 'third')[order.index(0)]}"


FRAME = "X X X X X\nX □ □ □ X\nX □ □ □ X\nX □ □ □ X\nX X X X X"


@pytest.mark.parametrize(
    ("second", "third", "facts"),
    [
        (
            "□ □ □ □ □\nX □ □ □ X\nX □ □ □ X\nX □ □ □ X\nX X X X X",
            "X □ X X X\nX X □ □ X\nX □ □ □ X\nX □ □ □ X\nX X X X X",
            "row 1 is completely filled",
        ),
        (
            "X X X X X\nX □ X □ X\nX □ □ □ X\nX □ □ □ X\nX X X X X",
            "X X X X X\nX □ □ □ X\nX □ X □ X\nX □ □ □ X\nX X X X X",
            "exactly 16 cells are filled",
        ),
        (
            "X X X X X\nX □ X □ X\nX □ □ □ X\nX □ □ □ X\nX X X X X",
            "X X X X X\nX □ □ □ X\nX □ X □ X\nX □ □ □ X\nX X X X □",
            "exactly 16 cells are filled and row 5 is completely filled",
        ),
    ],
)
def test_the_giver_states_the_fewest_and_simplest_facts(
    second: str, third: str, facts: str
) -> None:
    stated = say("giver", "\n\n".join([FRAME, second, third]))
    assert stated == f"Expression: The grid where {facts}."


def test_a_follower_that_learns_nothing_guesses_by_its_seed() -> None:
    prompt = "\n\n".join([FRAME, FRAME.replace("□", "X"), FRAME.replace("X", "□"), "a ring"])
    answers = Counter(say("follower", prompt, seed=seed) for seed in range(90))
    assert set(answers) == {"Answer: first", "Answer: second", "Answer: third"}
    assert say("follower", prompt, seed=7) == say("follower", prompt, seed=7)


@pytest.mark.parametrize("role", GAME.role_names())
@pytest.mark.parametrize(
    "text",
    ["", "hello", FRAME, "\n\n".join([FRAME] * 3), "\n\n".join([FRAME] * 3) + "\nrow 1 " * 10**5],
    ids=["empty", "no grid", "one grid", "equal grids", "long"],
)
def test_the_oracles_answer_any_prompt(role: str, text: str) -> None:
    tag = "Expression:" if role == "giver" else "Answer:"
    assert say(role, text).startswith(tag)
