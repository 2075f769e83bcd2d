"""What is played next in online training: the curriculum over games, levels and instances.

Every game gets the same number of groups.  Within a game a level is chosen, and within a level the
instances come in a shuffled order that starts anew, with another shuffle or with new instances,
when all have been played.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, NamedTuple

from playpen.conversation import derive_seed
from playpen.game import Game
from playpen.instance import Instance
from playpen.training import ConfigError, TrainingRun

_PACE = 0.1
"""How fast the estimate of a level's success follows what is played."""


class Situation(NamedTuple):
    """What the episodes of a group have in common; `number` is that of the group in a training."""

    number: int
    game: Game
    instance: Instance


class Curriculum:
    """The situations of a training one after the other, without end; the same for the same seed.

    Args:
        run: gives games, instances, curriculum and seed.
        total: how many groups the whole training plays, for the curriculum ``levels``.
    """

    name = "situations"
    """The key under which checkpoints keep its state."""

    def __init__(self, run: TrainingRun, total: int) -> None:
        self._run = run
        self._games = run.games()
        self._table = run.config.games
        self._seed = run.config.rollout.seed
        self._total = max(1, total)
        self._number = 0
        self._taken: dict[str, int] = {}
        self._success: dict[str, float] = {}
        self._renewals: dict[int, dict[str, dict[str, list[Instance]]]] = {}
        for name, levels in self._instances(0).items():
            if not any(levels.values()):
                raise ConfigError(f"there are no instances of {name!r} to train on")

    def state(self) -> dict[str, Any]:
        """How far each level was played, and how well."""
        taken, success = dict(self._taken), dict(self._success)
        return {"number": self._number, "taken": taken, "success": success}

    def restore(self, state: dict[str, Any]) -> None:
        """Take up what was kept."""
        self._number = state["number"]
        self._taken = dict(state["taken"])
        self._success = dict(state["success"])

    def take(self, count: int) -> list[Situation]:
        """The situations of the next groups."""
        return [self._next() for _ in range(count)]

    def learn(self, situation: Situation, success: float) -> None:
        """Take note of the share of a group's episodes that were won."""
        key = f"{situation.game.name}/{situation.instance.experiment.name}"
        known = self._success.get(key, 0.5)
        self._success[key] = known + _PACE * (success - known)

    def _next(self) -> Situation:
        number = self._number
        self._number += 1
        names = sorted(self._games)
        name = names[number % len(names)]
        levels = self._instances(0)[name]
        weights = self._weights(name, levels, number)
        rng = random.Random(derive_seed("level", self._seed, number))
        [level] = rng.choices(list(weights), list(weights.values()))
        return Situation(number, self._games[name], self._instance(name, level))

    def _weights(
        self, name: str, instances: Mapping[str, list[Instance]], number: int
    ) -> dict[str, float]:
        """How likely each level of a game is for the group of a number."""
        levels = [level for level, members in instances.items() if members]
        if self._table.curriculum == "levels":
            # One level more is let in as training goes on.
            reached = 1 + number * len(levels) // self._total
            levels = levels[:reached]
        if self._table.curriculum == "success":
            rates = [self._success.get(f"{name}/{level}", 0.5) for level in levels]
            # The variance of winning, which is largest where half is won; never quite 0.
            return {
                level: rate * (1 - rate) + 0.02 for level, rate in zip(levels, rates, strict=True)
            }
        return {level: len(instances[level]) for level in levels}

    def _instance(self, name: str, level: str) -> Instance:
        """The next instance of a level; in each pass over it they are shuffled anew."""
        key = f"{name}/{level}"
        taken = self._taken.get(key, 0)
        self._taken[key] = taken + 1
        size = len(self._instances(0)[name][level])
        passed = taken // size
        members = self._instances(passed if self._table.fresh else 0)[name].get(level)
        if not members:  # a generator with finite material may give none of a level the next time
            members = self._instances(0)[name][level]
        order = list(range(len(members)))
        rng = random.Random(derive_seed("order", self._seed, key, passed))
        rng.shuffle(order)
        return members[order[taken % size % len(members)]]

    def _instances(self, renewal: int) -> dict[str, dict[str, list[Instance]]]:
        """Game to level to instances, made when they are needed; only the newest ones are kept."""
        renewed = self._renewals.get(renewal)
        if renewed is None:
            renewed = {}
            for name, instances in self._run.instances(renewal=renewal).items():
                levels = renewed.setdefault(name, {})
                for instance in instances:
                    levels.setdefault(instance.experiment.name, []).append(instance)
            for old in [number for number in self._renewals if 0 < number < renewal]:
                del self._renewals[old]
            self._renewals[renewal] = renewed
        return renewed
