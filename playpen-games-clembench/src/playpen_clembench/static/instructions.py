r"""Which instructions of IFEval a text follows (docs/rules/static.md, "Scores").

The checkers are those of EleutherAI's ``lm-eval``.  A few are our own, where those depend on chance
or on the version of nltk, or take time that grows with the square of a text's length:

- a letter is counted whatever it is (``lm-eval`` replaces ``#`` or ``!`` by a random letter);
- words are what ``\w+`` matches in Python's own `re`;
- sentences are split with tables that need no download;
- placeholders, titles, bullets and postscripts are found line by line, or without what a pattern
  need not match, and words and sentences are counted up to the number that decides.

Keywords and splitters are taken literally, not as regular expressions; in the official data there
is no difference.
"""

from __future__ import annotations

import importlib
import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from itertools import accumulate, islice
from typing import Any

from playpen import PlaypenError
from playpen_clembench.static.sentences import sentences, word_tokens

EXTRA = "playpen-games-clembench[ifeval]"
DEEPEST = 200
"""Nesting of JSON that is tried; deeper, it would depend on Python's stack whether it is read."""


class MissingCheckersError(PlaypenError):
    """The packages that check instructions are not installed."""


def follows(text: str, instruction: str, arguments: Mapping[str, Any]) -> bool:
    """Whether a text follows an instruction.

    Args:
        text: the reply as it is.
        instruction: one of the 25 ids of IFEval, e.g. ``"punctuation:no_comma"``.
        arguments: the instruction's own, by name.

    Raises:
        MissingCheckersError: the extra is not installed.
    """
    if not text.strip():
        return False
    if instruction in _OWN_CHECKS:
        return _OWN_CHECKS[instruction](text, **arguments)
    if _cannot_be_followed(text, instruction, arguments):
        return False
    checker = _checkers()[instruction](instruction)
    checker.build_description(**_literal(arguments))
    return bool(checker.check_following(text))


def require_checkers() -> None:
    """Load everything that checking needs (once; it takes seconds).

    Raises:
        MissingCheckersError: the extra is not installed; says what to do.
    """
    try:
        _checkers()
        list(sentences(""))
    except ImportError as error:
        raise MissingCheckersError(
            f"the game 'ifeval' needs packages that are not installed ({error}). "
            f'Install them with: pip install "{EXTRA}"'
        ) from error


# --- our own checks ------------------------------------------------------------------------------


def _letter_frequency(text: str, letter: str, let_frequency: int, let_relation: str) -> bool:
    return _holds(text.lower().count(letter.lower()), let_relation, let_frequency)


def _number_of_words(text: str, num_words: int, relation: str) -> bool:
    return _holds(len(re.findall(r"\w+", text)), relation, num_words)


_WITHIN_MARKS = re.compile(r"(?<=[!?]{4})[!?]+(?=[!?]{4})")


def _number_of_sentences(text: str, num_sentences: int, relation: str) -> bool:
    most = 1 + sum(map(text.count, ".?!"))  # a sentence but the last ends in one of them
    if most < num_sentences:
        return _holds(most, relation, num_sentences)
    # The marks within a long run of them end no sentence.
    found = sentences(_WITHIN_MARKS.sub("", text))
    count = sum(1 for _ in islice(found, num_sentences))
    return _holds(count, relation, num_sentences)


def _capital_words(text: str, capital_frequency: int, capital_relation: str) -> bool:
    least = sum(map(str.isupper, _STANDS_ALONE.findall(text)))
    if least >= capital_frequency:
        return _holds(least, capital_relation, capital_frequency)
    most = _most_capital_words(text)
    if most < capital_frequency:
        return _holds(most, capital_relation, capital_frequency)
    capital_words = (
        token
        for sentence in sentences(_WITHIN_MARKS.sub("", text))
        if _most_capital_words(sentence)
        for token in word_tokens(sentence)
        if token.isupper()
    )
    count = sum(1 for _ in islice(capital_words, capital_frequency))
    return _holds(count, capital_relation, capital_frequency)


_UNSPLIT = re.compile(r"\w+(?:[-./]\w+|'(?!(?i:[dmnst]|ll|re|ve|ye)\b)\w+)*")
"""What stays within one token, but for contractions."""
_STANDS_ALONE = re.compile(r"(?<!\S)\w+(?:[-./]\w+)*[.,!?]?(?!\S)")
"""A token between blanks, perhaps with a mark behind it."""
_CONTRACTION = re.compile(r"(?i)cannot|gimme|gonna|gotta|lemme|wanna|'tis|'twas")
"""What nltk splits between two letters.  If all but the first are small, no part is capital."""
_CAPITAL_NOT = re.compile(r"(?<=[^a-z])n't")


