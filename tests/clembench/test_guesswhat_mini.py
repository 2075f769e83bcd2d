"""The level `mini` of Guess What: a closed world for very small models."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

import pytest

from playpen import Conversation, Experiment, Instance, Program, play, ready_instances, split_of
from playpen.instance import SPLITS, InstanceError
from playpen.instance_sets import parse_instances
from playpen.players.program import FunctionPlayer
from playpen_clembench.guesswhat import mini
from playpen_clembench.guesswhat.game import GuessWhat
from playpen_clembench.mini import SIZES
from playpen_clembench.taboo.cards import mini_world

GAME = GuessWhat()
ORACLES = {role: FunctionPlayer(GAME.oracle(role)) for role in GAME.role_names()}


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
    with pytest.raises(InstanceError, match="did you mean 'mini'"):
        GAME.generate("train", level="mimi")


def test_instances_are_animals_in_any_order(instances: dict[str, list[Instance]]) -> None:
    animals = mini_world().words
    for item in instances["train"]:
        assert len(item["candidate_list"]) == 8
        assert set(item["candidate_list"]) <= animals.keys()
    places = {item["candidate_list"].index(item["target_word"]) for item in instances["train"]}
    assert places == set(range(8))
    assert {item["target_word"] for item in instances["test"]} == animals.keys()


def test_no_puzzle_is_in_two_splits_whatever_the_seed(instances: dict[str, list[Instance]]) -> None:
    for split, items in instances.items():
        marks = [GAME.fingerprint(item) for item in [*items, *generated(split, seed=1, n=99)]]
        assert len(set(marks)) == len(marks)
        assert {split_of(mark) for mark in marks} == {split}


def test_a_puzzle_is_the_word_among_the_others_of_its_list() -> None:
    def mark(level: str, target: str, *words: str) -> str:
        data = {"game_id": 0, "target_word": target, "candidate_list": list(words)}
        return GAME.fingerprint(Instance("guesswhat", Experiment(level, {}), data))

    assert mark("mini", "cat", "cat", "dog") == mark("mini", "cat", "dog", "cat")
    assert mark("mini", "cat", "cat", "dog") != mark("mini", "dog", "cat", "dog")
    assert mark("mini", "cat", "cat", "dog") != mark("mini", "cat", "cat", "cow")
    # In other levels it is the word alone.
    assert mark("Level_1", "cat", "cat", "dog") == mark("Level_1", "cat", "cat", "cow")


def test_the_same_seed_gives_the_same_instances() -> None:
    state = random.getstate()
    assert generated("test", seed=3, n=99) == generated("test", seed=3, n=99)
    assert generated("test", seed=3, n=9) != generated("test", seed=4, n=9)
    assert random.getstate() == state


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
    assert max(map(len, heard)) < 40
    assert len({word for words in heard for word in words}) < 200


def test_the_oracles_mostly_begin_with_the_same_question(
    instances: dict[str, list[Instance]],
) -> None:
    first = mini.general_clues()[0]
    asked = [e.replies()[0].reply.text for e in play(GAME, ORACLES, instances["test"])]
    assert 0.7 < asked.count(f"QUESTION: {first}") / len(asked) < 1


@pytest.mark.parametrize(
    ("question", "answer"),
    [("fur", "yes"), ("eggs", "no"), ("fast fur", "no"), ("Is it a cat?", "yes")],
)
def test_the_answerer_knows_what_is_true_of_the_animals(question: str, answer: str) -> None:
    data = {"game_id": 0, "target_word": "cat", "candidate_list": ["cat", "hen"]}
    config = GAME.generate("test", level="mini", n=0)["experiments"][0]
    item = Instance("guesswhat", Experiment("mini", config), data)

    def asks(conversation: Conversation) -> str:
        return f"QUESTION: {question}"

    players = {**ORACLES, "guesser": FunctionPlayer(asks)}
    (episode,) = play(GAME, players, [item])
    answers = {said.reply.text for said in episode.replies("answerer")}
    assert answers == {f"ANSWER: {answer}"}


def test_animals_that_no_clue_tells_apart_are_named() -> None:
    assert mini.dividing_clue(["cat"]) is None
    assert mini.dividing_clue(["cat", "cat"]) is None
    assert mini.dividing_clue(["cat", "hen"]) is not None


def by_chance(conversation: Conversation) -> str:
    """A guesser that keeps to the form: a question or a guess, neither with a reason."""
    rng = random.Random(f"{conversation.seed} {len(conversation.messages)}")
    if rng.random() < 0.5:
        return f"QUESTION: {rng.choice(mini_world().clues)}"
    listed = re.findall(r"'(\w+)'", conversation.messages[0].content)
    return f"GUESS: {rng.choice(listed)}"


def test_chance_wins_seldom(instances: dict[str, list[Instance]]) -> None:
    players = {**ORACLES, "guesser": FunctionPlayer(by_chance)}
    episodes = play(GAME, players, instances["train"])
    assert not any(episode.aborted for episode in episodes)
    assert 0.08 < sum(episode.success for episode in episodes) / len(episodes) < 0.18
