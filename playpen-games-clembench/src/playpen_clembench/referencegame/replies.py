"""What the players of the reference game have to write, and the check that they did."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache

from playpen import Instance, Violation
from playpen_clembench.languages import language_file


@dataclass(frozen=True)
class Words:
    """Tags and labels of a language, from ``prompts/<language>/words.json``.

    Attributes:
        expression_tag: what the giver's reply begins with.
        answer_tag: what the follower's reply begins with.
        labels: for each position in the follower's order its labels in lower case, the preferred
            one first.
    """

    expression_tag: str
    answer_tag: str
    labels: tuple[tuple[str, ...], ...]

    @cached_property
    def answers(self) -> tuple[str, ...]:
        """The follower's regular replies, one for each position."""
        return tuple(f"{self.answer_tag} {names[0]}" for names in self.labels)

    @cached_property
    def patterns(self) -> tuple[str, str]:
        """Forms of both roles' replies (docs/rules/referencegame.md, "Reply format").

        The giver writes the tag and a line, the follower the tag and a line that begins with a
        label.
        """
        labels = "|".join(re.escape(label) for names in self.labels for label in names)
        return (
            _form(self.expression_tag, "(?P<response>.+)"),
            _form(self.answer_tag, f"(?P<response>{labels}).*"),
        )


def _form(tag: str, line: str) -> str:
    return rf"^(?P<tag>{re.escape(tag)}\s*)(?P<content>{line}\n*(?P<remainder>(?s:.*)))"


@cache
def words_of(language: str) -> Words:
    """The words of a language.

    Raises:
        PromptError: the game does not speak it.
    """
    table = json.loads(language_file(__package__, language, "words.json"))
    labels = tuple(tuple(names) for names in table["labels"])
    return Words(table["expression_tag"], table["answer_tag"], labels)


def reader(instance: Instance, player: int) -> Callable[[str], re.Match[str]]:
    """What checks the replies of player 1 (the giver) or 2 (the follower).

    The instance's own pattern counts if it has one.  The match has the groups ``response`` and
    ``remainder``; in strict mode the latter must be empty.
    """
    given = instance.get(f"player_{player}_response_pattern")
    pattern = words_of(instance.language).patterns[player - 1] if given is None else given
    strict = instance[f"p{player}_mode"] == "strict"

    def read(reply: str) -> re.Match[str]:
        match = _compiled(pattern).match(reply)
        if match is None:
            raise Violation("invalid_format", "the reply does not have the form that was asked for")
        if strict and match["remainder"]:
            raise Violation("extra_text", "the reply goes on after the line that was asked for")
        return match

    return read


@lru_cache(maxsize=64)
def _compiled(pattern: str) -> re.Pattern[str]:
    r"""Compile the pattern of an instance.

    Its ``(.|\n)*`` takes a stack entry for each character of a reply; the same in dot-all mode
    takes none.  The brackets stay, so that groups keep their numbers.
    """
    for anything in (r"(.|\n)*", "(.|\n)*"):
        pattern = pattern.replace(anything, "((?s:.*))")
    return re.compile(pattern, re.IGNORECASE)
