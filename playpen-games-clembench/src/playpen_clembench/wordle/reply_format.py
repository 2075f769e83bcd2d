"""The form of replies: an explanation and one labelled field.

See docs/rules/wordle.md, "Reply format" and "Violations".
"""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple

from playpen.moves import Violation
from playpen_clembench.wordle.setting import Setting

UNKNOWN_WORD = "unknown_word"
"""Code of the one violation after which the guesser is asked again; it counts as parsed."""


class Answer(NamedTuple):
    """A reply's two fields; `content` is the guess or the verdict, in lower case."""

    content: str
    explanation: str


def read_guess(reply: str, setting: Setting) -> Answer:
    """The guess of a reply.

    Raises:
        Violation: the form is wrong, or, with a text to ask again, the word is unknown.
    """
    keywords = setting.keywords
    answer = _fields(reply, keywords.explanation, keywords.guess)
    if len(answer.content) != setting.word_length:
        raise Violation(
            "wrong_length",
            f"the guess has {len(answer.content)} letters instead of {setting.word_length}",
        )
    if answer.content not in setting.words:
        texts = keywords.error_texts
        raise Violation(
            UNKNOWN_WORD,
            f"{answer.content!r} is not among the accepted words",
            retry=f"{texts.unknown_word} {texts.retry}\n\n{keywords.guess_form}",
        )
    return answer


def read_verdict(reply: str, setting: Setting) -> Answer:
    """The critic's verdict.

    Raises:
        Violation: the form is wrong, or the verdict is none of the two words.
    """
    keywords = setting.keywords
    answer = _fields(reply, keywords.explanation, keywords.agreement)
    if answer.content not in keywords.verdicts:
        raise Violation("no_verdict", f"the verdict is not one of {', '.join(keywords.verdicts)}")
    return answer


def _fields(reply: str, explanation_tag: str, content_tag: str) -> Answer:
    """Split a reply into its fields; the time is linear in its length."""
    if not reply.startswith(explanation_tag):
        raise Violation("wrong_start", f"the reply does not begin with {explanation_tag!r}")
    reply = reply.strip()
    # Only \n ends a line; splitlines() would also split at \r, U+2028 and others.
    if reply.count("\n") > 1:
        raise Violation("too_many_lines", "the reply has more than two lines")
    contents = _rest_of_line(content_tag).findall(reply)
    if len(contents) != 1:
        how_often = "more than once" if contents else "not at all"
        raise Violation("content_tag", f"the tag {content_tag!r} occurs {how_often}")
    content = contents[0].strip().lower()
    if not content.isalpha():
        raise Violation("not_letters", f"the text after {content_tag!r} is not one word of letters")
    first_line = reply.partition("\n")[0]
    return Answer(content, first_line[len(explanation_tag) :].strip())


@cache
def _rest_of_line(tag: str) -> re.Pattern[str]:
    """Matches a tag in any case, anywhere, and captures the rest of its line."""
    return re.compile(re.escape(tag) + r"([^\n]*)", re.IGNORECASE)
