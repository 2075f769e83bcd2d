"""``playpen.toml``: what holds for a project, wherever in it a command is called."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, NamedTuple

from playpen.errors import PlaypenError

FILE = "playpen.toml"


class SettingsError(PlaypenError, ValueError):
    """``playpen.toml`` cannot be used.  The message names the file and the remedy."""


class SettingsFile(NamedTuple):
    """The nearest ``playpen.toml`` and what it says; empty tables if there is none.

    Attributes:
        path: the file, absolute; relative paths in it start from its folder.
        tables: its content.
    """

    path: Path
    tables: dict[str, Any]

    def table(self, name: str) -> dict[str, Any]:
        """A table of the file; empty if it is not there.

        Raises:
            SettingsError: it is something else than a table.
        """
        table = self.tables.get(name, {})
        if not isinstance(table, dict):
            raise SettingsError(f"{self.path}: {name} must be a table: [{name}]")
        return table


def read_settings(directory: Path | None = None) -> SettingsFile:
    """Read the nearest ``playpen.toml``, upwards from a directory (the current one).

    Raises:
        SettingsError: the file is not valid TOML, or cannot be read.
    """
    start = (directory or Path.cwd()).resolve()
    for folder in (start, *start.parents):
        path = folder / FILE
        if path.is_file():
            try:
                return SettingsFile(path, tomllib.loads(path.read_text(encoding="utf-8")))
            except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
                raise SettingsError(f"{path}: not valid TOML: {error}") from None
            except OSError as error:
                raise SettingsError(f"{path}: cannot be read: {error.strerror}") from None
    return SettingsFile(start / FILE, {})
