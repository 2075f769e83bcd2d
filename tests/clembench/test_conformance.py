"""Every game of the pack stands the conformance kit's checks; new games are covered by themselves.

``pytest tests/clembench/test_conformance.py --playpen-thorough`` tries much more.
"""

from __future__ import annotations

import pytest

from playpen.game import Game
from playpen.plugins import get_game
from playpen.testing import GameConformance
from playpen.testing.packs import find_pack


@pytest.fixture(scope="module", params=find_pack("playpen-games-clembench").games)
def game(request: pytest.FixtureRequest) -> Game:
    """One game after the other."""
    return get_game(request.param)


class TestConformance(GameConformance):
    """All checks, for all games."""
