"""Fixtures of the core's tests: throw-away distributions and a registry that sees them."""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.core.sample_games import FlakyPlayer

from playpen import plugins
from playpen.plugins import Registry

SAMPLE_PACK = '''
"""Brings the sample games and players of the core's tests."""

from playpen.hookspecs import GameSpec, PlayerSpec, hookimpl


@hookimpl
def playpen_games():
    for name, cls, roles in [
        ("guessing", "GuessingGame", ("guesser",)),
        ("relay", "RelayGame", ("giver", "finder")),
        ("endless", "EndlessGame", ("a", "b")),
        ("buggy", "BuggyGame", ("a", "b")),
    ]:
        yield GameSpec(name=name, path="MODULE:" + cls, summary=name, roles=roles)


@hookimpl
def playpen_players():
    yield PlayerSpec(scheme="delayed", path="MODULE:DelayedPlayer", summary="late")
    yield PlayerSpec(scheme="flaky", path="MODULE:FlakyPlayer", summary="fails")

'''


class PackFolder:
    """A folder with throw-away distributions, as an installer would leave them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)

    def add(
        self, distribution: str, source: str, *, module: str | None = None, version: str = "1.0"
    ) -> None:
        """Add a distribution with one plug-in: a module with the given source text."""
        module = module or distribution.replace("-", "_")
        (self.path / f"{module}.py").write_text(source, encoding="utf-8")
        info = self.path / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n", encoding="utf-8"
        )
        (info / "entry_points.txt").write_text(
            f"[playpen]\n{distribution} = {module}\n", encoding="utf-8"
        )

    def add_samples(self, module: str = "tests.core.sample_games") -> None:
        """Add the pack of the sample games; `module` is the name under which it finds them."""
        self.add("sample-pack", SAMPLE_PACK.replace("MODULE", module))

    def registry(self) -> Registry:
        """What the distributions of this folder bring, and nothing else."""
        importlib.invalidate_caches()
        found = importlib.metadata.distributions(path=[str(self.path)])
        return Registry([entry for dist in found for entry in dist.entry_points])


def _forget_plugins() -> None:
    plugins.registry.cache_clear()
    plugins.get_game.cache_clear()


@pytest.fixture
def packs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PackFolder]:
    """An empty folder for distributions, on the import path while the test runs."""
    folder = PackFolder(tmp_path / "packs")
    monkeypatch.syspath_prepend(folder.path)
    before = set(sys.modules)
    _forget_plugins()
    yield folder
    _forget_plugins()
    for name in set(sys.modules) - before:
        origin = getattr(sys.modules[name], "__file__", None) or ""
        if origin.startswith(str(folder.path)):
            del sys.modules[name]


@pytest.fixture
def installed(packs: PackFolder) -> PackFolder:
    """The sample pack, installed: `get_game` and `make_player` find what it brings."""
    packs.add_samples()
    FlakyPlayer.failed.clear()
    return packs


@pytest.fixture
def install(packs: PackFolder) -> Callable[..., Registry]:
    """Install distributions, given as name to source, and get what they bring."""

    def make(**sources: str) -> Registry:
        for name, source in sources.items():
            packs.add(name.replace("_", "-"), source)
        return packs.registry()

    return make
