"""A thousand instances of every game, level and split: valid, won by the oracles, disjoint."""

from __future__ import annotations

import pytest
from tests.clembench.games_kit import every_game, generated, oracles

from playpen import Game, Instance, play
from playpen.instance import SPLITS, InstanceError

pytestmark = pytest.mark.slow
WANTED = 1000
FINITE = {"taboo", "wordle", "wordle_withclue", "wordle_withcritic", "referencegame"}
"""Games whose levels are made of a fixed stock: they give all of it where it is smaller."""


def instances(game: Game, level: str, split: str) -> list[Instance]:
    try:
        return generated(game, split, seed=11, level=level, n=WANTED)
    except InstanceError:
        assert game.name in FINITE
        return generated(game, split, seed=11, level=level)


@every_game
def test_a_thousand_instances_are_valid_solvable_and_disjoint(game: Game):
    puzzles: dict[str, set[str]] = {split: set() for split in SPLITS}
    for level in game.levels():
        for split in SPLITS:
            found = instances(game, level, split)
            if game.name not in FINITE:
                assert len(found) == WANTED
            puzzles[split] |= {game.fingerprint(instance) for instance in found}
            if split == "test":
                episodes = play(game, oracles(game), found)
                assert not [e.failure for e in episodes if e.failure]
                won = sum(episode.success for episode in episodes)
                assert won >= (0.95 if level == "mini" else 0.99) * len(episodes), level
    assert not puzzles["train"] & puzzles["validation"]
    assert not puzzles["train"] & puzzles["test"]
    assert not puzzles["validation"] & puzzles["test"]
