"""What a language says: the prefixes of replies and the reports between rounds."""

from __future__ import annotations

from functools import cache

import msgspec

from playpen.prompts import fill
from playpen_clembench.codenames.board import TEAM, Uncovered
from playpen_clembench.languages import language_file


class Phrases(msgspec.Struct, frozen=True):
    """The texts of ``prompts/<language>/phrases.json``.

    Attributes:
        clue, targets, guess: the prefixes of the lines of a reply.
        right, right_many: report of one or of several uncovered words of the team.
        wrong: assignment to the report of a word that belongs there.
        turn_over: role to the statement that the guesser's turn is over.
    """

    clue: str
    targets: str
    guess: str
    right: str
    right_many: str
    wrong: dict[str, str]
    turn_over: dict[str, str]

    def report(self, role: str, uncovered: Uncovered) -> str:
        """What a role is told about the guesser's turn.

        Args:
            role: who is told.
            uncovered: the words of that turn, at least one.
        """
        right = [word for word, assignment in uncovered if assignment == TEAM]
        sentences = []
        if right:
            template = self.right if len(right) == 1 else self.right_many
            sentences.append(fill(template, {"WORDS": ", ".join(right)}))
        last, assignment = uncovered[-1]
        if assignment != TEAM:
            sentences.append(fill(self.wrong[assignment], {"WORD": last}))
        return " ".join([*sentences, self.turn_over[role]])


@cache
def phrases_of(language: str) -> Phrases:
    """The phrases of a language.

    Raises:
        PromptError: the game does not speak it.
    """
    return msgspec.json.decode(language_file(__package__, language, "phrases.json"), type=Phrases)
