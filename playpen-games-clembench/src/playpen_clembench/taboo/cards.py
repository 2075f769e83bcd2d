"""The pack's own word material: cards by frequency band, and the closed `mini` world."""

from __future__ import annotations

from functools import cache

import msgspec

from playpen_clembench.languages import material_file


class Card(msgspec.Struct, frozen=True):
    """A secret word, its forbidden words, and a clue from which it can be guessed."""

    target: str
    related: tuple[str, ...]
    hint: str


class MiniWorld(msgspec.Struct, frozen=True):
    """A closed vocabulary: the clue words, and for each secret word the clues that fit it."""

    clues: tuple[str, ...]
    words: dict[str, tuple[str, ...]]


@cache
def cards() -> dict[str, tuple[Card, ...]]:
    """The cards of each frequency band: ``high``, ``medium``, ``low``."""
    return msgspec.json.decode(
        material_file(__package__, "cards.json"), type=dict[str, tuple[Card, ...]]
    )


@cache
def mini_world() -> MiniWorld:
    """The closed world of the level ``mini``."""
    return msgspec.json.decode(material_file(__package__, "mini.json"), type=MiniWorld)
