"""The level `mini`: what somebody wants to see in a zoo, asked for in one word.

Every slot has values of its own, so that an answer takes no more than to know which value is of
which kind.  In each round the game master asks aside for one slot only: an episode is short.
"""

from __future__ import annotations

import random
from functools import cache
from typing import Any

from playpen_clembench.taboo.cards import mini_world

DAYS = "monday tuesday wednesday thursday friday saturday sunday"
SLOTS = ("fur", "feathers", "skin", "day")
TAG = "KEEPER"
TEXTS: dict[str, Any] = {
    "requests": {slot: [slot] for slot in SLOTS},
    "probing_questions": {slot: [slot] for slot in SLOTS},
    "reprompts": {"suffixes": ["", "again", "again", "again", "again"]},
    "words": {
        "ANSWER": "ANSWER: ",
        "ASIDE": "ASIDE: ",
        "ME": "ME: ",
        "PROBE": "ME: {}",
        "YES": "yes",
        "NO": "no",
        "OK": "Ok.",
    },
}
"""What the questioner and the game master say, as an experiment brings it."""


@cache
def pool() -> dict[str, list[str]]:
    """The values of each slot: the animals of taboo by what covers them, and days."""
    animals: dict[str, list[str]] = {slot: [] for slot in SLOTS[:3]}
    for animal, clues in mini_world().words.items():
        animals[next((slot for slot in ("fur", "feathers") if slot in clues), "skin")].append(
            animal
        )
    return {**animals, "day": DAYS.split()}


def instance(number: int, slots: dict[str, str], rng: random.Random) -> dict[str, Any]:
    """An instance with the given values; what is asked when, and aside, is random."""
    facts = "\n".join(f"{slot.upper()}: {value}" for slot, value in slots.items())
    return {
        "game_id": number,
        "tag": TAG,
        "slots": slots,
        "initial_prompt": f"WHAT: zoo\n{facts}",
        "request_order": rng.sample(SLOTS, len(SLOTS)),
        "requests": dict.fromkeys(SLOTS, 0),
        "probes": {str(round_): {rng.choice(SLOTS): 0} for round_ in range(len(SLOTS) + 1)},
        "lang": "en",
    }
