"""The player side: the `Player` base class and the spec strings by which players are named."""

from __future__ import annotations

import difflib
from collections.abc import Awaitable, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar
from urllib.parse import parse_qsl, quote, urlencode

import msgspec

from playpen.conversation import Conversation, Reply
from playpen.errors import PlaypenError
from playpen.game import Game
from playpen.settings import SettingsError, read_settings

OptionsT = TypeVar("OptionsT", bound=msgspec.Struct)


class SpecError(PlaypenError, ValueError):
    """A player spec cannot be used.  The message names it and says what to do."""


class PlayerError(PlaypenError, RuntimeError):
    """A player failed for reasons that are not its reply's: the episode counts as failed."""


class NoOptions(msgspec.Struct, forbid_unknown_fields=True):
    """Options of a player that has none."""


class Player:
    """What fills a role.

    A subclass is named by a `PlayerSpec`, gets what follows the scheme as `target` and its
    options as an instance of its class attribute `Options`, and answers in `reply`.
    """

    Options: ClassVar[type[msgspec.Struct]] = NoOptions

    serial: ClassVar[bool] = False
    """Play one episode at a time with this player (a person at a terminal)."""

    def reply(self, conversation: Conversation) -> Reply | Awaitable[Reply]:
        """Answer the last message of the conversation.

        A player that answers at once returns the `Reply`; one that waits returns an awaitable.

        Raises:
            PlayerError: the player failed; the message says which server, model or file.
        """
        raise NotImplementedError

    def seat(self, game: Game, role: str) -> Player:
        """The player for one role of one game; called once before play.  Usually itself."""
        return self

    def describe(self) -> dict[str, Any]:
        """What a run records about the player: model, resolved options, treatment of replies."""
        return {}

    async def close(self) -> None:
        """Release what the player holds."""


class SpecString(msgspec.Struct, frozen=True):
    """A parsed spec string ``scheme:target?option=value&option=value``."""

    scheme: str
    target: str = ""
    options: dict[str, str] = {}

    def __str__(self) -> str:
        query = urlencode(sorted(self.options.items()), quote_via=quote, safe="/:,")
        return f"{self.scheme}:{self.target}" + (f"?{query}" if query else "")


def parse_spec(text: str, aliases: Mapping[str, str] | None = None) -> SpecString:
    """Parse a player spec string; a text without a colon is looked up among the aliases.

    Raises:
        SpecError: the text is neither a spec nor a known alias, or an option has no value.
    """
    if ":" not in text:
        known = aliases or {}
        if text not in known:
            raise SpecError(
                f"{text!r} is not a player: write scheme:target (for example program:oracle), "
                f"or an alias of playpen.toml{did_you_mean(text, known)}"
            )
        return parse_spec(known[text])
    scheme, _, rest = text.partition(":")
    target, _, query = rest.partition("?")
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError:
        raise SpecError(
            f"{text!r}: options are written ?name=value&name=value, not {query!r}"
        ) from None
    options = dict(pairs)
    if len(options) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise SpecError(f"{text!r}: the option {twice!r} is given twice")
    return SpecString(scheme, target, options)


def parse_options(spec: SpecString, options: type[OptionsT]) -> OptionsT:
    """Turn the option texts of a spec into the player's typed options.

    Raises:
        SpecError: an unknown option (with a suggestion) or a value of the wrong type.
    """
    fields = {field.encode_name: field for field in msgspec.structs.fields(options)}
    for name in spec.options:
        if name not in fields:
            known = ", ".join(sorted(fields)) or "none"
            raise SpecError(
                f"{spec}: unknown option {name!r}{did_you_mean(name, fields)} "
                f"Options of {spec.scheme}: {known}."
            )
    try:
        return msgspec.convert(spec.options, options, strict=False)
    except msgspec.ValidationError as error:
        raise SpecError(f"{spec}: {error}") from None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A clause ``; did you mean 'x'?`` if a known name is close, else a full stop."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else "."


def load_aliases(directory: Path | None = None) -> dict[str, str]:
    """Aliases of the nearest ``playpen.toml``, upwards from a directory (the current one).

    Raises:
        SpecError: the file cannot be used, or an alias has no ``spec``.
    """
    try:
        settings = read_settings(directory)
    except SettingsError as error:
        raise SpecError(str(error)) from None
    tables = settings.tables.get("players", {})
    if not isinstance(tables, dict):
        raise SpecError(f"{settings.path}: players must be tables: [players.name]")
    aliases = {}
    for name, table in tables.items():
        if not isinstance(table, dict) or not isinstance(table.get("spec"), str):
            raise SpecError(f'{settings.path}: [players.{name}] needs a line spec = "..."')
        aliases[name] = table["spec"]
    return aliases
