"""Instances: what an episode is played on, and how it is identified."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec

from playpen.errors import PlaypenError

if TYPE_CHECKING:
    pass

SPLITS = ("train", "validation", "test")
BOOKKEEPING = frozenset({"name", "game_name", "experiment_name", "game_instances"})
"""Keys of an experiment that name it or list its instances: no part of identity or schema."""


class InstanceError(PlaypenError, ValueError):
    """Instances cannot be read or break their game's schema.  The message names the place."""


def content_hash(value: object) -> str:
    """128-bit hexadecimal digest of a JSON value; the order of object keys carries no meaning."""
    return hashlib.sha256(msgspec.json.encode(value, order="deterministic")).hexdigest()[:32]


def split_of(fingerprint: str) -> str:
    """The split a puzzle belongs to: 60 % train, 20 % validation, 20 % test, by its fingerprint.

    Whatever seed or level a generator runs with, a puzzle always falls into the same split, so
    instances made during training never collide with validation or test.
    """
    bucket = int.from_bytes(hashlib.sha256(fingerprint.encode()).digest()[:4], "big") % 10
    return "train" if bucket < 6 else "validation" if bucket < 8 else "test"


class Experiment:
    """A named difficulty level: the parameters that its instances share."""

    def __init__(self, name: str, config: Mapping[str, Any]) -> None:
        self.name = name
        self.config = {k: v for k, v in config.items() if k not in BOOKKEEPING}

    @cached_property
    def hash(self) -> str:
        """Content hash of the parameters (computed once, however many instances share them)."""
        return content_hash(self.config)


class Instance(Mapping[str, Any]):
    """One playable item.  ``instance[key]`` looks into the item, then into its experiment.

    Attributes:
        game: name of the game.
        experiment: the experiment it belongs to.
        data: the item's own fields.
        split: ``train``, ``validation``, ``test`` or `None` (unknown, e.g. an imported file).
    """

    __slots__ = ("__dict__", "data", "experiment", "game", "split")

    def __init__(
        self,
        game: str,
        experiment: Experiment,
        data: Mapping[str, Any],
        split: str | None = None,
    ) -> None:
        self.game = game
        self.experiment = experiment
        self.data = data
        self.split = split

    def __getitem__(self, key: str) -> Any:
        if key in self.data:
            return self.data[key]
        return self.experiment.config[key]

    def __iter__(self) -> Iterator[str]:
        yield from self.data
        yield from (key for key in self.experiment.config if key not in self.data)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Instance) and (self.game, self.hash) == (other.game, other.hash)

    @cached_property
    def _hash_value(self) -> int:
        return hash((self.game, self.hash))

    def __hash__(self) -> int:
        return self._hash_value

    def __repr__(self) -> str:
        return f"Instance({self.game}/{self.experiment.name}/{self.id})"

    @property
    def id(self) -> int | str:
        """The number (clembench's ``game_id``) under which people know the instance."""
        value = self.data.get("game_id", "")
        # A record holds a number or a text, whatever an imported file says.
        return value if type(value) in (int, str) else str(value)

    @property
    def language(self) -> str:
        """Language code of prompts, English unless the instance says otherwise (``lang``)."""
        value = self.get("lang", "en")
        return value if isinstance(value, str) else "en"

    @cached_property
    def hash(self) -> str:
        """Identity: a hash of the content (own fields and experiment's), names and ids left out."""
        content = {key: value for key, value in self.data.items() if key != "game_id"}
        return content_hash([self.experiment.hash, content])