def _most_capital_words(text: str) -> int:
    """How many capital words a text has at most; much faster than its tokens."""
    if text == text.lower():
        return 0
    unsplit = sum(map(str.isupper, _UNSPLIT.findall(text)))
    contractions = sum(not found[1:].islower() for found in _CONTRACTION.findall(text))
    return unsplit + 2 * contractions + len(_CAPITAL_NOT.findall(text))


def _number_of_placeholders(text: str, num_placeholders: int) -> bool:
    count = 0
    for line in text.split("\n"):
        end = 0
        while (start := line.find("[", end)) >= 0 and (end := line.find("]", start) + 1):
            count += 1
    return count >= num_placeholders


def _title(text: str) -> bool:
    for line in text.split("\n"):
        start, end = line.find("<<"), line.rfind(">>")
        if 0 <= start < end - 2:
            title = line[start : end + 2]
            if title.lstrip("<").rstrip(">").strip():
                return True
    return False


_STAR = re.compile(r"^[^\S\n]*\*[^*].*", re.MULTILINE)
"""The character after a star may be a line end: then the next line belongs to the bullet."""
_DASH = re.compile(r"^[^\S\n]*-", re.MULTILINE)


def _number_of_bullets(text: str, num_bullets: int) -> bool:
    return len(_STAR.findall(text)) + len(_DASH.findall(text)) == num_bullets


_POSTSCRIPTS = {
    "P.S.": re.compile(r"p\.\s?s\."),
    "P.P.S": re.compile(r"p\.\s?p\.\s?s"),
}


def _postscript(text: str, postscript_marker: str) -> bool:
    marker, lower = postscript_marker.strip(), text.lower()
    if marker in _POSTSCRIPTS:
        return bool(_POSTSCRIPTS[marker].search(lower))
    return marker.lower() in lower


def _holds(count: int, relation: str, threshold: int) -> bool:
    return count < threshold if relation == "less than" else count >= threshold


_OWN_CHECKS: dict[str, Callable[..., bool]] = {
    "keywords:letter_frequency": _letter_frequency,
    "length_constraints:number_words": _number_of_words,
    "length_constraints:number_sentences": _number_of_sentences,
    "change_case:capital_word_frequency": _capital_words,
    "detectable_content:number_placeholders": _number_of_placeholders,
    "detectable_content:postscript": _postscript,
    "detectable_format:number_bullet_lists": _number_of_bullets,
    "detectable_format:title": _title,
}


# --- those of lm-eval ----------------------------------------------------------------------------


@cache
def _checkers() -> Mapping[str, Any]:
    """The class of each instruction's checker.

    Raises:
        ImportError: lm-eval or one of the packages of its extra ``ifeval`` is missing.
    """
    langdetect = importlib.import_module("langdetect")
    with _without_download():
        registry = importlib.import_module("lm_eval.tasks.ifeval.instructions_registry")
    # Without a seed, the language of a text would be guessed anew each time.
    langdetect.DetectorFactory.seed = 0
    langdetect.detector_factory.init_factory()
    # It would print every text whose language cannot be told.
    logging.getLogger("lm_eval.tasks.ifeval.instructions").disabled = True
    checkers: Mapping[str, Any] = registry.INSTRUCTION_DICT
    return checkers


@contextmanager
def _without_download() -> Iterator[None]:
    """Let lm-eval be imported without fetching data for nltk, which the process of rank 0 does."""
    rank = os.environ.get("LOCAL_RANK")
    os.environ["LOCAL_RANK"] = "no download"
    try:
        yield
    finally:
        if rank is None:
            del os.environ["LOCAL_RANK"]
        else:
            os.environ["LOCAL_RANK"] = rank


def _literal(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments in which what lm-eval takes for a regular expression matches itself only."""
    escaped = dict(arguments)
    for name in ("keywords", "forbidden_words"):
        if name in escaped:
            escaped[name] = [re.escape(word) for word in escaped[name]]
    for name in ("keyword", "section_spliter"):
        if name in escaped:
            escaped[name] = re.escape(escaped[name].strip())
    return escaped


def _cannot_be_followed(text: str, instruction: str, arguments: Mapping[str, Any]) -> bool:
    """Cases in which lm-eval would draw arguments by chance, or fail."""
    if instruction == "length_constraints:nth_paragraph_first_word":
        return bool(arguments["nth_paragraph"] > arguments["num_paragraphs"])
    if instruction == "detectable_format:json_format":
        nesting = accumulate((c in "[{") - (c in "]}") for c in text)
        return max(nesting) > DEEPEST
    return False
