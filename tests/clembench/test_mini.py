"""The levels `mini` of three games: closed worlds for very small models."""

from __future__ import annotations

import random
import re
from collections import Counter
from functools import partial
from typing import NamedTuple

import pytest
from tests.clembench.games_kit import consult, generated, oracles

from playpen import (
    Conversation,
    Experiment,
    Game,
    Instance,
    Program,
    get_game,
    play,
    ready_instances,
    split_of,
)
from playpen.instance import SPLITS, InstanceError
from playpen.players.program import FunctionPlayer
from playpen_clembench.mini import SIZES
from playpen_clembench.taboo.cards import mini_world

GUESS_WHAT = get_game("guesswhat")
PRIVATE_SHARED = get_game("privateshared")
REFERENCE = get_game("referencegame")


class Row(NamedTuple):
    """A game, and how small its level is.

    Attributes:
        game: the game.
        longest: no role sees and says as many words as this in an episode.
        words: all roles see and say fewer different words than this in all instances.
        variants: instances of each puzzle, one after the other.
    """

    game: Game
    longest: int
    words: int
    variants: int = 1


ROWS = (
    Row(GUESS_WHAT, longest=40, words=200),
    Row(PRIVATE_SHARED, longest=40, words=60),
    Row(REFERENCE, longest=50, words=20, variants=3),
)
Made = dict[str, list[Instance]]


def made(game: Game) -> Made:
    return {split: generated(game, split, level="mini") for split in SPLITS}


@pytest.fixture(scope="module", params=ROWS, ids=lambda row: row.game.name)
def row(request: pytest.FixtureRequest) -> Row:
    return request.param


@pytest.fixture(scope="module")
def instances(row: Row) -> Made:
    return made(row.game)


@pytest.fixture(scope="module")
def lists() -> Made:
    return made(GUESS_WHAT)


@pytest.fixture(scope="module")
def visits() -> Made:
    return made(PRIVATE_SHARED)


@pytest.fixture(scope="module")
def grids() -> Made:
    return made(REFERENCE)


# --- all of them ---------------------------------------------------------------------------------


def test_the_level_is_made_on_demand_only(row: Row) -> None:
    assert row.game.levels()[-1] == "mini"
    for split in SPLITS:
        assert "mini" not in {item.experiment.name for item in ready_instances(row.game, split)}


def test_the_numbers_of_instances(row: Row, instances: Made) -> None:
    assert {split: len(items) for split, items in instances.items()} == SIZES
    assert len(generated(row.game, "train", level="mini", n=7)) == 7


def test_no_puzzle_is_in_two_splits_whatever_the_seed(row: Row, instances: Made) -> None:
    for split, items in instances.items():
        for found in (items, generated(row.game, split, level="mini", seed=1, n=99)):
            marks = Counter(map(row.game.fingerprint, found))
            assert set(marks.values()) == {row.variants}
            assert {split_of(mark) for mark in marks} == {split}


def test_the_oracles_win_with_few_words(row: Row, instances: Made) -> None:
    heard: list[list[str]] = []

    def overheard(program: Program) -> Program:
        """The program; for each reply all words that its role has seen and said are kept."""

        def speak(conversation: Conversation) -> str:
            reply = program(conversation)
            texts = [message.content for message in conversation.messages]
            heard.append(" ".join([*texts, reply]).split())
            return reply

        return speak

    players = {
        role: FunctionPlayer(overheard(row.game.oracle(role))) for role in row.game.role_names()
    }
    everything = [item for items in instances.values() for item in items]
    episodes = play(row.game, players, everything)
    assert {episode.main_score for episode in episodes} == {100}
    assert max(map(len, heard)) < row.longest
    assert len({word for words in heard for word in words}) < row.words


def share_of_wins(
    game: Game, instances: list[Instance], role: str, program: Program
) -> tuple[float, float]:
    """Share of won episodes and mean main score; the other roles are the oracles'."""
    episodes = play(game, oracles(game) | {role: FunctionPlayer(program)}, instances)
    assert not any(episode.aborted for episode in episodes)
    scores = [episode.main_score or 0.0 for episode in episodes]
    return sum(episode.success for episode in episodes) / len(episodes), sum(scores) / len(scores)


# --- guess what ----------------------------------------------------------------------------------


