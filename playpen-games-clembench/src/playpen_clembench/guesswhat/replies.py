"""What the players of Guess What have to write (docs/rules/guesswhat.md, "Reply format")."""

from __future__ import annotations

import json
import re
import string
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, NamedTuple

from playpen import Instance, Violation
from playpen.instance import Experiment
from playpen_clembench.languages import language_file

FORBIDDEN = "forbidden_question"
"""Code of the violation by a question's content; all others are about its form."""

_SEARCHED = ("letter_based_pattern", "length_question_pattern", "syllable_question_pattern")
_ANCHORED = ("direct_guess_pattern", "pos_question_pattern")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


class Question(NamedTuple):
    """The guesser's question, as the answerer gets it."""

    text: str


class Guess(NamedTuple):
    """The guesser's only guess, normalised."""

    word: str


@dataclass(frozen=True)
class Form:
    """Tags, answers and forbidden questions of an experiment.

    Attributes:
        question_tag, guess_tag: what the guesser's replies begin with.
        answers: the answerer's possible replies.
        forbidden: for each kind of forbidden question its name and the test for it, which takes
            the question in lower case.
    """

    question_tag: str
    guess_tag: str
    answers: frozenset[str]
    forbidden: tuple[tuple[str, Callable[[str], object]], ...]

    def read_turn(self, reply: str) -> Question | Guess:
        """Check a reply of the guesser."""
        if reply.startswith(self.question_tag):
            return self._question(reply)
        if reply.startswith(self.guess_tag):
            return self._guess(reply)
        tags = f"{self.question_tag!r} nor with {self.guess_tag!r}"
        raise Violation("missing_tag", f"the reply begins neither with {tags}")

    def _question(self, reply: str) -> Question:
        if reply.count(self.question_tag) > 1:
            raise Violation("repeated_tag", "the reply has more than one question")
        text = reply.replace(self.question_tag, "").strip()
        if "?" in text and text.index("?") < len(text) - 1:
            raise Violation("more_than_a_question", "the reply goes on after the question mark")
        lowered = text.lower()
        kinds = [name for name, matches in self.forbidden if matches(lowered)]
        if kinds:
            raise Violation(FORBIDDEN, f"the question is of a forbidden kind: {', '.join(kinds)}")
        return Question(reply)

    def _guess(self, reply: str) -> Guess:
        word = reply.removeprefix(self.guess_tag).strip().lower().translate(_NO_PUNCTUATION)
        if len(word.split(maxsplit=1)) > 1:
            raise Violation("several_words", "the guess has more than one word")
        return Guess(word)

    def read_answer(self, reply: str) -> str:
        """Check a reply of the answerer."""
        if reply not in self.answers:
            raise Violation("invalid_answer", "the reply is not one of the possible answers")
        return reply


def form_of(instance: Instance) -> Form:
    """The form that an instance's experiment sets, or that of the language's own prompts.

    Raises:
        PromptError: the experiment sets none, and the game does not speak the language.
    """
    return _form(instance.experiment, instance.language)


@lru_cache(maxsize=64)
def _form(experiment: Experiment, language: str) -> Form:
    given = experiment.config
    table = given if "question_tag" in given else own_form(language)
    searched = ((name, re.compile(table[name]).search) for name in _SEARCHED)
    anchored = ((name, re.compile(table[name]).match) for name in _ANCHORED)
    return Form(
        table["question_tag"],
        table["guess_tag"],
        frozenset(table["answer_variations"]),
        (*searched, *anchored),
    )


@cache
def own_form(language: str) -> dict[str, Any]:
    """Tags, answers and patterns of the language, named as in an experiment.

    Raises:
        PromptError: the game does not speak it.
    """
    table: dict[str, Any] = json.loads(language_file(__package__, language, "form.json"))
    return table
