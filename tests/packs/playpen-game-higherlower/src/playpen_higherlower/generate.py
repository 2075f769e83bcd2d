"""Makes instances: difficulty levels, and splits that share no puzzle."""

from __future__ import annotations

import random
from typing import Any

from playpen import split_of
from playpen.instance import InstanceError

# What the instances of a level have in common.  The tries are what a binary search needs.
LEVELS = {"easy": {"limit": 20, "tries": 5}, "hard": {"limit": 100, "tries": 7}}


def fingerprint(limit: int, secret: int) -> str:
    """What makes two instances the same puzzle; it alone decides the split."""
    return f"{secret} of {limit}"


def experiment(level: str, split: str, seed: int, n: int | None) -> dict[str, Any]:
    """One level: all its puzzles of a split in random order, or the first `n` of them."""
    limit = LEVELS[level]["limit"]
    secrets = [s for s in range(1, limit + 1) if split_of(fingerprint(limit, s)) == split]
    if n is not None and n > len(secrets):
        raise InstanceError(f"{level!r} has {len(secrets)} secrets in the {split} split, not {n}")
    # A generator of its own, seeded with everything: the same arguments, the same instances.
    random.Random(f"{seed} {split} {level}").shuffle(secrets)
    return {
        "name": level,
        **LEVELS[level],
        "game_instances": [
            {"game_id": number, "secret": secret} for number, secret in enumerate(secrets[:n])
        ],
    }
