"""How made-up questions are enumerated, split and chosen, whatever they are about."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from playpen.instance import SPLITS, InstanceError, split_of
from playpen.player import did_you_mean
from playpen_clembench.static.fingerprint import fingerprint

READY = {"train": 100, "validation": 20, "test": 20}
"""Instances per level in the ready splits."""


class Item(NamedTuple):
    """A question and its answer, in the fields of the benchmark's instances."""

    input: str
    target: Any


@dataclass(frozen=True)
class Puzzles:
    """All items that one choice from each axis makes.

    Attributes:
        make: from the choices, in the order of the axes, to the item; `None` if they do not go
            together.
        axes: what there is to choose from.
    """

    make: Callable[..., Item | None]
    axes: Sequence[Sequence[Any]]

    def shuffled(self, rng: random.Random) -> Iterator[Item]:
        """All items in random order; only those that are taken are made."""
        for number in _shuffled(math.prod(map(len, self.axes)), rng):
            choices = []
            for axis in self.axes:
                number, place = divmod(number, len(axis))
                choices.append(axis[place])
            item = self.make(*choices)
            if item is not None:
                yield item


def _shuffled(size: int, rng: random.Random) -> Iterator[int]:
    """The numbers below `size` in random order, of which only the exchanged ones are stored."""
    exchanged: dict[int, int] = {}
    for place in range(size):
        other = rng.randrange(place, size)
        yield exchanged.get(other, other)
        exchanged[other] = exchanged.pop(place, place)


@dataclass(frozen=True)
class MadeUp:
    """The made-up questions of one benchmark.

    Attributes:
        game: its name.
        puzzles: the kinds of questions, by the name of their level.
        settings: fields that every experiment has.
    """

    game: str
    puzzles: Mapping[str, Puzzles]
    settings: Mapping[str, Any]

    def levels(self) -> tuple[str, ...]:
        """The kinds of made-up questions."""
        return tuple(self.puzzles)

    def generate(
        self, split: str, *, seed: int, level: str | None, n: int | None
    ) -> dict[str, Any]:
        """Make the instances of a split; see `playpen.Game.generate`.

        Raises:
            InstanceError: unknown split or level, or fewer items than were asked for.
        """
        if split not in SPLITS:
            raise InstanceError(f"unknown split {split!r}; choose one of {', '.join(SPLITS)}")
        if level is not None and level not in self.puzzles:
            raise InstanceError(
                f"{self.game} has no level {level!r}{did_you_mean(level, self.puzzles)} "
                f"Its levels: {', '.join(self.puzzles)}."
            )
        wanted = READY[split] if n is None else n
        return {
            "experiments": [
                {
                    "name": name,
                    **self.settings,
                    "game_instances": [
                        {"game_id": number, "input": item.input, "target": item.target}
                        for number, item in enumerate(self._chosen(name, split, seed, wanted))
                    ],
                }
                for name in ([level] if level else self.puzzles)
            ]
        }

    def _chosen(self, level: str, split: str, seed: int, wanted: int) -> list[Item]:
        chosen: dict[str, Item] = {}
        rng = random.Random(f"{self.game}/{level}/{split}/{seed}")
        for item in self.puzzles[level].shuffled(rng):
            if len(chosen) == wanted:
                break
            if split_of(fingerprint(self.game, item.input)) == split:
                chosen.setdefault(item.input, item)
        if len(chosen) < wanted:
            raise InstanceError(
                f"{self.game}'s level {level!r} has {len(chosen)} instances in the {split} split, "
                f"not {wanted}"
            )
        return list(chosen.values())
