"""The base class of all games, and what a game is made of: roles, metrics, resources.

A game is a generator of moves (`playpen.moves`).  It does no input or output and owns no model,
so an episode is a pure function of (game, instance, replies).
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol, cast

import msgspec

from playpen.conversation import Conversation
from playpen.episode import Episode
from playpen.instance import Instance
from playpen.moves import Play
from playpen.prompts import PromptError, fill, read_prompt, read_resource


class Role(msgspec.Struct, frozen=True):
    """A seat that a player fills.  `summary` is one line for people."""

    name: str
    summary: str = ""


class Metrics(msgspec.Struct):
    """Further numbers of a finished episode, computed from its record.

    `episode` may hold the names ``Aborted``, ``Success``, ``Lose``, ``Main Score``: they then
    replace the flags that are exported.  `rounds` maps a round's key to its numbers.
    """

    episode: dict[str, Any] = {}
    rounds: dict[str, dict[str, Any]] = {}


class Program(Protocol):
    """A player as a function: it reads its own role's conversation and returns a reply."""

    def __call__(self, conversation: Conversation) -> str:
        """Return the reply to the last message of `conversation`."""
        ...


class Generator(Protocol):
    """What makes the instances of a game: usually a module with these two functions."""

    def generate(
        self, split: str, *, seed: int, level: str | None, n: int | None
    ) -> dict[str, Any]:
        """Make instances; see `Game.generate`."""
        ...

    def levels(self) -> tuple[str, ...]:
        """Names of the levels; see `Game.levels`."""
        ...


class Game:
    """Base class of all games.

    A subclass sets `name` and `roles` and writes `play`.  A game of a pack lives in a package of
    its own, with `schema.json`, `prompts/<language>/*.md`, `generate.py` and `oracle.py` beside
    `game.py`.  It names the latter two in `generator` and `oracles`, or overrides `generate`,
    `levels` and `oracle`.
    """

    name: ClassVar[str]
    roles: ClassVar[tuple[Role, ...]]
    rules: ClassVar[str] = "1.0"
    """Version of the rules; recorded in every run."""
    generator: ClassVar[str | None] = None
    """Import path of the `Generator`: ``"package.module"``, or ``"package.module:name"`` for an
    object in a module.  It is imported when `generate` or `levels` is called."""
    oracles: ClassVar[Mapping[str, str]] = {}
    """Role to the import path of its `Program`, ``"package.module:function"``.  It is imported
    when `oracle` is called."""
    levels_stand_alone: ClassVar[bool] = False
    """Whether `generate` makes a level alone exactly as it makes it among all.  Then the ready
    instances of one level are made without those of the others."""
    score_range: ClassVar[tuple[float, float]] = (0, 100)
    """The smallest and the largest main score."""
    oracle_wins: ClassVar[float] = 1.0
    """The share of episodes that oracles win with each other, for the conformance kit."""
    shared_fields: ClassVar[frozenset[str]] = frozenset()
    """Fields of an instance that more than one role is told, for the conformance kit."""
    unstable_scores: ClassVar[frozenset[str]] = frozenset()
    """Names of scores that versions of clemcore count differently: a replay leaves them out."""
    max_replies: ClassVar[int] = 500
    """A game that asks more often than this is ended with an abort (``reply_limit``)."""

    def play(self, instance: Instance) -> Play:
        """The rules as a generator: yield moves, return the outcome."""
        raise NotImplementedError(f"{type(self).__name__} must define play(instance)")

    def metrics(self, episode: Episode) -> Metrics:
        """Further numbers of a finished episode.  Pure: the record is all it reads."""
        return Metrics()

    def fingerprint(self, instance: Instance) -> str:
        """What makes two instances the same puzzle: the secret, not its wording.

        The default is the content hash.  Splits and the contamination guard compare fingerprints;
        variants of one family should share them.
        """
        return instance.hash

    def generate(
        self, split: str, *, seed: int = 0, level: str | None = None, n: int | None = None
    ) -> dict[str, Any]:
        """Make instances in the clembench form ``{"experiments": [...]}``.

        The default asks the `generator`.

        Args:
            split: only puzzles that belong to this split are made (see `split_of`).
            seed: the same arguments always give the same instances.
            level: name of one experiment (difficulty level); all regular ones if `None`.
            n: instances per experiment; the game's own number if `None`.

        Raises:
            NotImplementedError: there is no generator.
            InstanceError: unknown split or level, or there are fewer than `n` instances.
        """
        if self.generator is None:
            raise NotImplementedError(f"the game {self.name!r} has no instance generator")
        generator: Generator = _imported(self.generator)
        return generator.generate(split, seed=seed, level=level, n=n)

    def levels(self) -> tuple[str, ...]:
        """Names of the experiments that `generate` can make, the regular ones first.

        The default asks the `generator`; without one there are none.
        """
        if self.generator is None:
            return ()
        generator: Generator = _imported(self.generator)
        return generator.levels()

    def oracle(self, role: str) -> Program:
        """A program that plays `role` perfectly, or decently where that cannot be computed.

        The default takes it from `oracles`.

        Raises:
            LookupError: there is none for the role.
        """
        if role not in self.oracles:
            raise LookupError(f"the game {self.name!r} has no oracle for the role {role!r}")
        program: Program = _imported(self.oracles[role])
        return program

    # -- resources of the game's package ------------------------------------------------------

    @classmethod
    def package(cls) -> str:
        """Import name of the package that holds the game's prompts and schema."""
        return cls.__module__.rpartition(".")[0] or cls.__module__

    @classmethod
    def schema(cls) -> dict[str, Any] | None:
        """JSON Schema with the definitions ``experiment`` and ``instance``; `None` if none."""
        text = read_resource(cls.package(), "schema.json")
        return None if text is None else cast("dict[str, Any]", msgspec.json.decode(text))

    def prompt(
        self, name: str, instance: Instance, given: str | None = None, /, **values: object
    ) -> str:
        """A prompt with its ``$NAME$`` placeholders filled.

        Args:
            name: file name in ``prompts/<language>/`` without its ending.
            instance: gives the language (its ``lang``, English by default).
            given: the text that the instance brings; it replaces the file.
            values: the values of the placeholders.

        Raises:
            PromptError: no such file, or one of our own prompts has an unfilled placeholder.
        """
        if given is not None:
            return fill(given, values)
        text, names = read_prompt(self.package(), instance.language, name)
        if missing := names - values.keys():
            raise PromptError(
                f"prompt {name!r} of {self.name!r} has no value for {', '.join(sorted(missing))}"
            )
        return fill(text, values)

    def recorded_draws(self, events: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
        """What the chance moves gave in a clemcore recording, in order.

        Args:
            events: the recorded events of the episode, each with ``type`` and ``content``.
        """
        return []

    def complete_import(self, document: dict[str, Any], folder: Path) -> dict[str, Any]:
        """Add to an imported instances file what clembench keeps outside of it.

        Args:
            document: the file's content, ``{"experiments": [...]}``; may be changed.
            folder: the game's folder in the checkout (it holds ``in`` and ``resources``).
        """
        return document

    @classmethod
    def role_names(cls) -> tuple[str, ...]:
        """The names of the roles, in order."""
        return tuple(role.name for role in cls.roles)


def _imported(path: str) -> Any:
    """The module of an import path, or the object that is named in it after a colon.

    Raises:
        ImportError: there is no such module.
        AttributeError: the module has no such object.
    """
    module_name, _, name = path.partition(":")
    module = importlib.import_module(module_name)
    return getattr(module, name) if name else module
