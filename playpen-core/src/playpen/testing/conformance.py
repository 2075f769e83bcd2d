"""The base class of conformance tests: all checks of the kit, for one game."""

from __future__ import annotations

from typing import ClassVar

import pytest

from playpen.game import Game
from playpen.testing.checks.declaration import DeclarationChecks
from playpen.testing.checks.determinism import ConstancyChecks
from playpen.testing.checks.generation import GenerationChecks
from playpen.testing.checks.messages import MessageChecks
from playpen.testing.checks.oracles import OracleChecks
from playpen.testing.checks.records import RecordChecks
from playpen.testing.checks.strange_replies import ReplyChecks
from playpen.testing.driver import SECONDS
from playpen.testing.game_under_test import QUICK, THOROUGH, Effort, GameUnderTest, material_of


# Bases in reverse: pytest runs the tests of the last one first.
class GameConformance(
    RecordChecks,
    ConstancyChecks,
    ReplyChecks,
    MessageChecks,
    OracleChecks,
    GenerationChecks,
    DeclarationChecks,
):
    """All checks for one game.

    A subclass sets ``game = MyGame()``, or there is a fixture ``game`` (that gives the same object
    to every test, so that what is made for one check serves the next).
    """

    effort: ClassVar[Effort | None] = None
    """How much is tried; by default little, or much with ``--playpen-thorough``."""
    seconds_per_reply: ClassVar[float] = SECONDS
    """How long the game may work on any one reply."""

    def __init_subclass__(cls) -> None:
        """Let the attribute ``game`` be found as a fixture."""
        super().__init_subclass__()
        given = cls.__dict__.get("game")
        if isinstance(given, Game):

            def game(self: GameConformance) -> Game:
                return given

            cls._game_fixture = pytest.fixture(name="game")(game)  # type: ignore[attr-defined]

    @pytest.fixture
    def subject(self, request: pytest.FixtureRequest, game: Game) -> GameUnderTest:
        """What the checks have in common."""
        thorough = request.config.getoption("playpen_thorough", default=False)
        effort = self.effort or (THOROUGH if thorough else QUICK)
        return material_of(game, effort, self.seconds_per_reply)
