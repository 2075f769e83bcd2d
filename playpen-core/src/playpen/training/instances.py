"""Which instances a training plays: made once, and none of them held out."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

from playpen.conversation import derive_seed
from playpen.game import Game
from playpen.instance import Instance
from playpen.instance_sets import parse_instances, read_instances, ready_instances
from playpen.plugins import get_game
from playpen.training.config import ConfigError, TrainConfig
from playpen.training.contamination import HeldOut

InstancesByGame = dict[str, list[Instance]]


class TrainingInstances:
    """The instances of a configuration, per game.

    What the configuration names is made when it is first asked for, and then kept.
    """

    def __init__(self, config: TrainConfig) -> None:
        self._table = config.games
        self._validated = config.eval.episodes
        self._kept: InstancesByGame | None = None
        self._kept_validation: InstancesByGame | None = None

    @cached_property
    def held_out(self) -> HeldOut:
        """What must not be trained on.

        Raises:
            ConfigError: a hash list, or ``playpen.toml``, cannot be used.
        """
        return HeldOut.registered(self._table.held_out)

    def games(self) -> dict[str, Game]:
        """The games of the configuration by name."""
        return {name: get_game(name) for name in self._table.names}

    def training(self, renewal: int = 0) -> InstancesByGame:
        """The instances to train on.

        Args:
            renewal: 0 for the configured ones; other numbers give new ones from the generators,
                of the same levels and the same split.

        Raises:
            InstanceError: a file is not valid for its game.
            ConfigError: an instance is held out from training.
        """
        if renewal:
            return self._make(renewal)
        if self._kept is None:
            self._kept = self._make(0)
        return _copied(self._kept)

    def validation(self) -> InstancesByGame:
        """The instances that ``[eval]`` measures on: of the validation split.

        They are of the levels that are trained on, spread evenly over them.

        Raises:
            ConfigError: a game has none.
        """
        if self._kept_validation is None:
            self._kept_validation = self._make_validation()
        return _copied(self._kept_validation)

    def _make(self, renewal: int) -> InstancesByGame:
        table = self._table
        games = self.games()
        made: InstancesByGame = {}
        for name, game in games.items():
            if name in table.files:
                made[name] = read_instances(table.files[name], game)
                self.held_out.refuse(
                    made[name],
                    games,
                    f"games.files: {table.files[name]}",
                    tests=True,
                    remedy="take them out of the file, or the test means nothing",
                )
                continue
            if table.levels is None and table.per_level is None and not renewal:
                made[name] = ready_instances(game, table.split)
            else:
                seed = derive_seed("renewal", table.seed, renewal) if renewal else table.seed
                made[name] = self._generated(game, table.split, seed, table.per_level)
            # Of another split than the test split by how they are made.
            if table.leave_out:
                made[name] = [
                    instance
                    for instance in made[name]
                    if not self.held_out.where(game, instance, tests=False)
                ]
            self.held_out.refuse(
                made[name],
                games,
                "games.names",
                tests=False,
                remedy="write games.leave_out = true to train without them",
            )
        return made

    def _make_validation(self) -> InstancesByGame:
        made: InstancesByGame = {}
        for name, game in self.games().items():
            if self._table.levels is None:
                instances = ready_instances(game, "validation")
            else:
                instances = self._generated(game, "validation", self._table.seed, None)
            if not instances:
                raise ConfigError(f"eval: {name!r} has no validation instances")
            made[name] = _spread(instances, self._validated)
        return made

    def _generated(self, game: Game, split: str, seed: int, count: int | None) -> list[Instance]:
        wanted = self._table.levels
        known = game.levels()
        levels = known if wanted is None else [level for level in wanted if level in known]
        return [
            instance
            for level in levels
            for instance in parse_instances(
                game.generate(split, seed=seed, level=level, n=count),
                game,
                source=f"{game.name} ({level})",
                split=split,
            )
        ]


def _copied(made: Mapping[str, list[Instance]]) -> InstancesByGame:
    """The instances in lists of their own, which the caller may change."""
    return {name: list(instances) for name, instances in made.items()}


def _spread(instances: list[Instance], wanted: int) -> list[Instance]:
    """So many of the instances: as many of each level, if it has them, from all over it."""
    levels: dict[str, list[Instance]] = {}
    for instance in instances:
        levels.setdefault(instance.experiment.name, []).append(instance)
    chosen: dict[str, list[Instance]] = {}
    left = wanted
    by_size = sorted(levels.items(), key=lambda item: len(item[1]))
    for done, (level, members) in enumerate(by_size):
        count = min(len(members), left // (len(levels) - done))
        chosen[level] = [members[place * len(members) // count] for place in range(count)]
        left -= count
    return [instance for level in levels for instance in chosen[level]]
