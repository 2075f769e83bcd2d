"""The pack's own words, clues and message fragments: a folder ``resources/<language>/`` each."""

from __future__ import annotations

import importlib.resources
from functools import cache
from typing import Any, cast

import msgspec


def _read(language: str, file: str) -> bytes:
    folder = importlib.resources.files("playpen_clembench.wordle") / "resources" / language
    return (folder / file).read_bytes()


@cache
def words(language: str) -> tuple[str, ...]:
    """The guesses that are accepted, in alphabetical order."""
    return tuple(_read(language, "words.txt").decode().split())


@cache
def clues(language: str) -> dict[str, dict[str, str]]:
    """Difficulty (``high``, ``medium``: how frequent the word is) to target word to its clue."""
    return msgspec.json.decode(_read(language, "clues.json"), type=dict[str, dict[str, str]])


@cache
def keywords(language: str) -> dict[str, Any]:
    """Tags and message fragments under the names that clembench's ``lang_keywords`` uses.

    Empty for a language without a folder; an experiment in it must bring all of them.
    """
    try:
        text = _read(language, "keywords.json")
    except FileNotFoundError:
        return {}
    return cast("dict[str, Any]", msgspec.json.decode(text))
