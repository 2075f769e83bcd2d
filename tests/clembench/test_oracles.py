"""The oracles of the games on more instances than the conformance kit plays."""

from __future__ import annotations

import pytest
from tests.clembench.games_kit import GAMES, generated, oracles

from playpen import Game, Instance, Violated, play, ready_instances
from playpen.instance import SPLITS, InstanceError

MORE_IS_ASKED_OF = {
    *("adventuregame", "guesswhat", "imagegame", "wordle"),
    *("textmapworld", "textmapworld_graphreasoning", "textmapworld_specificroom"),
}
"""Games whose own tests of the oracle play all ready instances and measure how they are won."""
STATIC = {"bbh", "cladder", "eqbench", "ifeval", "mmlu_pro"}

best_is_expected = pytest.mark.parametrize(
    "game",
    [game for game in GAMES if game.name not in MORE_IS_ASKED_OF],
    ids=lambda game: game.name,
)


def check_wins(game: Game, instances: list[Instance]) -> None:
    episodes = play(game, oracles(game), instances)
    assert {episode.main_score for episode in episodes} == {100}
    assert all(episode.success for episode in episodes)
    assert not any(isinstance(event, Violated) for e in episodes for event in e.events)


@best_is_expected
def test_the_oracles_win_every_ready_instance(game: Game) -> None:
    for split in SPLITS:
        check_wins(game, ready_instances(game, split))


@best_is_expected
def test_the_oracles_win_instances_of_another_seed(game: Game) -> None:
    number = 300 if game.name in STATIC else 20
    try:
        check_wins(game, generated(game, "train", seed=5, n=number))
    except InstanceError:  # a level has fewer
        check_wins(game, generated(game, "train", seed=5))
