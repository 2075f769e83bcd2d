"""The options of a trainer or player, read off its options class and that class's docstring."""

from __future__ import annotations

import inspect
import re
from typing import NamedTuple, get_type_hints

import msgspec

_ATTRIBUTE = re.compile(r"^ {4}(?P<names>\w+(?:, \w+)*): (?P<text>.*(?:\n {8}.*)*)", re.MULTILINE)


class Option(NamedTuple):
    """One option: its name, type, default and meaning, as texts."""

    name: str
    type: str
    default: str
    meaning: str


def options_of(kind: type[msgspec.Struct]) -> list[Option]:
    """All options that a class declares, in order."""
    hints = get_type_hints(kind)
    meanings = _meanings(kind)
    return [
        Option(
            field.encode_name,
            _type_name(hints[field.name]),
            "required" if field.required else repr(field.default),
            meanings.get(field.name, ""),
        )
        for field in msgspec.structs.fields(kind)
    ]


def _meanings(kind: type) -> dict[str, str]:
    """The entries of the docstring's section ``Attributes``."""
    section = inspect.cleandoc(kind.__doc__ or "").partition("Attributes:\n")[2]
    return {
        name: " ".join(match["text"].split())
        for match in _ATTRIBUTE.finditer(section)
        for name in match["names"].split(", ")
    }


def _type_name(hint: object) -> str:
    if isinstance(hint, type):
        return hint.__name__
    return str(hint).replace("typing.", "").replace("Literal", "one of ")
