"""The rules of codenames (docs/rules/codenames.md)."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from playpen import (
    Abort,
    Draw,
    Episode,
    Game,
    Instance,
    Lose,
    Metrics,
    Move,
    Note,
    Outcome,
    Play,
    Reward,
    Role,
    Round,
    Success,
    Violation,
    ask,
)
from playpen_clembench.codenames import scores, upstream
from playpen_clembench.codenames.board import ASSASSIN, OPPONENT, TEAM, Board, Uncovered
from playpen_clembench.codenames.fingerprint import fingerprint
from playpen_clembench.codenames.messages import Messages
from playpen_clembench.codenames.replies import REPROMPT, Clue, Reader
from playpen_clembench.codenames.roles import CLUEGIVER, GUESSER


class Codenames(Game):
    """One clue word for several words of a board; the partner finds them before the opponents.

    Each round rewards both roles with the share of the team's words that it uncovers: the rewards
    of a won episode add up to 1.
    """

    name = "codenames"
    rules = "2.0"
    roles = (
        Role(CLUEGIVER, "knows whose the words are and hints at those of the team"),
        Role(GUESSER, "finds the words that a clue hints at"),
    )
    generator = "playpen_clembench.codenames.generate"
    oracles = {
        CLUEGIVER: "playpen_clembench.codenames.oracle:give_clue",
        GUESSER: "playpen_clembench.codenames.oracle:guess",
    }
    levels_stand_alone = True

    def play(self, instance: Instance) -> Play:
        """Play rounds until a side has all its words; any broken rule ends the game."""
        board = Board(instance["board"], instance["assignments"])
        reader = Reader(board, instance["flags"], instance.language)
        yield Note("experiment", scores.setting(instance))
        try:
            outcome = yield from self._rounds(instance, board, reader)
        except Violation as violation:
            # Nobody is asked again, whatever the flag says (the page, "Reproduced on purpose").
            reader.tolerates(str(violation.role), REPROMPT)
            outcome = Abort(violation.code, violation.message, violation.role)
        yield Note("board end status", board.status())
        yield Note("engaged flags", reader.engaged)
        return outcome

    def _rounds(self, instance: Instance, board: Board, reader: Reader) -> Play:
        """A round: a clue, the guesses, the opponents' move."""
        messages = Messages(self, instance, board)
        uncovered: Uncovered = []
        for_cluegiver = messages.for_cluegiver(uncovered)
        while True:
            yield Note("board status", board.status())
            clue = yield from ask(CLUEGIVER, for_cluegiver, reader.clue)
            yield from scores.clue_notes(clue, board)

            for_guesser = messages.for_guesser(clue, uncovered)
            guesses = yield from ask(GUESSER, for_guesser, partial(reader.guesses, clue=clue))
            yield Note("guesses", guesses)
            uncovered = yield from _uncover(board, guesses, clue)
            if outcome := _result(board):
                return outcome

            # Written before the opponents move, so it still lists the words that they uncover.
            for_cluegiver = messages.for_cluegiver(uncovered)
            yield from _opponents_move(board, instance["opponent difficulty"])
            if outcome := _result(board):
                return outcome
            yield Round()

    def recorded_draws(self, events: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
        """The opponents' moves."""
        return upstream.opponents_moves(events)

    def complete_import(self, document: dict[str, Any], folder: Path) -> dict[str, Any]:
        """Upstream's four prompt templates, given to every experiment."""
        upstream.add_prompt_templates(document["experiments"], folder)
        return document

    def metrics(self, episode: Episode) -> Metrics:
        """The scores under upstream's names (docs/rules/codenames.md, "Scores")."""
        return scores.metrics(episode)

    def fingerprint(self, instance: Instance) -> str:
        """Whose the words are; their order carries no meaning."""
        return fingerprint(instance["assignments"])


def _uncover(board: Board, guesses: list[str], clue: Clue) -> Generator[Move, Any, Uncovered]:
    """Uncover words up to the first that is not the team's; each with its assignment."""
    uncovered: Uncovered = []
    for word in guesses:
        if not board.is_hidden(word):
            continue  # a tolerated repetition
        assignment = board.uncover(word, TEAM)
        uncovered.append((word, assignment))
        yield Note("team revealed", {"word": word, "assignment": assignment})
        if word in clue.targets:
            yield Note("target revealed", {"word": word, "assignment": assignment})
        if assignment != TEAM:
            yield Note("turn end after", word)
            break
    share = sum(assignment == TEAM for _, assignment in uncovered) / board.size(TEAM)
    yield Reward(CLUEGIVER, share)
    yield Reward(GUESSER, share)
    return uncovered


def _opponents_move(board: Board, difficulty: int) -> Generator[Move, Any, None]:
    """The opponents uncover some of their own words; they never make a mistake."""
    hidden = board.hidden(OPPONENT)
    if number := min(difficulty, len(hidden)):
        words = yield Draw(hidden, number)
        for word in words:
            board.uncover(word, OPPONENT)
            yield Note("opponent revealed", {"word": word, "assignment": OPPONENT})


def _result(board: Board) -> Outcome | None:
    """Who has won, if anybody has; the last team word counts before an assassin word."""
    if not board.hidden(TEAM):
        return Success()
    if not board.hidden(OPPONENT) or board.uncovered(TEAM, ASSASSIN):
        return Lose()
    return None
