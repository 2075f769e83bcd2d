"""What a generator is asked for: a split, levels, and a number of instances."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable
from typing import TypeVar

from playpen.instance import SPLITS, InstanceError
from playpen.player import did_you_mean

Item = TypeVar("Item")


def chosen_levels(game: str, levels: Collection[str], split: str, level: str | None) -> list[str]:
    """The levels of which a generator is to make instances.

    Args:
        game: the game's name.
        levels: names of its levels.
        split: what the instances are for.
        level: the only one that is wanted; all of them if `None`.

    Raises:
        InstanceError: unknown split or level.
    """
    if split not in SPLITS:
        raise InstanceError(f"unknown split {split!r}; choose one of {', '.join(SPLITS)}")
    if level is None:
        return list(levels)
    if level not in levels:
        raise InstanceError(
            f"{game} has no level {level!r}{did_you_mean(level, levels)} "
            f"You can choose one of {', '.join(levels)}."
        )
    return [level]


def first(wanted: int, items: Iterable[Item], shortage: str, *, ample: str = "") -> list[Item]:
    """The first items, as many as are wanted.

    Args:
        wanted: how many.
        items: the material; it may be endless.
        shortage: what to say if it ends too early, with ``{}`` for the number of items.
        ample: name of a level that has more, to be recommended.

    Raises:
        InstanceError: there are fewer.
    """
    chosen = list(itertools.islice(items, wanted))
    if len(chosen) < wanted:
        advice = f"ask for fewer, or for {ample!r}" if ample else "ask for fewer"
        raise InstanceError(f"{shortage.replace('{}', str(len(chosen)))}, not {wanted}; {advice}")
    return chosen
