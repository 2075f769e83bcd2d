"""What is played next in online training."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from playpen import Instance, get_game
from playpen.instance import split_of
from playpen.instance_sets import ready_instances
from playpen.training import GamesTable, LearnerTable, RolloutTable, TrainConfig, TrainingRun
from playpen_trainers.curriculum import Curriculum, Situation

LEVELS = ["letter_grids", "number_grids", "random_grids", "mini"]


def curriculum_of(
    *names: str, levels: list[str] | None = None, seed: int = 0, total: int = 2000, **games: Any
) -> Curriculum:
    config = TrainConfig(
        learner=LearnerTable(player="hf:nobody"),
        games=GamesTable(names=list(names), levels=levels, **games),
        rollout=RolloutTable(seed=seed),
    )
    return Curriculum(TrainingRun("grpo", config, Path("nowhere")), total)


def levels_of(taken: list[Situation]) -> Counter[str]:
    return Counter(situation.instance.experiment.name for situation in taken)


def hashes(taken: list[Situation]) -> list[str]:
    return [situation.instance.hash for situation in taken]


def test_every_game_gets_the_same_number_of_groups():
    """However many instances it has."""
    supply = curriculum_of("taboo", "referencegame", "wordle", levels=None)
    taken = supply.take(300)
    assert Counter(s.game.name for s in taken) == dict.fromkeys(
        ("taboo", "referencegame", "wordle"), 100
    )
    assert [s.number for s in taken] == [*range(300)]
    assert all(s.instance.split == "train" for s in taken)


def test_a_deck_is_shuffled_and_none_of_it_gets_lost():
    supply = curriculum_of("taboo", levels=["mini"], per_level=12)
    rounds = [hashes(supply.take(12)) for _ in range(4)]
    assert all(len(set(cards)) == 12 for cards in rounds)
    assert len({frozenset(cards) for cards in rounds}) == 1
    assert len({tuple(cards) for cards in rounds}) == 4


def test_each_level_has_a_deck_of_its_own():
    supply = curriculum_of("referencegame", levels=LEVELS[:2], per_level=6)
    by_level: dict[str, list[str]] = {}
    for situation in supply.take(200):
        by_level.setdefault(situation.instance.experiment.name, []).append(situation.instance.hash)
    assert set(by_level) == set(LEVELS[:2])
    for played in by_level.values():
        for start in range(0, len(played) - 6, 6):
            assert len(set(played[start : start + 6])) == 6


@pytest.mark.parametrize(
    ("name", "level", "least"),
    [("taboo", "mini", 60), ("referencegame", "random_grids", 25)],  # it has not many more
)
def test_fresh_instances_are_new_and_never_held_out(name: str, level: str, least: int):
    game = get_game(name)
    supply = curriculum_of(name, levels=[level], per_level=20, fresh=True)

    def fingerprints(instances: list[Instance]) -> set[str]:
        return {game.fingerprint(instance) for instance in instances}

    rounds = [fingerprints([s.instance for s in supply.take(20)]) for _ in range(5)]
    played = set().union(*rounds)
    assert len(played) > least
    assert all(earlier != later for earlier, later in itertools.pairwise(rounds))
    for split in ("validation", "test"):
        assert not played & fingerprints(ready_instances(game, split))
    assert {split_of(fingerprint) for fingerprint in played} == {"train"}


def test_without_fresh_ones_the_same_come_again():
    supply = curriculum_of("taboo", levels=["mini"], per_level=5)
    assert len(set(hashes(supply.take(50)))) == 5


def test_levels_come_in_proportion_to_their_instances():
    supply = curriculum_of("taboo")
    game = get_game("taboo")
    known = Counter(i.experiment.name for i in ready_instances(game, "train"))
    seen = levels_of(supply.take(2000))
    for level, count in known.items():
        expected = 2000 * count / known.total()
        assert abs(seen[level] - expected) < 5 * max(expected, 1) ** 0.5


def test_the_curriculum_of_levels_lets_in_one_after_the_other():
    supply = curriculum_of("referencegame", levels=LEVELS, per_level=5, curriculum="levels")
    for quarter in range(4):
        seen = levels_of(supply.take(500))
        assert list(seen) and set(seen) == set(LEVELS[: quarter + 1])
        for count in seen.values():  # each of those that are let in is as likely
            share = 500 / (quarter + 1)
            assert abs(count - share) < 5 * share**0.5


def test_the_curriculum_by_success_prefers_what_is_won_half_of_the_time():
    supply = curriculum_of("referencegame", levels=LEVELS, per_level=5, curriculum="success")
    rates = dict(zip(LEVELS, (1.0, 0.5, 0.0, 0.9), strict=True))
    for situation in supply.take(2000):
        supply.learn(situation, rates[situation.instance.experiment.name])
    seen = levels_of(supply.take(2000))
    weights = {level: rate * (1 - rate) + 0.02 for level, rate in rates.items()}
    for level, weight in weights.items():
        expected = 2000 * weight / sum(weights.values())
        # A little is left of the beginning, where half was taken to be won everywhere.
        assert abs(seen[level] - expected) < 5 * expected**0.5 + 20, level
    assert seen.most_common(1)[0][0] == LEVELS[1]


@pytest.mark.parametrize("curriculum", ["uniform", "levels", "success"])
def test_the_same_seed_gives_the_same_order(curriculum: str):
    def order(seed: int) -> list[str]:
        supply = curriculum_of("referencegame", "taboo", seed=seed, total=80, curriculum=curriculum)
        return hashes(supply.take(80))

    assert order(3) == order(3)
    assert order(3) != order(4)


@pytest.mark.parametrize("fresh", [False, True])
def test_what_was_kept_is_continued_exactly(fresh: bool):
    def make() -> Curriculum:
        return curriculum_of(
            "referencegame", levels=["letter_grids", "mini"], per_level=4, curriculum="success",
            fresh=fresh,
        )  # fmt: skip

    def play(supply: Curriculum, count: int) -> list[str]:
        played = []
        for _ in range(count):
            [situation] = supply.take(1)
            played.append(situation.instance.hash)
            supply.learn(situation, situation.number % 3 / 2)
        return played

    undisturbed = make()
    play(undisturbed, 37)
    kept = json.dumps(undisturbed.state())
    expected = play(undisturbed, 60)
    continued = make()
    continued.restore(json.loads(kept))
    assert play(continued, 60) == expected
    assert continued.state() == undisturbed.state()
