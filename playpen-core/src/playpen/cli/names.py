"""Names on the command line: suggestions, shell completion, and who plays which role."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from playpen.cli.messages import echo
from playpen.player import did_you_mean
from playpen.plugins import RECIPE, SpecT, registry

if TYPE_CHECKING:
    _AssignmentType = click.ParamType[tuple[str | None, str]]
    _NamesType = click.ParamType[list[str]]
else:  # older versions of click have no type parameter here
    _AssignmentType = _NamesType = click.ParamType

_ROLE = re.compile(r"([A-Za-z_][A-Za-z0-9_-]*)=(.+)", re.DOTALL)
ELSEWHERE = {"demo": "playpen-trainers playpen-games-clembench"}
"""Commands that other distributions bring, and what to install for them."""


class Commands(click.Group):
    """A group that suggests the nearest command."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Show the help if no command is given."""
        if not args and not ctx.resilient_parsing:
            echo(ctx.get_help(), err=True)
            ctx.exit(2)
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or say what was probably meant."""
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-"):
            if ctx.parent is None and name in ELSEWHERE:
                ctx.fail(
                    f"the command {name!r} comes with other distributions: "
                    f"pip install {ELSEWHERE[name]}"
                )
            ctx.fail(f"no such command {name!r}{did_you_mean(name, self.list_commands(ctx))}")
        return super().resolve_command(ctx, args)


def complete_games(
    ctx: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Names of the installed games."""
    return _completed(registry().games, incomplete)


def complete_trainers(
    ctx: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Names of the installed trainers."""
    return _completed(registry().trainers, incomplete)


def complete_executors(
    ctx: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Names of the installed executors."""
    return _completed(registry().executors, incomplete, after=":")


def complete_rewards(
    ctx: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Names of the installed rewards."""
    return _completed(registry().rewards, incomplete)


def complete_recipes(
    ctx: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Names of the installed recipes."""
    return _completed(registry().recipes, incomplete)


def _completed(
    claimed: dict[str, list[tuple[SpecT, str]]], start: str, before: str = "", after: str = ""
) -> list[CompletionItem]:
    return [
        CompletionItem(f"{before}{name}{after}", help=claims[0][0].summary)
        for name, claims in claimed.items()
        if name.startswith(start)
    ]


def complete_players(
    ctx: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Schemes of the installed kinds of players."""
    role, equals, start = incomplete.rpartition("=")
    return _completed(registry().players, start, f"{role}{equals}", ":")


class ConfigFile(click.Path):
    """A file, or ``recipe:NAME``."""

    def __init__(self) -> None:
        super().__init__(exists=True, dir_okay=False)

    def convert(
        self,
        value: str | os.PathLike[str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> str | bytes | os.PathLike[str]:
        """Check that the file is there; a recipe is looked up when it is read."""
        if str(value).startswith(RECIPE):
            return value
        return super().convert(value, param, ctx)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Complete the recipe, or leave files to the shell."""
        if incomplete.startswith(RECIPE):
            start = incomplete.removeprefix(RECIPE)
            return _completed(registry().recipes, start, RECIPE)
        return super().shell_complete(ctx, param, incomplete)


class PlayerAssignment(_AssignmentType):
    """``SPEC`` (all roles) or ``ROLE=SPEC``; the value is a pair of role (or `None`) and spec."""

    name = "[ROLE=]SPEC"

    def convert(
        self,
        value: str | tuple[str | None, str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[str | None, str]:
        """Split the role off; a ``=`` inside the options of a spec is not one."""
        if isinstance(value, tuple):
            return value
        match = _ROLE.fullmatch(value)
        return (match[1], match[2]) if match else (None, value)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Complete the scheme."""
        return complete_players(ctx, param, incomplete)


class GameList(_NamesType):
    """Names of games, separated by commas; ``suite:NAME`` stands for all games of a suite."""

    name = "GAME,..."

    def convert(
        self,
        value: str | list[str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> list[str]:
        """Split, and check that the games are installed."""
        if isinstance(value, list):
            return value
        plugins = registry()
        names = plugins.expand(name.strip() for name in value.split(",") if name.strip())
        for name in names:
            plugins.find("game", plugins.games, name)
        if not names:
            self.fail("name at least one game", param, ctx)
        return names

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Complete the last name."""
        before, comma, start = incomplete.rpartition(",")
        return _completed(registry().games, start, f"{before}{comma}")
