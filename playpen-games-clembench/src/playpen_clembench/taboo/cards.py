"""The pack's own word material: cards by frequency band, and the closed `mini` world."""

from __future__ import annotations

import importlib.resources
from functools import cache

import msgspec


class Card(msgspec.Struct, frozen=True):
    """A secret word, its forbidden words, and a clue that gives it away."""

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
    return msgspec.json.decode(_read("cards.json"), type=dict[str, tuple[Card, ...]])


@cache
def mini_world() -> MiniWorld:
    """The closed world of the level ``mini``."""
    return msgspec.json.decode(_read("mini.json"), type=MiniWorld)


def _read(name: str) -> bytes:
    return importlib.resources.files(__package__).joinpath("resources/en", name).read_bytes()
