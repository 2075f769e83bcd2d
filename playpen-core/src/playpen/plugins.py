"""Discovery of plug-ins and typed look-ups of what they bring."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.resources
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, TypeVar

import msgspec
import pluggy

from playpen import hookspecs
from playpen.errors import PlaypenError
from playpen.game import Game
from playpen.hookspecs import (
    ExecutorSpec,
    GameSpec,
    PlayerSpec,
    RecipeSpec,
    RewardSpec,
    TrainerSpec,
)
from playpen.player import (
    Player,
    SpecString,
    did_you_mean,
    load_aliases,
    parse_options,
    parse_spec,
)

GROUP = "playpen"
CORE = "playpen-core"
RECIPE = "recipe:"
"""What the name of a configuration begins with that a distribution ships."""

SpecT = TypeVar("SpecT", GameSpec, PlayerSpec, ExecutorSpec, TrainerSpec, RewardSpec, RecipeSpec)
PlacedT = TypeVar("PlacedT", PlayerSpec, ExecutorSpec)
MadeT = TypeVar("MadeT")


class PluginError(PlaypenError, LookupError):
    """A name is unknown or claimed twice, or what it stands for cannot be imported."""


class BrokenPack(msgspec.Struct, frozen=True):
    """A plug-in that failed to import: entry point, distribution and cause."""

    name: str
    distribution: str
    cause: str

    def __str__(self) -> str:
        return f"the plug-in {self.name!r} of {self.distribution} does not import: {self.cause}"


class Pack(msgspec.Struct, frozen=True):
    """A plug-in that was loaded, and the distribution and version that brought it."""

    name: str
    distribution: str
    version: str


class Registry:
    """Everything that the installed plug-ins bring."""

    def __init__(self, entry_points: Iterable[importlib.metadata.EntryPoint] | None = None) -> None:
        """Load the plug-ins.

        Args:
            entry_points: what to load instead of the installed ones (for tests).
        """
        self.manager = pluggy.PluginManager(GROUP)
        self.manager.add_hookspecs(hookspecs)
        self.packs: list[Pack] = []
        self.broken: list[BrokenPack] = []
        if entry_points is None:
            entry_points = importlib.metadata.entry_points(group=GROUP)
        for entry in sorted(entry_points, key=lambda e: e.name):
            distribution = entry.dist.name if entry.dist else entry.value
            try:
                plugin = entry.load()
                if self.manager.is_registered(plugin):
                    continue
                self.manager.register(plugin, name=f"{distribution}:{entry.name}")
            except BaseException as error:  # a pack may fail in any way; the others must still load
                if isinstance(error, KeyboardInterrupt):
                    raise
                cause = f"{type(error).__name__}: {error}"
                self.broken.append(BrokenPack(entry.name, distribution, cause))
            else:
                version = entry.dist.version if entry.dist else ""
                self.packs.append(Pack(entry.name, distribution, version))
        try:
            self.manager.check_pending()
        except pluggy.PluginValidationError as error:  # a misspelt hook would never be called
            owner = str(self.manager.get_name(error.plugin)).partition(":")[0]
            self.broken.append(BrokenPack("playpen hooks", owner, str(error)))
        self.games = self._collect("playpen_games", GameSpec, lambda s: s.name)
        self.players = self._collect("playpen_players", PlayerSpec, lambda s: s.scheme)
        self.executors = self._collect("playpen_executors", ExecutorSpec, lambda s: s.scheme)
        self.trainers = self._collect("playpen_trainers", TrainerSpec, lambda s: s.name)
        self.rewards = self._collect("playpen_rewards", RewardSpec, lambda s: s.name)
        self.recipes = self._collect("playpen_recipes", RecipeSpec, lambda s: s.name)

    def _collect(
        self, hook: str, kind: type[SpecT], name_of: Callable[[SpecT], str]
    ) -> dict[str, list[tuple[SpecT, str]]]:
        """Name to the specs that claim it, each with its distribution."""
        claims: dict[str, list[tuple[SpecT, str]]] = {}
        for implementation in getattr(self.manager.hook, hook).get_hookimpls():
            distribution = implementation.plugin_name.partition(":")[0]
            try:
                specs = list(implementation.function())
                for spec in specs:
                    if not isinstance(spec, kind):
                        raise TypeError(f"{hook}() must return {kind.__name__}, not {spec!r}")
                    msgspec.convert(msgspec.to_builtins(spec), kind)  # raises for a wrong field
            except BaseException as error:  # a broken hook is reported like a broken import
                if isinstance(error, KeyboardInterrupt):
                    raise
                cause = f"{type(error).__name__}: {error}"
                self.broken.append(BrokenPack(hook, distribution, cause))
                continue
            for spec in specs:
                claims.setdefault(name_of(spec), []).append((spec, distribution))
        return dict(sorted(claims.items()))

    def conflicts(self) -> list[str]:
        """One line for each name that two plug-ins claim."""
        kinds: list[tuple[str, dict[str, list[tuple[Any, str]]]]] = [
            ("game", self.games),
            ("player", self.players),
            ("executor", self.executors),
            ("trainer", self.trainers),
            ("reward", self.rewards),
            ("recipe", self.recipes),
        ]
        return [
            _claimed_twice(kind, name, claims)
            for kind, table in kinds
            for name, claims in table.items()
            if len(claims) > 1
        ]

    def find(self, kind: str, table: dict[str, list[tuple[SpecT, str]]], name: str) -> SpecT:
        """The one spec of a name.

        Raises:
            PluginError: nothing or more than one thing has the name; says what to do.
        """
        claims = table.get(name, [])
        if len(claims) == 1:
            return claims[0][0]
        if claims:
            raise PluginError(_claimed_twice(kind, name, claims))
        lines = [f"there is no {kind} {name!r}{did_you_mean(name, table)}"]
        if not table:
            lines.append(f"No {kind}s are installed; see `playpen list packs`.")
        lines += [f"Note: {broken}" for broken in self.broken]
        raise PluginError(" ".join(lines))

    def suites(self) -> dict[str, list[str]]:
        """Named suites with their games, as the games' specs declare them."""
        suites: dict[str, list[str]] = {}
        for name, claims in self.games.items():
            for suite in claims[0][0].suites:
                suites.setdefault(suite, []).append(name)
        return dict(sorted(suites.items()))

    def expand(self, names: Iterable[str]) -> list[str]:
        """Names of games, with ``suite:NAME`` replaced by the suite's games; each name once.

        Raises:
            PluginError: there is no such suite (with a suggestion).
        """
        suites = self.suites()
        games: dict[str, None] = {}
        for name in names:
            if not name.startswith("suite:"):
                games[name] = None
                continue
            suite = name.removeprefix("suite:")
            if suite not in suites:
                known = ", ".join(suites) or "none"
                raise PluginError(
                    f"there is no suite {suite!r}{did_you_mean(suite, suites)} Suites: {known}."
                )
            games.update(dict.fromkeys(suites[suite]))
        return list(games)

    def distribution_of(self, game: str) -> str:
        """The distribution that brings a game ("" if the game is not registered)."""
        claims = self.games.get(game, [])
        return claims[0][1] if claims else ""


