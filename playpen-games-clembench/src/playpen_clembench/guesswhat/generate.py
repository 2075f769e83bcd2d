"""Instances of Guess What from the pack's own words (docs/rules/guesswhat.md, "Our own part").

As in clembench the list is not shuffled: words of one subcategory stand together.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

from playpen.conversation import derive_seed
from playpen.instance import split_of
from playpen_clembench.guesswhat import mini, taxonomy
from playpen_clembench.guesswhat.fingerprint import fingerprint
from playpen_clembench.guesswhat.taxonomy import Taxonomy
from playpen_clembench.levels import chosen_levels
from playpen_clembench.mini import MINI, SIZES

MAX_TURNS = 8
READY = {"train": 50, "validation": 10, "test": 10}
"""Instances per level in the ready splits; clembench has 10."""
FRUITLESS = 100
"""Lists in a row without a target of the split after which all words may be used again."""


class Structure(NamedTuple):
    """How many categories, subcategories of each, and words of each of those make a list."""

    categories: int
    subcategories: int
    words: int


_STRUCTURES = {1: Structure(4, 2, 1), 2: Structure(2, 2, 2), 3: Structure(1, 4, 2)}
LEVELS = {
    f"{kind}Level_{number}": structure
    for kind in ("", "Abs_")
    for number, structure in _STRUCTURES.items()
}
"""The levels of the ready splits."""
ALL_LEVELS = (*LEVELS, MINI)


def levels() -> tuple[str, ...]:
    """How closely the words are related, with any words and with abstract ones, and `mini`."""
    return ALL_LEVELS


def generate(split: str, *, seed: int, level: str | None, n: int | None) -> dict[str, Any]:
    """Make the instances of a split.

    Targets belong to the split; the words around them may be targets in another one.  No word
    occurs twice in an experiment before its level is used up; then all words may be used again,
    and only lists are never repeated (there are billions).

    Args:
        split: only words that belong to it are targets.
        seed: of the choice of words.
        level: one of `ALL_LEVELS`; all of `LEVELS` if `None`.
        n: instances per level; if `None`, `READY`, and for the level `mini` `SIZES`.

    Raises:
        InstanceError: unknown split or level.
    """
    names = chosen_levels("guesswhat", LEVELS if level is None else ALL_LEVELS, split, level)
    if level == MINI:
        return {"experiments": [mini.experiment(split, seed, SIZES[split] if n is None else n)]}
    wanted = READY[split] if n is None else n
    return {
        "experiments": [
            {
                "name": name,
                "max_turns": MAX_TURNS,
                "game_instances": [
                    {"game_id": number, "target_word": target, "candidate_list": words}
                    for number, (target, words) in zip(
                        range(wanted), _puzzles(name, split, seed), strict=False
                    )
                ],
            }
            for name in names
        ]
    }


def _puzzles(level: str, split: str, seed: int) -> Iterator[tuple[str, list[str]]]:
    """Endless different puzzles: a target and its list, spelt as the level has it."""
    is_abstract = level.startswith("Abs_")
    words = taxonomy.abstract() if is_abstract else taxonomy.everything()
    rng = random.Random(derive_seed("guesswhat", seed, level, split))
    seen: set[frozenset[str]] = set()
    used: set[str] = set()
    fruitless = 0
    while True:
        candidates = (
            _unused_list(words, LEVELS[level], used, rng) if fruitless < FRUITLESS else None
        )
        if candidates is None:
            used.clear()
            fruitless = 0
            continue
        targets = [word for word in candidates if word in _targets(split)]
        if not targets or frozenset(candidates) in seen:
            fruitless += 1
            continue
        seen.add(frozenset(candidates))
        used.update(candidates)
        fruitless = 0
        target = rng.choice(targets)
        if is_abstract:
            yield target, candidates
        else:
            yield target.capitalize(), [word.capitalize() for word in candidates]


def _unused_list(
    words: Taxonomy, structure: Structure, used: set[str], rng: random.Random
) -> list[str] | None:
    """A list of words that are not used yet; `None` if too few of them are left."""
    left: dict[str, list[list[str]]] = {}
    for category, subcategories in words.items():
        groups = [[word for word in group if word not in used] for group in subcategories.values()]
        groups = [group for group in groups if len(group) >= structure.words]
        if len(groups) >= structure.subcategories:
            left[category] = groups
    if len(left) < structure.categories:
        return None
    return [
        word
        for category in rng.sample(list(left), structure.categories)
        for group in rng.sample(left[category], structure.subcategories)
        for word in rng.sample(group, structure.words)
    ]


@cache
def _targets(split: str) -> frozenset[str]:
    """The words that may be targets in a split."""
    return frozenset(word for word in taxonomy.labels() if split_of(fingerprint(word)) == split)
