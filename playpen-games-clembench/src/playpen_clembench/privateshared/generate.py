"""Instances of private and shared (docs/rules/privateshared.md, "Our own part")."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from functools import cache
from typing import Any

import msgspec

from playpen.conversation import derive_seed
from playpen.instance import split_of
from playpen_clembench.languages import material_file
from playpen_clembench.levels import chosen_levels, first
from playpen_clembench.mini import MINI, SIZES
from playpen_clembench.privateshared import mini
from playpen_clembench.privateshared.fingerprint import fingerprint
from playpen_clembench.privateshared.texts import scene_of

LANGUAGE = "en"
NUMBERS = "letter-number"
LEVELS = ("travel-booking", "job-interview", "restaurant", "things-places", NUMBERS)
"""The levels of the ready splits."""
ALL_LEVELS = (*LEVELS, MINI)
READY = {"train": 60, "validation": 10, "test": 10}
"""Instances per level in the ready splits; clembench has 10."""


def levels() -> tuple[str, ...]:
    """The domains, as in clembench, with 5, 10 or 15 slots; and `mini` with 4."""
    return ALL_LEVELS


def generate(split: str, *, seed: int, level: str | None, n: int | None) -> dict[str, Any]:
    """Make the instances of a split.

    Args:
        split: only slots and values that belong to this split are used.
        seed: of the values, the order of the questions, and their wordings.
        level: one of `ALL_LEVELS`; all of `LEVELS` if `None`.
        n: instances per level; if `None`, `READY`, and for the level `mini` `SIZES`.

    Raises:
        InstanceError: unknown split or level, or the level has fewer than `n` instances.
    """
    names = chosen_levels("privateshared", LEVELS if level is None else ALL_LEVELS, split, level)
    wanted = (SIZES if level == MINI else READY)[split] if n is None else n
    experiments = []
    for name in names:
        rng = random.Random(derive_seed("privateshared", seed, name, split))
        shortage = f"privateshared: level {name!r} has {{}} instances in the split {split!r}"
        chosen = first(wanted, _assignments(name, split, rng), shortage, ample=NUMBERS)
        items = [_instance(name, number, slots, rng) for number, slots in enumerate(chosen)]
        parameters = {"texts": mini.TEXTS} if name == MINI else {}
        experiments.append({"name": name, **parameters, "game_instances": items})
    return {"experiments": experiments}


def _instance(level: str, number: int, slots: dict[str, str], rng: random.Random) -> dict[str, Any]:
    if level == MINI:
        return mini.instance(number, slots, rng)
    scene = scene_of(LANGUAGE, level)
    return {
        "game_id": number,
        "slots": slots,
        "request_order": rng.sample(list(slots), len(slots)),
        "requests": {slot: rng.randrange(len(scene.requests[slot])) for slot in slots},
        "probes": {
            str(round_): {slot: rng.randrange(len(scene.probing_questions[slot])) for slot in slots}
            for round_ in range(len(slots) + 1)
        },
        "lang": LANGUAGE,
    }


def _assignments(level: str, split: str, rng: random.Random) -> Iterator[dict[str, str]]:
    """Different values for the slots of a level, in random order, that belong to a split."""
    slots = mini.SLOTS if level == MINI else list(scene_of(LANGUAGE, level).requests)
    seen: set[str] = set()
    for drawn in _values(level, len(slots), rng):
        assignment = dict(zip(slots, drawn, strict=True))
        mark = fingerprint(assignment)
        if mark not in seen and split_of(mark) == split:
            seen.add(mark)
            yield assignment


def _values(level: str, slots: int, rng: random.Random) -> Iterator[tuple[str, ...] | list[str]]:
    """Values for all slots; endless unless each slot has values of its own."""
    if level == NUMBERS:
        while True:
            yield [str(number) for number in rng.sample(range(1000, 10_000), slots)]
    pool = mini.pool() if level == MINI else pools()[level]
    if isinstance(pool, list):
        while True:
            yield rng.sample(pool, slots)
    combinations = list(itertools.product(*pool.values()))
    rng.shuffle(combinations)
    yield from combinations


@cache
def pools() -> dict[str, dict[str, list[str]] | list[str]]:
    """Level to the values of each slot, in the slots' order, or to one list for all slots."""
    text = material_file(__package__, "values.json", LANGUAGE)
    return msgspec.json.decode(text, type=dict[str, dict[str, list[str]] | list[str]])