def _claimed_twice(kind: str, name: str, claims: list[tuple[Any, str]]) -> str:
    owners = " and ".join(sorted(owner for _, owner in claims))
    return (
        f"the {kind} {name!r} is claimed twice, by {owners}. "
        "Uninstall one of them, or ask its author to rename it."
    )


@cache
def registry() -> Registry:
    """The installed plug-ins, loaded once."""
    return Registry()


def load(path: str, *, what: str, extra: str | None = None) -> Any:
    """Import what a dotted path ``package.module:Name`` stands for.

    Raises:
        PluginError: it does not import; names `what`, the cause and the extra to install.
    """
    module_name, _, attribute = path.partition(":")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # a module may fail in any way while it is imported
        missing = isinstance(error, ImportError)
        cause = str(error) if missing else f"{type(error).__name__}: {error}"
        remedy = f' Install it with: pip install "{extra}"' if extra and missing else ""
        raise PluginError(f"{what} cannot be imported ({cause}).{remedy}") from error
    try:
        return getattr(module, attribute)
    except AttributeError:
        raise PluginError(f"{what}: the module {module_name} has no {attribute!r}") from None


@cache
def get_game(name: str) -> Game:
    """The game of a name.

    Raises:
        PluginError: unknown name (with a suggestion), claimed twice, or not importable.
    """
    plugins = registry()
    spec = plugins.find("game", plugins.games, name)
    cls = load(spec.path, what=f"the game {name!r} of {plugins.distribution_of(name)}")
    if not (isinstance(cls, type) and issubclass(cls, Game)):
        raise PluginError(f"{spec.path} is not a subclass of playpen.Game")
    return cls()


def make_player(text: str) -> Player:
    """Make a player from its spec string or alias.

    Raises:
        PluginError: unknown scheme (with a suggestion) or missing extra.
        SpecError: malformed spec, unknown or wrong option.
    """
    spec = resolve_spec(text)
    return make_named("player", registry().players, spec, Player)


def make_named(
    kind: str,
    table: dict[str, list[tuple[PlacedT, str]]],
    spec: SpecString,
    base: type[MadeT],
) -> MadeT:
    """Make what a spec string names, with its target and its typed options.

    Args:
        kind: what it is, in messages.
        table: what the plug-ins bring of the kind.
        spec: which one, and how.
        base: what its class must be a subclass of.

    Raises:
        PluginError: unknown scheme (with a suggestion), missing extra, or not such a class.
        SpecError: unknown or wrong option.
    """
    plugin = registry().find(kind, table, spec.scheme)
    what = f"the {kind} {plugin.scheme}:"
    cls = load(plugin.path, what=what, extra=plugin.extra)
    if not (isinstance(cls, type) and issubclass(cls, base)):
        raise PluginError(
            f"{what} {plugin.path} is not a subclass of {base.__module__}.{base.__name__}"
        )
    make: Any = cls
    made: MadeT = make(spec.target, parse_options(spec, make.Options))
    return made


def read_recipe(name: str) -> str:
    """The text of the configuration file that a recipe names.

    Raises:
        PluginError: unknown name (with a suggestion), claimed twice, or there is no such file.
    """
    plugins = registry()
    spec = plugins.find("recipe", plugins.recipes, name)
    package, _, file = spec.path.partition(":")
    try:
        return importlib.resources.files(package).joinpath(file).read_text(encoding="utf-8")
    except Exception as error:  # a package may fail in any way while it is imported
        raise PluginError(f"the recipe {name!r}: {spec.path} cannot be read ({error})") from None


def resolve_spec(text: str) -> SpecString:
    """Parse a spec string, replacing an alias of the nearest ``playpen.toml`` by what it names.

    Raises:
        SpecError: it is neither a spec nor an alias.
    """
    return parse_spec(text, load_aliases() if ":" not in text else None)
