"""The contamination guard: nobody is trained on what somebody will be tested on.

A puzzle is known by its fingerprint (its secret, not its wording), so that the same word, map or
question is found again in another file, another level, or another game of the family.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from playpen.fingerprints import mark_of, read_hash_list
from playpen.game import Game
from playpen.instance import Instance, InstanceError
from playpen.instance_sets import ready_instances
from playpen.player import did_you_mean
from playpen.settings import SettingsError, read_settings
from playpen.training.config import ConfigError

TABLE = "held_out"
"""Of ``playpen.toml``: ``[held_out] files = [...]``."""
_SHOWN = 5


class HeldOut:
    """What must not be trained on: the test splits of the games, and what hash lists hold."""

    def __init__(self, files: Iterable[Path] = ()) -> None:
        """Read hash lists.

        Raises:
            ConfigError: a list cannot be used.
        """
        self._listed: dict[str, str] = {}
        self._tests: dict[str, frozenset[str]] = {}
        for file in files:
            try:
                marks = list(read_hash_list(file))
            except InstanceError as error:
                raise ConfigError(str(error)) from None
            for mark in marks:
                for key in (mark.instance, mark.puzzle):
                    self._listed.setdefault(key, f"{mark.game}/{mark.name} of {file}")

    @classmethod
    def registered(cls, files: Sequence[str]) -> HeldOut:
        """The lists of a configuration, and those that ``playpen.toml`` registers.

        Raises:
            ConfigError: a list, or ``playpen.toml``, cannot be used.
        """
        try:
            settings = read_settings()
            table = settings.table(TABLE)
        except SettingsError as error:
            raise ConfigError(str(error)) from None
        # A misspelt name must not switch the guard off.
        for known, names, where in (("files", table, f"[{TABLE}] "), (TABLE, settings.tables, "")):
            for name in names:
                meant = did_you_mean(name, [known])
                if name != known and (where or "?" in meant):
                    raise ConfigError(f"{settings.path}: {where}unknown name {name!r}{meant}")
        wanted: Any = table.get("files", [])
        if not isinstance(wanted, list) or not all(isinstance(name, str) for name in wanted):
            raise ConfigError(f'{settings.path}: [{TABLE}] files = ["FILE", ...] is expected')
        return cls([*(Path(name) for name in files), *(settings.path.parent / n for n in wanted)])

    def where(self, game: Game, instance: Instance, *, tests: bool) -> str | None:
        """In what an instance, or another one of the same puzzle, is held out.

        Args:
            game: of the instance.
            instance: that somebody wants to train on.
            tests: also look into the game's own test split.
        """
        if not (tests or self._listed):
            return None
        mark = mark_of(game, instance)
        source = self._listed.get(mark.instance) or self._listed.get(mark.puzzle)
        if source is None and tests and mark.puzzle in self._test_split(game):
            source = f"the test split of {game.name!r}"
        return source

    def _test_split(self, game: Game) -> frozenset[str]:
        if game.name not in self._tests:
            try:
                instances = ready_instances(game, "test")
            except (InstanceError, NotImplementedError):  # a game without instances of its own
                instances = []
            self._tests[game.name] = frozenset(mark_of(game, i).puzzle for i in instances)
        return self._tests[game.name]

    def refuse(
        self,
        instances: Iterable[Instance],
        games: Mapping[str, Game],
        source: str,
        *,
        tests: bool,
        remedy: str,
    ) -> None:
        """Refuse instances that are held out, naming them.

        Args:
            instances: to train on.
            games: by name.
            source: where the instances come from.
            tests: also look into the games' own test splits.
            remedy: what to do.

        Raises:
            ConfigError: some of them are held out.
        """
        checked = list(instances)
        refused = [
            (instance, where)
            for instance in checked
            if (where := self.where(games[instance.game], instance, tests=tests)) is not None
        ]
        if not refused:
            return
        names = ", ".join(
            f"{i.game}/{i.experiment.name}/{i.id} (as {where})" for i, where in refused[:_SHOWN]
        )
        more = f" and {len(refused) - _SHOWN} more" if len(refused) > _SHOWN else ""
        raise ConfigError(
            f"{source}: {len(refused)} of the {len(checked)} instances are held out from training: "
            f"{names}{more}; {remedy}"
        )
