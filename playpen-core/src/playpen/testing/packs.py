"""Checks without a test file: packs as pytest modules, games as test classes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from types import ModuleType

import msgspec
import pytest

from playpen.player import did_you_mean
from playpen.plugins import PluginError, get_game, registry
from playpen.testing.conformance import GameConformance


class Pack(msgspec.Struct, frozen=True):
    """What a name on the command line stands for: a distribution with its games, or one game."""

    name: str
    games: tuple[str, ...]


def find_pack(name: str) -> Pack:
    """The games of a distribution, or the game, that has a name.

    Raises:
        pytest.UsageError: there is neither; says what is near, and which plug-ins are broken.
    """
    plugins = registry()
    distributions: dict[str, list[str]] = {}
    for game, claims in plugins.games.items():
        for _, distribution in claims:
            distributions.setdefault(distribution, []).append(game)
    for distribution, games in distributions.items():
        if _plain(distribution) == _plain(name):
            return Pack(distribution, tuple(games))
    if name in plugins.games:
        return Pack(name, (name,))
    known = [*distributions, *plugins.games]
    broken = [f" Note: {broken}" for broken in plugins.broken]
    raise pytest.UsageError(
        f"--playpen-pack {name}: no installed distribution of this name brings games, and there "
        f"is no such game{did_you_mean(name, known)} "
        f"Distributions with games: {', '.join(distributions) or 'none'}.{''.join(broken)}"
    )


def _plain(distribution: str) -> str:
    """A distribution's name as installers compare it."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


class PackModule(pytest.Module):
    """A pack, as if it were a module of tests with a class for each game."""

    pack: Pack

    @classmethod
    def of(cls, session: pytest.Session, pack: Pack) -> PackModule:
        """The module of a pack."""
        path = session.config.rootpath / pack.name
        module: PackModule = cls.from_parent(session, path=path, name=pack.name, nodeid=pack.name)
        module.pack = pack
        return module

    def _getobj(self) -> ModuleType:
        return ModuleType(self.pack.name)

    def collect(self) -> Iterable[pytest.Collector]:
        """One class for each game."""
        return [_GameClass.from_parent(self, name=name) for name in self.pack.games]


class _GameClass(pytest.Class):
    """A game, as if it were a class of tests."""

    def _getobj(self) -> type[GameConformance]:
        try:
            game = get_game(self.name)
        except PluginError as error:
            raise self.CollectError(str(error)) from None
        body = {"game": game, "__module__": GameConformance.__module__}
        return type(self.name, (GameConformance,), body)

    def funcnamefilter(self, name: str) -> bool:
        """The kit's names, whatever the project calls its own tests."""
        return name.startswith("test_")
