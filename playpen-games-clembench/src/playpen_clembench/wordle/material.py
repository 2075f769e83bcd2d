"""The pack's own words, clues and message fragments: a folder ``resources/<language>/`` each."""

from __future__ import annotations

from functools import cache
from typing import Any, cast

import msgspec

from playpen_clembench.languages import material_file


@cache
def words(language: str) -> tuple[str, ...]:
    """The guesses that are accepted, in alphabetical order."""
    return tuple(material_file(__package__, "words.txt", language).split())


@cache
def clues(language: str) -> dict[str, dict[str, str]]:
    """Difficulty (``high``, ``medium``: how frequent the word is) to target word to its clue."""
    text = material_file(__package__, "clues.json", language)
    return msgspec.json.decode(text, type=dict[str, dict[str, str]])


@cache
def keywords(language: str) -> dict[str, Any]:
    """Tags and message fragments under the names that clembench's ``lang_keywords`` uses.

    Empty for a language without a folder; an experiment in it must bring all of them.
    """
    try:
        text = material_file(__package__, "keywords.json", language)
    except FileNotFoundError:
        return {}
    return cast("dict[str, Any]", msgspec.json.decode(text))
