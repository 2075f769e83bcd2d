"""The level `mini` of private and shared: a visit to a zoo, for very small models."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from playpen import Conversation, Instance, Program, play, ready_instances, split_of
from playpen.instance import SPLITS, InstanceError
from playpen.instance_sets import parse_instances
from playpen.players.program import FunctionPlayer
from playpen_clembench.mini import SIZES
from playpen_clembench.privateshared import mini
from playpen_clembench.privateshared.game import PrivateShared
from playpen_clembench.taboo.cards import mini_world

GAME = PrivateShared()


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


def test_every_slot_has_values_of_its_own() -> None:
    values = [value for pool in mini.pool().values() for value in pool]
    assert len(set(values)) == len(values)
    assert set(values) == mini_world().words.keys() | set(mini.DAYS.split())
    assert tuple(mini.pool()) == mini.SLOTS
    assert {"cat", "hen"} <= {mini.pool()["fur"][0], *mini.pool()["feathers"]}


def test_instances_have_a_value_for_each_slot(instances: dict[str, list[Instance]]) -> None:
    for item in instances["train"]:
        assert all(value in mini.pool()[slot] for slot, value in item["slots"].items())
        assert sorted(item["request_order"]) == sorted(item["slots"]) == sorted(mini.SLOTS)
        assert [len(probes) for probes in item["probes"].values()] == [1] * 5
    assert len({tuple(item["request_order"]) for item in instances["train"]}) == 24
    asked = {slot for item in instances["train"] for slot in item["probes"]["2"]}
    assert asked == set(mini.SLOTS)


def test_no_value_is_told_by_accident() -> None:
    """What counts is whether an answer contains the value."""
    values = [value for pool in mini.pool().values() for value in pool]
    assert not [(a, b) for a in values for b in values if a != b and a in b]
    said = [*mini.SLOTS, "zoo", "keeper", "ok.", "yes", "no"]
    assert not [(value, word) for value in values for word in said if value in word]


def test_no_puzzle_is_in_two_splits_whatever_the_seed(instances: dict[str, list[Instance]]) -> None:
    for split, items in instances.items():
        for found in (items, generated(split, seed=1, n=99)):
            marks = [GAME.fingerprint(item) for item in found]
            assert len(set(marks)) == len(marks)
            assert {split_of(mark) for mark in marks} == {split}


def test_a_level_that_is_used_up_says_so() -> None:
    with pytest.raises(InstanceError, match=r"'mini' has \d{4} instances in the split 'test'"):
        generated("test", n=5000)


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


def test_the_oracle_wins_with_few_words(instances: dict[str, list[Instance]]) -> None:
    heard: list[list[str]] = []
    player = FunctionPlayer(overheard(GAME.oracle("answerer"), heard.append))
    everything = [item for items in instances.values() for item in items]
    episodes = play(GAME, {"answerer": player}, everything)
    assert {episode.main_score for episode in episodes} == {100}
    assert max(map(len, heard)) < 40
    assert len({word for words in heard for word in words}) < 60


def played(instances: list[Instance], program: Program) -> tuple[float, float]:
    """Share of won episodes, and mean main score."""
    episodes = play(GAME, {"answerer": FunctionPlayer(program)}, instances)
    assert not any(episode.aborted for episode in episodes)
    scores = [episode.main_score or 0.0 for episode in episodes]
    return sum(episode.success for episode in episodes) / len(episodes), sum(scores) / len(scores)


def by_chance(conversation: Conversation) -> str:
    """A player that keeps to the form: any of the values, yes or no."""
    rng = random.Random(f"{conversation.seed} {conversation.turn}")
    if conversation.last.startswith("ME:"):
        return f"ASIDE: {rng.choice(['yes', 'no'])}"
    facts = conversation.messages[0].content.splitlines()[1:]
    return f"ANSWER: {rng.choice(facts).partition(': ')[2]}"


def test_chance_never_wins(instances: dict[str, list[Instance]]) -> None:
    won, score = played(instances["test"], by_chance)
    assert won < 0.01
    assert score < 30


def forgetful(conversation: Conversation) -> str:
    """Tells what it is asked for, but does not keep track."""
    if conversation.last.startswith("ME:"):
        return "ASIDE: no"
    return GAME.oracle("answerer")(conversation)


def test_telling_the_values_is_not_enough(instances: dict[str, list[Instance]]) -> None:
    assert played(instances["test"], forgetful) == (0, 0)
