"""``program:`` players: a game's own oracle, or a function of yours."""

from __future__ import annotations

import inspect
import sys
from typing import Any

from playpen.conversation import Conversation, Reply
from playpen.game import Game, Program
from playpen.player import NoOptions, Player, PlayerError, SpecError
from playpen.plugins import PluginError, load


class FunctionPlayer(Player):
    """A player that is a function from a conversation to a text.

    The function should depend on the conversation alone (and, for chance, on
    ``conversation.seed``): then the same seeds give the same episodes.
    """

    def __init__(self, function: Program) -> None:
        self._function = function

    def reply(self, conversation: Conversation) -> Reply:
        """Call the function.

        Raises:
            PlayerError: it returned something else than a text.
        """
        text = self._function(conversation)
        if not isinstance(text, str):
            raise PlayerError(f"the program returned {type(text).__name__}, not a text")
        return Reply(text)


class ProgramPlayer(Player):
    """``program:oracle`` (the game's own oracle) or ``program:package.module:function``."""

    def __init__(self, target: str, options: NoOptions) -> None:
        self._target = target
        self._function: Program | None = None
        if target == "oracle":
            return
        if ":" not in target:
            raise SpecError(
                f"program:{target}: write program:oracle or program:package.module:function"
            )
        # The script's own path does not hold the working directory, where yours may be.
        if "" not in sys.path:
            sys.path.append("")
        try:
            function: Any = load(target, what=f"program:{target}")
        except PluginError as error:
            raise SpecError(str(error)) from None
        if not callable(function) or inspect.iscoroutinefunction(function):
            raise SpecError(f"program:{target} is not a function from a conversation to a text")
        self._function = function

    def seat(self, game: Game, role: str) -> Player:
        """The oracle of the role, or the given function.

        Raises:
            PlayerError: the game has no oracle for the role.
        """
        if self._function is not None:
            return FunctionPlayer(self._function)
        try:
            return FunctionPlayer(game.oracle(role))
        except LookupError as error:
            raise PlayerError(str(error.args[0])) from None
