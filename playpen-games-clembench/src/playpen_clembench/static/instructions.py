r"""Which instructions of IFEval a text follows (docs/rules/static.md, "Scores").

The checkers are those of EleutherAI's ``lm-eval``.  A few are our own, where those depend on chance
or on the version of nltk:

- a letter is counted whatever it is (``lm-eval`` replaces ``#`` or ``!`` by a random letter);
- words are what ``\w+`` matches in Python's own `re`;
- sentences are split with tables that need no download.

Keywords and splitters are taken literally, not as regular expressions; in the official data there
is no difference.  A text of more than `LONGEST` characters follows no instruction.
"""

from __future__ import annotations

import importlib
import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from itertools import accumulate
from typing import Any

from playpen import PlaypenError
from playpen_clembench.static.sentences import sentences, word_tokens

EXTRA = "playpen-games-clembench[ifeval]"
LONGEST = 20_000
"""Some of lm-eval's patterns take quadratic time.  1280 tokens are about 6,000 characters."""
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
    if not text.strip() or len(text) > LONGEST:
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
        sentences("")
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


def _number_of_sentences(text: str, num_sentences: int, relation: str) -> bool:
    return _holds(len(sentences(text)), relation, num_sentences)


def _capital_words(text: str, capital_frequency: int, capital_relation: str) -> bool:
    count = sum(token.isupper() for token in word_tokens(text))
    return _holds(count, capital_relation, capital_frequency)


def _holds(count: int, relation: str, threshold: int) -> bool:
    return count < threshold if relation == "less than" else count >= threshold


_OWN_CHECKS: dict[str, Callable[..., bool]] = {
    "keywords:letter_frequency": _letter_frequency,
    "length_constraints:number_words": _number_of_words,
    "length_constraints:number_sentences": _number_of_sentences,
    "change_case:capital_word_frequency": _capital_words,
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
    marker = escaped.get("postscript_marker", "").strip()
    if marker and marker not in ("P.S.", "P.P.S"):  # lm-eval has patterns of its own for these
        escaped["postscript_marker"] = re.escape(marker)
    return escaped


def _cannot_be_followed(text: str, instruction: str, arguments: Mapping[str, Any]) -> bool:
    """Cases in which lm-eval would draw arguments by chance, or fail."""
    if instruction == "length_constraints:nth_paragraph_first_word":
        return bool(arguments["nth_paragraph"] > arguments["num_paragraphs"])
    if instruction == "detectable_format:json_format":
        nesting = accumulate((c in "[{") - (c in "]}") for c in text)
        return max(nesting) > DEEPEST
    return False