def list_of(target: str, *words: str, level: str = "mini") -> Instance:
    config = GUESS_WHAT.generate("test", level="mini", n=0)["experiments"][0]
    data = {"game_id": 0, "target_word": target, "candidate_list": list(words)}
    return Instance("guesswhat", Experiment(level, config), data)


def test_instances_are_animals_in_any_order(lists: Made) -> None:
    animals = mini_world().words
    for item in lists["train"]:
        assert len(item["candidate_list"]) == 8
        assert set(item["candidate_list"]) <= animals.keys()
    places = {item["candidate_list"].index(item["target_word"]) for item in lists["train"]}
    assert places == set(range(8))
    assert {item["target_word"] for item in lists["test"]} == animals.keys()


def test_a_puzzle_is_the_word_among_the_others_of_its_list() -> None:
    def mark(level: str, target: str, *words: str) -> str:
        return GUESS_WHAT.fingerprint(list_of(target, *words, level=level))

    assert mark("mini", "cat", "cat", "dog") == mark("mini", "cat", "dog", "cat")
    assert mark("mini", "cat", "cat", "dog") != mark("mini", "dog", "cat", "dog")
    assert mark("mini", "cat", "cat", "dog") != mark("mini", "cat", "cat", "cow")
    # In other levels it is the word alone.
    assert mark("Level_1", "cat", "cat", "dog") == mark("Level_1", "cat", "cat", "cow")


def test_the_oracles_mostly_begin_with_the_question_that_divides_all_animals(lists: Made) -> None:
    animals = mini_world().words
    asked = Counter(
        episode.replies()[0].reply.text.removeprefix("QUESTION: ")
        for episode in play(GUESS_WHAT, oracles(GUESS_WHAT), lists["test"])
    )
    ((first, times),) = asked.most_common(1)
    assert 0.7 < times / asked.total() < 1

    def distance_from_half(clue: str) -> float:
        return abs(sum(clue in clues for clues in animals.values()) - len(animals) / 2)

    assert distance_from_half(first) == min(map(distance_from_half, mini_world().clues))


@pytest.mark.parametrize(
    ("question", "answer"),
    [("fur", "yes"), ("eggs", "no"), ("fast fur", "no"), ("Is it a cat?", "yes")],
)
def test_the_answerer_knows_what_is_true_of_the_animals(question: str, answer: str) -> None:
    def asks(conversation: Conversation) -> str:
        return f"QUESTION: {question}"

    players = oracles(GUESS_WHAT) | {"guesser": FunctionPlayer(asks)}
    (episode,) = play(GUESS_WHAT, players, [list_of("cat", "cat", "hen")])
    answers = {said.reply.text for said in episode.replies("answerer")}
    assert answers == {f"ANSWER: {answer}"}


@pytest.mark.parametrize(
    ("words", "replies"),
    [
        (["cat"], {"GUESS: cat"}),
        (["cat", "cat"], {"QUESTION: Is the word among these: cat?"}),
        (["cat", "hen"], {f"QUESTION: {clue}" for clue in mini_world().clues}),
    ],
)
def test_animals_that_no_clue_tells_apart_are_named(words: list[str], replies: set[str]) -> None:
    (episode,) = play(GUESS_WHAT, oracles(GUESS_WHAT), [list_of("cat", *words)])
    assert episode.replies()[0].reply.text in replies


def a_question_or_a_guess(conversation: Conversation) -> str:
    """A guesser that keeps to the form and has no reason for what it says."""
    rng = random.Random(f"{conversation.seed} {len(conversation.messages)}")
    if rng.random() < 0.5:
        return f"QUESTION: {rng.choice(mini_world().clues)}"
    listed = re.findall(r"'(\w+)'", conversation.messages[0].content)
    return f"GUESS: {rng.choice(listed)}"


def test_chance_seldom_finds_the_animal(lists: Made) -> None:
    won, _ = share_of_wins(GUESS_WHAT, lists["train"], "guesser", a_question_or_a_guess)
    assert 0.08 < won < 0.18


# --- private and shared --------------------------------------------------------------------------

SLOTS = {"fur", "feathers", "skin", "day"}


def values_of(instances: Made) -> dict[str, set[str]]:
    return {slot: {item["slots"][slot] for item in instances["train"]} for slot in SLOTS}


def test_every_slot_has_values_of_its_own(visits: Made) -> None:
    values = values_of(visits)
    days = {"monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"}
    assert values["day"] == days
    assert sum(map(len, values.values())) == len(set().union(*values.values()))
    assert set().union(*values.values()) == mini_world().words.keys() | days
    assert "cat" in values["fur"]
    assert "hen" in values["feathers"]


