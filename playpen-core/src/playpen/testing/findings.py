"""How the kit words what it found: where, what is wrong, what to do."""

from __future__ import annotations

import math
import traceback
from pathlib import Path
from typing import NoReturn

import pytest

from playpen.game import Game
from playpen.instance import Instance

_LIBRARIES = (str(Path(__file__).parents[1]), str(Path(traceback.__file__).parent))
"""Folders of Playpen and of Python itself: an error is not the fault of what lies there."""


def fault(where: str, wrong: str, remedy: str) -> NoReturn:
    """Fail the running check, without a traceback of the kit.

    Args:
        where: game, and level and instance if there is one.
        wrong: what was observed.
        remedy: what the game's author should do, as a sentence.
    """
    pytest.fail(f"{where}: {wrong}\nWhat to do: {remedy}", pytrace=False)


def place(game: Game, instance: Instance) -> str:
    """The words by which an author finds an instance."""
    split = f" of the {instance.split} split" if instance.split else ""
    return f"{game.name}, level {instance.experiment.name!r}, instance {instance.id}{split}"


def reason(error: BaseException) -> str:
    """An exception in one line, with the place in the author's code where it was raised."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return excerpt(text, 300) + spot(error)


def spot(error: BaseException) -> str:
    """The innermost place of an exception that is the author's code, in brackets; "" if none."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if not _is_library(frame.filename):
            return f" ({Path(frame.filename).name}, line {frame.lineno}, in {frame.name})"
    return ""


def _is_library(file: str) -> bool:
    return file.startswith(_LIBRARIES) or "site-packages" in file or file.startswith("<")


def excerpt(text: str, limit: int = 80) -> str:
    """A text cut to `limit` characters, with its length if it was cut."""
    if len(text) <= limit:
        return text
    return f"{text[:limit]}... ({len(text):,} characters)"


def quoted(text: str, limit: int = 80) -> str:
    """A text as it is written in code, cut, with its length if it was cut."""
    if len(text) <= limit:
        return repr(text)
    return f"{text[:limit]!r}... ({len(text):,} characters)"


def not_json(value: object, path: str = "") -> str | None:
    """Where and why a value is not a JSON value that reads back equal; `None` if it is one."""
    where = f"at {path}: " if path else ""
    match value:
        case None | bool() | int():
            return None
        case float():
            return None if math.isfinite(value) else f"{where}{value} is not a JSON number"
        case str():
            try:
                value.encode()
            except UnicodeEncodeError:
                return f"{where}{quoted(value)} is not valid Unicode"
            return None
        case list():
            faults = (not_json(item, f"{path}[{number}]") for number, item in enumerate(value))
            return next(filter(None, faults), None)
        case dict():
            for key, item in value.items():
                if not isinstance(key, str):
                    return f"{where}the key {key!r} is a {type(key).__name__}, not a text"
                if wrong := not_json(item, f"{path}.{key}" if path else key):
                    return wrong
            return None
    return f"{where}{excerpt(repr(value))} is a {type(value).__name__}"
