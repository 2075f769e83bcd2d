"""What the tests of several games need: instances, oracles, scripted plays, and what was shown."""

from __future__ import annotations

from typing import Any

import pytest

from playpen import Game, Instance, get_game
from playpen.instance_sets import parse_instances
from playpen.players.program import FunctionPlayer
from playpen.testing.packs import find_pack

GAMES = [get_game(name) for name in find_pack("playpen-games-clembench").games]
every_game = pytest.mark.parametrize("game", GAMES, ids=lambda game: game.name)


def generated(game: Game, split: str, **options: Any) -> list[Instance]:
    """What the game's generator makes, valid by its schema."""
    return parse_instances(game.generate(split, **options), game, split=split)


def oracles(game: Game) -> dict[str, FunctionPlayer]:
    """A player for each role."""
    return {role: FunctionPlayer(game.oracle(role)) for role in game.role_names()}
