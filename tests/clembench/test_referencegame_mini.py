"""The level `mini` of the reference game: grids of named cells for very small models."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import pytest

from playpen import Conversation, Instance, Message, Program, play, ready_instances, split_of
from playpen.instance import SPLITS
from playpen.instance_sets import parse_instances
from playpen.players.program import FunctionPlayer
from playpen_clembench.mini import SIZES
from playpen_clembench.referencegame import mini
from playpen_clembench.referencegame.game import ReferenceGame

GAME = ReferenceGame()
ANSWERS = ("first", "second", "third")


def generated(split: str, **options: int) -> list[Instance]:
    return parse_instances(GAME.generate(split, level="mini", **options), GAME, split=split)


@pytest.fixture(scope="module")
def instances() -> dict[str, list[Instance]]:
    return {split: generated(split) for split in SPLITS}


def test_the_level_is_made_on_demand_only() -> None:
    assert GAME.levels()[-1] == "mini"
    for split in SPLITS:
        assert "mini" not in {item.experiment.name for item in ready_instances(GAME, split)}


def test_the_numbers_of_instances(instances: dict[str, list[Instance]]) -> None:
    assert {split: len(items) for split, items in instances.items()} == SIZES
    assert len(generated("train", n=7)) == 7


def test_grids_are_nine_cells_of_which_three_show_their_names() -> None:
    assert len(set(mini.grids())) == len(mini.grids()) == 84
    for grid in mini.grids():
        cells = [line.split(" ") for line in grid.split("\n")]
        assert [len(row) for row in cells] == [3, 3, 3]
        filled = {(row, column) for row in range(3) for column in range(3)}
        filled = {(row, column) for row, column in filled if cells[row][column] != "□"}
        assert len(filled) == 3
        assert all(cells[row][column] == "abc"[column] + "123"[row] for row, column in filled)


def test_one_cell_tells_the_target(instances: dict[str, list[Instance]]) -> None:
    for item in (item for items in instances.values() for item in items):
        grids = [set(item[f"player_1_{n}_grid"].split()) for n in ("target", "second", "third")]
        assert grids[0] - grids[1] - grids[2]
        texts = [item[f"player_2_{n}_grid"] for n in ANSWERS]
        assert len(set(texts)) == 3
        assert texts[int(item.id) % 3] == item["player_1_target_grid"]
        assert item["target_grid_name"][0] == ANSWERS[int(item.id) % 3]


def test_no_puzzle_is_in_two_splits_whatever_the_seed(instances: dict[str, list[Instance]]) -> None:
    for split, items in instances.items():
        for found in (items, generated(split, seed=1, n=99)):
            marks = Counter(GAME.fingerprint(item) for item in found)
            assert set(marks.values()) == {3}
            assert {split_of(mark) for mark in marks} == {split}


def test_the_same_seed_gives_the_same_instances() -> None:
    assert generated("test", seed=3, n=99) == generated("test", seed=3, n=99)
    assert generated("test", seed=3, n=9) != generated("test", seed=4, n=9)


# --- play ----------------------------------------------------------------------------------------


def overheard(program: Program, hear: Callable[[list[str]], None]) -> Program:
    """The program; for each of its replies `hear` gets all words that it has seen and said."""

    def speak(conversation: Conversation) -> str:
        reply = program(conversation)
        texts = [message.content for message in conversation.messages]
        hear(" ".join([*texts, reply]).split())
        return reply

    return speak


def test_the_oracles_win_with_few_words(instances: dict[str, list[Instance]]) -> None:
    heard: list[list[str]] = []
    players = {
        role: FunctionPlayer(overheard(GAME.oracle(role), heard.append))
        for role in GAME.role_names()
    }
    everything = [item for items in instances.values() for item in items]
    episodes = play(GAME, players, everything)
    assert {episode.main_score for episode in episodes} == {100}
    assert max(map(len, heard)) < 50
    assert len({word for words in heard for word in words}) < 20


def say(role: str, text: str, seed: int = 0) -> str:
    return GAME.oracle(role)(Conversation(role, [Message("user", text)], sampling_seed=seed))


GRIDS = ("a1 b1 □\n□ □ □\n□ □ c3", "a1 b1 c1\n□ □ □\n□ □ □", "a1 □ □\na2 □ □\n□ □ c3")


def test_the_giver_names_a_cell_that_only_the_target_has() -> None:
    one, other, third = GRIDS
    assert say("giver", f"describe\n{other}\n\nnot\n{one}\n\nnot\n{third}") == "Expression: c1"
    # Where no cell does, the first one must do.
    assert say("giver", f"describe\n{one}\n\nnot\n{other}\n\nnot\n{third}") == "Expression: a1"
    assert say("giver", f"describe\n{one}") == "Expression: a1"


@pytest.mark.parametrize(
    ("expression", "answers"),
    [
        ("Expression: c1", {"second"}),
        ("Expression: b1 c3", {"first"}),
        ("Expression: c3", {"first", "third"}),
        ("Expression: nothing", {"first", "second", "third"}),
        ("Expression: the third", {"first", "second", "third"}),
        ("", {"first", "second", "third"}),
    ],
)
def test_the_follower_chooses_the_grid_with_most_of_the_cells(
    expression: str, answers: set[str]
) -> None:
    labelled = [
        "\n".join(f"{name} {row}" for row in grid.split("\n"))
        for name, grid in zip(ANSWERS, GRIDS, strict=True)
    ]
    prompt = "\n\n".join([*labelled, expression])
    assert {say("follower", prompt, seed) for seed in range(40)} == {
        f"Answer: {a}" for a in answers
    }


def by_chance(conversation: Conversation) -> str:
    """A player that keeps to the form and says anything."""
    rng = random.Random(conversation.seed)
    if conversation.role == "giver":
        return f"Expression: {rng.choice('abc')}{rng.choice('123')}"
    return f"Answer: {rng.choice(ANSWERS)}"


@pytest.mark.parametrize("role", GAME.role_names())
def test_chance_wins_less_than_half(role: str, instances: dict[str, list[Instance]]) -> None:
    """Either player by chance, with the oracle for the other."""
    players = {name: FunctionPlayer(GAME.oracle(name)) for name in GAME.role_names()}
    players[role] = FunctionPlayer(by_chance)
    episodes = play(GAME, players, instances["train"])
    assert not any(episode.aborted for episode in episodes)
    assert 0.25 < sum(episode.success for episode in episodes) / len(episodes) < 0.45
