"""Programs that play codenames with each other; they speak English.

The cluegiver names a theme where all its words on the board are the team's.  Otherwise, and when
few rounds may be left, it says all its words at once in a code: ``reversed/retto/wodaem``.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from playpen.conversation import Conversation
from playpen_clembench.codenames import material
from playpen_clembench.codenames.lemmas import related_word
from playpen_clembench.codenames.phrases import phrases_of

CODE = "reversed/"
ENOUGH_FOR_OPPONENTS = 6
"""With fewer words left to the opponents, the next round could be the last."""

_QUOTED = re.compile(r"(?<!\w)([\"'])(\S*?)\1(?!\w)")
_NUMBER = re.compile(r"(?:up to|words:) (\d+)")


def give_clue(conversation: Conversation) -> str:
    """The cluegiver's next clue and targets."""
    lists = [_listed(line) for line in conversation.last.split("\n")[-4:]]
    team, opponent = [*lists, [], []][:2]
    board = [word for words in lists for word in words]
    clue, targets = _theme_clue(team, board) if len(opponent) >= ENOUGH_FOR_OPPONENTS else ("", [])
    if not targets:
        clue = CODE + "/".join(word.replace(" ", "_")[::-1] for word in team)
        targets = team
    phrases = phrases_of("en")
    return f"{phrases.clue}{clue}\n{phrases.targets}{', '.join(targets)}"


def guess(conversation: Conversation) -> str:
    """The guesser's next guesses."""
    text, _, last = conversation.last.rpartition("\n")
    board = _listed(last)
    quoted = _QUOTED.search(text)
    clue = quoted[2] if quoted else ""
    numbers = _NUMBER.findall(text)
    number = int(numbers[-1][:3]) if numbers else 1
    guesses = _decoded(clue, board)[:number]
    if not guesses:
        guesses = [random.Random(conversation.seed).choice(board or [""])]
    return f"{phrases_of('en').guess}{', '.join(guesses)}"


def _listed(line: str) -> list[str]:
    """The words of a list at the end of a line, after a colon if there is one."""
    label, colon, words = line.partition(":")
    words = (words if colon else label).strip().removesuffix(".")
    return words.split(", ") if words else []


def _theme_clue(team: Sequence[str], board: Sequence[str]) -> tuple[str, list[str]]:
    """The theme of as many team words as can be, and of no other word of the board."""
    theme_of = material.theme_of()
    ours: dict[str, list[str]] = {}
    for word in team:
        if word in theme_of:
            ours.setdefault(theme_of[word], []).append(word)
    for theme, words in sorted(ours.items(), key=lambda item: -len(item[1])):
        others = sum(theme_of.get(word) == theme for word in board) - len(words)
        if not others and related_word(theme, board, "en") is None:
            return theme, words
    return "", []


def _decoded(clue: str, board: Sequence[str]) -> list[str]:
    """The words of the board that a clue stands for."""
    if clue.startswith(CODE):
        spelled = set(clue.removeprefix(CODE).split("/"))
        return [word for word in board if word.replace(" ", "_")[::-1] in spelled]
    return [word for word in board if material.theme_of().get(word) == clue]