def test_instances_have_a_value_for_each_slot(visits: Made) -> None:
    for item in visits["train"]:
        assert sorted(item["request_order"]) == sorted(item["slots"]) == sorted(SLOTS)
        assert [len(probes) for probes in item["probes"].values()] == [1] * 5
    assert len({tuple(item["request_order"]) for item in visits["train"]}) == 24
    asked = {slot for item in visits["train"] for slot in item["probes"]["2"]}
    assert asked == SLOTS


def test_no_value_is_told_by_accident(visits: Made) -> None:
    """What counts is whether an answer contains the value."""
    values = set().union(*values_of(visits).values())
    assert not [(a, b) for a in values for b in values if a != b and a in b]
    said = [*SLOTS, "zoo", "keeper", "ok.", "yes", "no"]
    assert not [(value, word) for value in values for word in said if value in word]


def test_a_level_that_is_used_up_says_so() -> None:
    with pytest.raises(InstanceError, match=r"'mini' has \d{4} instances in the split 'test'"):
        PRIVATE_SHARED.generate("test", level="mini", n=5000)


def any_value(conversation: Conversation) -> str:
    """An answerer that keeps to the form: any of the values, yes or no."""
    rng = random.Random(f"{conversation.seed} {conversation.turn}")
    if conversation.last.startswith("ME:"):
        return f"ASIDE: {rng.choice(['yes', 'no'])}"
    facts = conversation.messages[0].content.splitlines()[1:]
    return f"ANSWER: {rng.choice(facts).partition(': ')[2]}"


def test_chance_never_tells_and_knows_everything(visits: Made) -> None:
    won, score = share_of_wins(PRIVATE_SHARED, visits["test"], "answerer", any_value)
    assert won < 0.01
    assert score < 30


def forgetful(conversation: Conversation) -> str:
    """Tells what it is asked for, but does not keep track."""
    if conversation.last.startswith("ME:"):
        return "ASIDE: no"
    return PRIVATE_SHARED.oracle("answerer")(conversation)


def test_telling_the_values_is_not_enough(visits: Made) -> None:
    assert share_of_wins(PRIVATE_SHARED, visits["test"], "answerer", forgetful) == (0, 0)


# --- the reference game --------------------------------------------------------------------------

ANSWERS = ("first", "second", "third")


def test_grids_are_nine_cells_of_which_three_show_their_names(grids: Made) -> None:
    found = {item[f"player_2_{n}_grid"] for item in grids["train"] for n in ANSWERS}
    assert len(found) == 84
    for grid in found:
        cells = [line.split(" ") for line in grid.split("\n")]
        assert [len(row) for row in cells] == [3, 3, 3]
        filled = {(row, column) for row in range(3) for column in range(3)}
        filled = {(row, column) for row, column in filled if cells[row][column] != "□"}
        assert len(filled) == 3
        assert all(cells[row][column] == "abc"[column] + "123"[row] for row, column in filled)


def test_one_cell_tells_the_target(grids: Made) -> None:
    for item in (item for items in grids.values() for item in items):
        cells = [set(item[f"player_1_{n}_grid"].split()) for n in ("target", "second", "third")]
        assert cells[0] - cells[1] - cells[2]
        texts = [item[f"player_2_{n}_grid"] for n in ANSWERS]
        assert len(set(texts)) == 3
        assert texts[int(item.id) % 3] == item["player_1_target_grid"]
        assert item["target_grid_name"][0] == ANSWERS[int(item.id) % 3]


say = partial(consult, REFERENCE)


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
    assert {say("follower", prompt, seed=seed) for seed in range(40)} == {
        f"Answer: {a}" for a in answers
    }


def any_cell_or_grid(conversation: Conversation) -> str:
    """A player that keeps to the form and says anything."""
    rng = random.Random(conversation.seed)
    if conversation.role == "giver":
        return f"Expression: {rng.choice('abc')}{rng.choice('123')}"
    return f"Answer: {rng.choice(ANSWERS)}"


@pytest.mark.parametrize("role", REFERENCE.role_names())
def test_chance_names_the_grid_less_than_half_the_time(role: str, grids: Made) -> None:
    """Either player by chance, with the oracle for the other."""
    won, _ = share_of_wins(REFERENCE, grids["train"], role, any_cell_or_grid)
    assert 0.25 < won < 0.45
