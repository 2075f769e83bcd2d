"""Shell completion of the names that plug-ins bring, and the parameters that commands share."""

from __future__ import annotations

import re

import click
from click.shell_completion import CompletionItem

from playpen.plugins import registry

_ROLE = re.compile(r"([A-Za-z_][A-Za-z0-9_-]*)=(.+)", re.DOTALL)


def complete_games(
    ctx: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Names of the installed games."""
    return [
        CompletionItem(name, help=claims[0][0].summary)
        for name, claims in registry().games.items()
        if name.startswith(incomplete)
    ]


def complete_trainers(
    ctx: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Names of the installed trainers."""
    return [
        CompletionItem(name, help=claims[0][0].summary)
        for name, claims in registry().trainers.items()
        if name.startswith(incomplete)
    ]


def complete_players(
    ctx: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Schemes of the installed kinds of players."""
    role, equals, start = incomplete.rpartition("=")
    return [
        CompletionItem(f"{role}{equals}{scheme}:", help=claims[0][0].summary)
        for scheme, claims in registry().players.items()
        if scheme.startswith(start)
    ]


class PlayerAssignment(click.ParamType[tuple[str | None, str]]):
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
