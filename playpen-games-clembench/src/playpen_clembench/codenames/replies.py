"""The form of replies, and what the experiment's flags tolerate.

See docs/rules/codenames.md, "Reply format" and "Violations".
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from playpen.moves import Violation
from playpen_clembench.codenames.board import TEAM, Board
from playpen_clembench.codenames.lemmas import related_word
from playpen_clembench.codenames.phrases import phrases_of
from playpen_clembench.codenames.roles import CLUEGIVER, GUESSER

RAMBLING = "IGNORE RAMBLING"
FALSE_WORDS = "IGNORE FALSE TARGETS OR GUESSES"
REPROMPT = "REPROMPT ON ERROR"
STRIP_WORDS = "STRIP WORDS"
NUMBER_OF_TARGETS = "IGNORE NUMBER OF TARGETS"

NUMBER_WITH_CLUE = "number_with_clue"
"""Code of the one violation that upstream blames on the wrong player."""

LONGEST_REPLY = 100_000
"""Characters.  Longer replies are refused unread, so that time and memory stay bounded."""

_AROUND_WORDS = " .,<>\"'"
_AROUND_NUMBERS = " ,0123456789"
_COMMA_WITHOUT_SPACE = re.compile(r",(?=\S)")
_NUMBER = re.compile(", [0-9]")


class Clue(NamedTuple):
    """A clue as the guesser sees it, and the words that it hints at."""

    word: str
    targets: list[str]


class Reader:
    """Reads the replies of one episode.

    Attributes:
        engaged: role to flag to how often the flag tolerated something.
    """

    def __init__(self, board: Board, flags: Mapping[str, bool], language: str) -> None:
        self._board = board
        self._flags = flags
        self._language = language
        self._phrases = phrases_of(language)
        self.engaged = {role: dict.fromkeys(flags, 0) for role in (CLUEGIVER, GUESSER)}

    def clue(self, reply: str) -> Clue:
        """The clue and the targets of a reply of two lines.

        Raises:
            Violation: the first rule that the reply breaks.
        """
        lines = _prepared(reply).split("\n")
        if len(lines) > 2 and not self.tolerates(CLUEGIVER, RAMBLING):
            raise Violation("rambling", "the reply has more than two lines")
        said = _rest_of_line(lines, self._phrases.clue).lower()
        named = _rest_of_line(lines, self._phrases.targets)

        checked = said
        if _has_odd_characters(said):
            if not self.tolerates(CLUEGIVER, STRIP_WORDS):
                raise Violation("odd_characters", f"{_short(said)} is not a bare word")
            checked = said.strip(_AROUND_WORDS)
        if _NUMBER.search(checked):
            if not self.tolerates(CLUEGIVER, NUMBER_OF_TARGETS):
                raise Violation(NUMBER_WITH_CLUE, "the line of the clue also holds a number")
            checked = checked.strip(_AROUND_NUMBERS)
        targets = self._words(CLUEGIVER, named)
        if " " in checked:
            raise Violation("several_words", f"the clue {_short(checked)} is not a single word")
        if related := related_word(checked, self._board.remaining(), self._language):
            raise Violation("related_clue", f"{_short(checked)} is a form of {related!r}")
        return Clue(
            said.strip(_AROUND_WORDS).strip(_AROUND_NUMBERS),
            self._on_board(CLUEGIVER, "target", targets),
        )

    def guesses(self, reply: str, clue: Clue) -> list[str]:
        """The guesses of a reply of one line.

        Raises:
            Violation: the first rule that the reply breaks.
        """
        lines = _prepared(reply).split("\n")
        if len(lines) > 1 and not self.tolerates(GUESSER, RAMBLING):
            raise Violation("rambling", "the reply has more than one line")
        guesses = self._words(GUESSER, _rest_of_line(lines, self._phrases.guess))
        if len(guesses) > len(clue.targets):
            allowed = len(clue.targets)
            raise Violation("too_many_guesses", f"{len(guesses)} guesses instead of {allowed}")
        return self._on_board(GUESSER, "guess", guesses, clue.word)

    def tolerates(self, role: str, flag: str, times: int = 1) -> bool:
        """Whether a flag is set; if so, that it was needed is counted."""
        if self._flags[flag]:
            self.engaged[role][flag] += times
        return self._flags[flag]

    def _words(self, role: str, text: str) -> list[str]:
        """The words of a list; only guesses must be bare where nothing is stripped."""
        words = text.split(", ")
        odd = [word for word in words if _has_odd_characters(word)]
        if odd and not self.tolerates(role, STRIP_WORDS, len(odd)) and role == GUESSER:
            raise Violation("odd_characters", f"{_short(odd[0])} is not a bare word")
        if self._flags[STRIP_WORDS]:
            words = [word.strip(_AROUND_WORDS) for word in words]
        return [word.lower() for word in words]

    def _on_board(
        self, role: str, kind: str, words: list[str], clue: str | None = None
    ) -> list[str]:
        """Check the targets or guesses one by one; keep those that are on the board."""
        board = self._board
        how_often = Counter(words)

        def fail(code: str, message: str) -> None:
            if not self.tolerates(role, FALSE_WORDS):
                raise Violation(code, message)

        for word in words:
            if word == clue:
                fail("guess_is_clue", f"{_short(word)} is the clue itself")
            if not board.is_hidden(word):
                if board.uncovered_by(word) == TEAM:
                    fail(f"repeated_{kind}", f"{_short(word)} has been uncovered already")
                else:
                    fail(f"unknown_{kind}", f"{_short(word)} is not on the board")
            if how_often[word] > 1:
                fail(f"double_{kind}", f"{_short(word)} is named more than once")
        hidden = [word for word in words if board.is_hidden(word)]
        if not hidden:
            raise Violation(f"no_correct_{kind}", "none of the words is on the board")
        return hidden


def _prepared(reply: str) -> str:
    """The reply with a space after every comma."""
    if len(reply) > LONGEST_REPLY:
        raise Violation("too_long", f"the reply has more than {LONGEST_REPLY} characters")
    return _COMMA_WITHOUT_SPACE.sub(", ", reply)


def _rest_of_line(lines: list[str], prefix: str) -> str:
    """What follows a prefix on the first line that starts with it."""
    for line in lines:
        if line.startswith(prefix):
            return line[len(prefix) :]
    raise Violation("missing_prefix", f"no line starts with {prefix!r}")


def _has_odd_characters(word: str) -> bool:
    return any(character in word for character in _AROUND_WORDS)


def _short(word: str) -> str:
    return repr(word if len(word) <= 40 else word[:40] + "...")
