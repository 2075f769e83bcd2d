"""What the generators of all games have in common, beside what the conformance kit looks at."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pytest
from tests.clembench.games_kit import GAMES, every_game, generated

from playpen import Experiment, Game, Instance, ready_instances, split_of
from playpen.instance import SPLITS, InstanceError

FINITE = {"taboo", "wordle", "wordle_withclue", "wordle_withcritic", "referencegame"}
"""Games with levels made of a stock that is smaller than what is asked for here."""
DRAWN_AT_ONCE = {"taboo", "wordle", "wordle_withclue", "wordle_withcritic", "privateshared"}
"""Games in which a smaller number of instances need not be the first ones of a larger number."""
MOST = {"adventuregame": 60}
"""How many instances are asked for where they take long to make, else 1000."""
VARIANTS = {"referencegame": 3}
"""Instances of one puzzle, where it is not 1."""


def puzzle(game: Game, item: Instance) -> str:
    """By what the game's generator chooses the split of an instance."""
    if game.name == "taboo" and item.experiment.name != "mini":
        return str(item["target_word"])  # no word is in two splits, on whatever cards
    return game.fingerprint(item)


def items(game: Game, level: str, **options: Any) -> list[dict[str, Any]]:
    """The instances of a level, without the numbers that they have."""
    (experiment,) = game.generate(level=level, **options)["experiments"]
    assert experiment["name"] == level
    return unnumbered(experiment)


def unnumbered(experiment: dict[str, Any]) -> list[dict[str, Any]]:
    return [{**item, "game_id": None} for item in experiment["game_instances"]]


@every_game
def test_every_puzzle_is_in_the_split_that_is_its_own(game: Game) -> None:
    for split in SPLITS:
        found = list(ready_instances(game, split))
        for level in game.levels():
            number = None if game.name == "taboo" else 20
            found += generated(game, split, seed=1, level=level, n=number)
        assert {split_of(puzzle(game, item)) for item in found} == {split}


@every_game
def test_ready_instances_are_different_puzzles_and_numbered(game: Game) -> None:
    for split in SPLITS:
        by_level: dict[str, list[Instance]] = {}
        for item in ready_instances(game, split):
            by_level.setdefault(item.experiment.name, []).append(item)
        for level, found in by_level.items():
            marks = Counter(game.fingerprint(item) for item in found)
            assert set(marks.values()) == {VARIANTS.get(game.name, 1)}, level
            assert len({item.hash for item in found}) == len(found), level
            first = int(found[0].id)
            assert [item.id for item in found] == list(range(first, first + len(found))), level


@every_game
def test_another_seed_gives_other_instances(game: Game) -> None:
    for level in game.levels():
        first = items(game, level, split="train", seed=3, n=9)
        assert first != items(game, level, split="train", seed=4, n=9), level


@every_game
def test_a_level_is_the_same_alone_and_among_others(game: Game) -> None:
    for experiment in game.generate("test", seed=5, n=8)["experiments"]:
        alone = items(game, experiment["name"], split="test", seed=5, n=8)
        assert alone == unnumbered(experiment)


@every_game
def test_a_level_has_many_different_instances(game: Game) -> None:
    for level in game.levels():
        number = MOST.get(game.name, 1000)
        try:
            found = items(game, level, split="test", seed=1, n=number)
            assert len(found) == number, level
        except InstanceError:
            assert game.name in FINITE
            found = items(game, level, split="test", seed=1)
        if game.name == "guesswhat":  # a puzzle is the secret word, which may be that of many lists
            assert len({str(item) for item in found}) == len(found), level
        else:
            experiment = Experiment(level, {})
            marks = {game.fingerprint(Instance(game.name, experiment, item)) for item in found}
            assert len(marks) == math.ceil(len(found) / VARIANTS.get(game.name, 1)), level
        if game.name not in DRAWN_AT_ONCE:
            assert items(game, level, split="test", seed=1, n=7) == found[:7], level


@every_game
def test_no_instances_can_be_asked_for(game: Game) -> None:
    for level in game.levels():
        if game.name.startswith("wordle"):
            with pytest.raises(InstanceError, match="cannot make 0 instances"):
                game.generate("test", level=level, n=0)
        else:
            assert items(game, level, split="test", n=0) == []


@every_game
def test_unknown_names_are_refused(game: Game) -> None:
    with pytest.raises(InstanceError, match="unknown split 'dev'; choose one of train, valid"):
        game.generate("dev")
    level = max(game.levels(), key=len)
    with pytest.raises(InstanceError) as refused:
        game.generate("train", level=level[1:])
    assert f"{game.name} has no level '{level[1:]}'; did you mean '{level}'" in str(refused.value)
    assert all(name in str(refused.value) for name in game.levels())
    with pytest.raises(LookupError, match=f"{game.name}' has no oracle for the role 'judge'"):
        game.oracle("judge")


def test_the_rules_have_a_version() -> None:
    assert {game.rules for game in GAMES} == {"2.0"}
