"""The messages of the game master: what each role is told before it is asked."""

from __future__ import annotations

from collections.abc import Mapping

from playpen import Game, Instance
from playpen_clembench.codenames.board import ASSIGNMENTS, Board, Uncovered
from playpen_clembench.codenames.phrases import phrases_of
from playpen_clembench.codenames.replies import Clue
from playpen_clembench.codenames.roles import CLUEGIVER, GUESSER
from playpen_clembench.codenames.upstream import with_our_placeholders


class Messages:
    """The messages of one episode; they show the board as it is when they are written."""

    def __init__(self, game: Game, instance: Instance, board: Board) -> None:
        self._game = game
        self._instance = instance
        self._board = board
        self._phrases = phrases_of(instance.language)

    def for_cluegiver(self, uncovered: Uncovered) -> str:
        """The hidden words of each assignment, after a report of the turn before, if any.

        Args:
            uncovered: the words of that turn; none before the first.
        """
        words = {
            f"{name.upper()}_WORDS": ", ".join(self._board.hidden(name)) for name in ASSIGNMENTS
        }
        if not uncovered:
            return self._prompt("cluegiver_initial", words)
        report = self._phrases.report(CLUEGIVER, uncovered)
        return f"{report}\n{self._prompt('cluegiver_follow_up', words)}"

    def for_guesser(self, clue: Clue, uncovered: Uncovered) -> str:
        """The clue and the hidden words, after a report of the turn before, if any.

        Args:
            clue: the clue to be guessed.
            uncovered: the words of that turn; none before the first.
        """
        seen = {
            "BOARD": ", ".join(self._board.remaining()),
            "CLUE": clue.word,
            "NUMBER": len(clue.targets),
        }
        if not uncovered:
            return self._prompt("guesser_initial", seen)
        report = self._phrases.report(GUESSER, uncovered)
        return f"{report}\n{self._prompt('guesser_follow_up', seen)}"

    def _prompt(self, name: str, values: Mapping[str, object]) -> str:
        """One of our prompts, or the one of that name that the instance or experiment brings.

        Clembench keeps its templates beside the instances; an importer that adds them need not
        change them: their variables are understood as they are (``$board``).
        """
        given = self._instance.get(f"{name}_prompt")
        if given is not None:
            given = with_our_placeholders(given)
        return self._game.prompt(name, self._instance, given, **values)
