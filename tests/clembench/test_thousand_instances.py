"""A thousand instances of every game, level and split: valid, won by the oracles, disjoint."""

from __future__ import annotations

import pytest

from playpen import get_game, make_player, play
from playpen.instance import SPLITS, Instance, InstanceError
from playpen.instance_sets import parse_instances
from playpen.plugins import registry

pytestmark = pytest.mark.slow
OURS = "playpen-games-clembench"
NAMES = [n for n, claims in registry().games.items() if claims[0][1] == OURS]
WANTED = 1000
FINITE = {"taboo", "wordle", "wordle_withclue", "wordle_withcritic", "referencegame"}
"""Games whose levels are made of a fixed stock: they give all of it where it is smaller."""


def instances(name: str, level: str, split: str) -> list[Instance]:
    game = get_game(name)
    try:
        document = game.generate(split, seed=11, level=level, n=WANTED)
    except InstanceError:
        assert name in FINITE
        document = game.generate(split, seed=11, level=level)
    return parse_instances(document, game, source=f"{name}/{level}/{split}", split=split)


@pytest.mark.parametrize("name", NAMES)
def test_a_thousand_instances_are_valid_solvable_and_disjoint(name: str):
    game, oracle = get_game(name), make_player("program:oracle")
    puzzles: dict[str, set[str]] = {split: set() for split in SPLITS}
    for level in game.levels():
        for split in SPLITS:
            found = instances(name, level, split)
            if name not in FINITE:
                assert len(found) == WANTED
            puzzles[split] |= {game.fingerprint(instance) for instance in found}
            if split == "test":
                episodes = play(game, oracle, found)
                assert not [e.failure for e in episodes if e.failure]
                won = sum(episode.success for episode in episodes)
                assert won >= (0.95 if level == "mini" else 0.99) * len(episodes), level
    assert not puzzles["train"] & puzzles["validation"]
    assert not puzzles["train"] & puzzles["test"]
    assert not puzzles["validation"] & puzzles["test"]
