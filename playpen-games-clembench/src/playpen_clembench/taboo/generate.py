"""Instances of taboo: cards in three bands of word frequency, and the `mini` world."""

from __future__ import annotations

import itertools
import random
from typing import Any

from playpen.instance import InstanceError, split_of
from playpen_clembench.levels import chosen_levels
from playpen_clembench.taboo.cards import Card, cards, mini_world
from playpen_clembench.taboo.fingerprint import fingerprint
from playpen_clembench.taboo.words import stem

MAX_TURNS = 3
MINI = "mini"
MINI_FORBIDDEN = 2
LEVELS = ("high_en", "medium_en", "low_en", MINI)
READY_LEVELS = LEVELS[:3]


def levels() -> tuple[str, ...]:
    """Three bands of word frequency, and the closed world of the demo."""
    return LEVELS


def generate(split: str, *, seed: int, level: str | None, n: int | None) -> dict[str, Any]:
    """See `playpen.Game.generate`.

    Cards are split by their secret word alone, so that no word of the test split was seen in
    training, not even with other forbidden words.  In `mini` the words are few, and what is unseen
    is the combination of word and forbidden words.

    Raises:
        InstanceError: unknown split or level, or the level has fewer than `n` cards.
    """
    names = chosen_levels("taboo", READY_LEVELS if level is None else LEVELS, split, level)
    return {
        "experiments": [
            _mini(split, seed, n) if name == MINI else _band(name, split, seed, n) for name in names
        ]
    }


def _band(level: str, split: str, seed: int, n: int | None) -> dict[str, Any]:
    band = cards()[level.partition("_")[0]]
    chosen = _pick([card for card in band if split_of(card.target) == split], level, split, seed, n)
    return {
        "name": level,
        "max_turns": MAX_TURNS,
        "game_instances": [_instance(number, card) for number, card in enumerate(chosen)],
    }


def _instance(number: int, card: Card) -> dict[str, Any]:
    return {
        "game_id": number,
        "target_word": card.target,
        "related_word": list(card.related),
        "target_word_stem": stem(card.target),
        "related_word_stem": [stem(word) for word in card.related],
    }


def _mini(split: str, seed: int, n: int | None) -> dict[str, Any]:
    """Terse prompts and a vocabulary small enough for a model of a few hundred thousand weights."""
    world = mini_world()
    puzzles = [
        Card(word, forbidden, "")
        for word in world.words
        for forbidden in itertools.combinations(world.clues, MINI_FORBIDDEN)
        if split_of(fingerprint(word, forbidden)) == split
    ]
    chosen = _pick(puzzles, MINI, split, seed, n)
    return {
        "name": MINI,
        "max_turns": MAX_TURNS,
        "describer_initial_prompt": "describe $TARGET_WORD$ avoid\n$REL_WORD$",
        "guesser_initial_prompt": "guess",
        "game_instances": [
            {"game_id": number, "target_word": card.target, "related_word": list(card.related)}
            for number, card in enumerate(chosen)
        ],
    }


def _pick(material: list[Card], level: str, split: str, seed: int, n: int | None) -> list[Card]:
    if n is not None and n > len(material):
        raise InstanceError(
            f"taboo has {len(material)} cards of the level {level!r} in the {split} split, not {n}"
        )
    rng = random.Random(f"{seed}/{level}/{split}")
    return rng.sample(material, len(material) if n is None else n)
