"""The rules of codenames (specs/codenames.md)."""

from __future__ import annotations

import itertools
from collections.abc import Generator, Iterator, Mapping, Sequence
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
from playpen_clembench.codenames import scores
from playpen_clembench.codenames.board import ASSASSIN, ASSIGNMENTS, OPPONENT, TEAM, Board
from playpen_clembench.codenames.fingerprint import fingerprint
from playpen_clembench.codenames.phrases import phrases_of, with_our_placeholders
from playpen_clembench.codenames.replies import CLUEGIVER, GUESSER, REPROMPT, Clue, Reader


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
    levels_stand_alone = True
    oracles = {
        CLUEGIVER: "playpen_clembench.codenames.oracle:give_clue",
        GUESSER: "playpen_clembench.codenames.oracle:guess",
    }

    def play(self, instance: Instance) -> Play:
        """Play rounds until a side has all its words; any broken rule ends the game."""
        board = Board(instance["board"], instance["assignments"])
        reader = Reader(board, instance["flags"], instance.language)
        yield Note("experiment", scores.setting(instance))
        try:
            outcome = yield from self._rounds(instance, board, reader)
        except Violation as violation:
            # Nobody is asked again, whatever this flag says (section 10 of the spec).
            reader.tolerates(str(violation.role), REPROMPT)
            outcome = Abort(violation.code, violation.message, violation.role)
        yield Note("board end status", board.status())
        yield Note("engaged flags", reader.engaged)
        return outcome

    def _rounds(
        self, instance: Instance, board: Board, reader: Reader
    ) -> Generator[Move, Any, Outcome]:
        """A round: a clue, the guesses, the opponents' move."""
        for_cluegiver = self._prompt("cluegiver_initial", instance, _words_of(board))
        report = ""
        while True:
            yield Note("board status", board.status())
            clue = yield from ask(CLUEGIVER, for_cluegiver, reader.clue)
            yield from _noted_clue(board, clue)

            name = "guesser_follow_up" if report else "guesser_initial"
            seen = {
                "BOARD": ", ".join(board.remaining()),
                "CLUE": clue.word,
                "NUMBER": len(clue.targets),
            }
            for_guesser = report + self._prompt(name, instance, seen)
            guesses = yield from ask(GUESSER, for_guesser, partial(reader.guesses, clue=clue))
            yield Note("guesses", guesses)
            uncovered = yield from _uncover(board, guesses, clue.targets)
            if outcome := _result(board):
                return outcome

            phrases = phrases_of(instance.language)
            report = f"{phrases.report(GUESSER, uncovered)}\n"
            # Written before the opponents move, so it still lists the words that they uncover.
            follow_up = self._prompt("cluegiver_follow_up", instance, _words_of(board))
            for_cluegiver = f"{phrases.report(CLUEGIVER, uncovered)}\n{follow_up}"
            yield from _opponents_move(board, instance["opponent difficulty"])
            if outcome := _result(board):
                return outcome
            yield Round()

    def _prompt(self, name: str, instance: Instance, values: Mapping[str, object]) -> str:
        """One of our prompts, or the one of that name that the instance or experiment brings.

        Clembench keeps its templates beside the instances; an importer that adds them need not
        change them: their variables are understood as they are (``$board``).
        """
        given = instance.get(f"{name}_prompt")
        if given is not None:
            given = with_our_placeholders(given)
        return self.prompt(name, instance, given, **values)

    def recorded_draws(self, events: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
        """The opponents' moves: a run of ``opponent revealed`` events each."""
        runs = itertools.groupby(events, key=lambda event: event["type"] == "opponent revealed")
        return [[event["content"]["word"] for event in run] for moved, run in runs if moved]

    def complete_import(self, document: dict[str, Any], folder: Path) -> dict[str, Any]:
        """Upstream's four prompt templates, given to every experiment."""
        for moment, kind in (("initial", "initial"), ("intermittent", "follow_up")):
            for role in (CLUEGIVER, GUESSER):
                file = folder / "resources" / f"{moment}_prompts" / f"prompt_{role}.template"
                if file.is_file():
                    text = file.read_text(encoding="utf-8")
                    for experiment in document["experiments"]:
                        experiment.setdefault(f"{role}_{kind}_prompt", text)
        return document

    def metrics(self, episode: Episode) -> Metrics:
        """The scores of section 7 of the spec, under upstream's names."""
        return scores.metrics(episode)

    def fingerprint(self, instance: Instance) -> str:
        """Whose the words are; their order carries no meaning."""
        return fingerprint(instance["assignments"])


def _words_of(board: Board) -> dict[str, str]:
    """The cluegiver's view: the hidden words of each assignment."""
    return {f"{name.upper()}_WORDS": ", ".join(board.hidden(name)) for name in ASSIGNMENTS}


def _noted_clue(board: Board, clue: Clue) -> Iterator[Note]:
    yield Note("clue", clue.word)
    yield Note("targets", clue.targets)
    for word in clue.targets:
        yield Note("word targeted", {"word": word, "assignment": board.assignment(word)})


def _uncover(
    board: Board, guesses: list[str], targets: list[str]
) -> Generator[Move, Any, list[tuple[str, str]]]:
    """Uncover words up to the first that is not the team's; each with its assignment."""
    uncovered: list[tuple[str, str]] = []
    for word in guesses:
        if not board.is_hidden(word):
            continue  # a tolerated repetition
        assignment = board.uncover(word, TEAM)
        uncovered.append((word, assignment))
        yield Note("team revealed", {"word": word, "assignment": assignment})
        if word in targets:
            yield Note("target revealed", {"word": word, "assignment": assignment})
        if assignment != TEAM:
            yield Note("turn end after", word)
            break
    found = sum(assignment == TEAM for _, assignment in uncovered)
    share = found / board.size(TEAM)
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
