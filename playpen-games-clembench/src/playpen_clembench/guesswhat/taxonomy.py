"""The pack's own words: categories, their subcategories, and the words of each."""

from __future__ import annotations

import json
from functools import cache
from typing import TypeAlias

from playpen_clembench.languages import material_file

Taxonomy: TypeAlias = dict[str, dict[str, tuple[str, ...]]]
"""Category to subcategory to words, all in lower case; no word is in it twice."""


@cache
def abstract() -> Taxonomy:
    """Words for what cannot be touched."""
    return _read("abstract.json")


@cache
def everything() -> Taxonomy:
    """Concrete and abstract words; no word and no label is in both."""
    return _read("concrete.json") | abstract()


@cache
def labels() -> dict[str, tuple[str, str]]:
    """Each word with its category and subcategory."""
    return {
        word: (category, subcategory)
        for category, subcategories in everything().items()
        for subcategory, words in subcategories.items()
        for word in words
    }


def _read(name: str) -> Taxonomy:
    table = json.loads(material_file(__package__, name))
    return {
        category: {name: tuple(words.split()) for name, words in subcategories.items()}
        for category, subcategories in table.items()
    }
