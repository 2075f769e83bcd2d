"""Make the reference pages from the code: hooks, games, command line, trainers.

``make docs`` writes them; ``--check`` (a test runs it) only tells which are out of date.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import msgspec

from playpen import hookspecs
from playpen.cli import cli
from playpen.cli.exit_codes import ExitCode
from playpen.option_docs import REQUIRED, UNSET, options_of, summary_of
from playpen.plugins import get_game, load, registry
from playpen.training.config import TABLES, TrainConfig

DOCS = Path(__file__).parent
NOTE = "<!-- Made by docs/make_reference.py from the code; do not edit. -->\n\n"


def hooks_page() -> str:
    """Every hook and spec, from the docstrings of `playpen.hookspecs`."""
    parts = ["# Hooks\n", inspect.cleandoc(hookspecs.__doc__ or ""), "\n## Hooks\n"]
    for name, function in inspect.getmembers(hookspecs, inspect.isfunction):
        if name.startswith("playpen_"):
            parts += [
                f"### `{name}{_signature(function)}`\n",
                inspect.cleandoc(function.__doc__ or "") + "\n",
            ]
    parts.append("## Specs\n")
    for name, kind in inspect.getmembers(hookspecs, inspect.isclass):
        if issubclass(kind, msgspec.Struct):
            fields = ", ".join(f"`{field.name}`" for field in msgspec.structs.fields(kind))
            parts += [
                f"### `{name}`\n",
                inspect.cleandoc(kind.__doc__ or "") + "\n",
                f"Fields: {fields}.\n",
            ]
    return NOTE + "\n".join(parts)


def _signature(function: Callable[..., object]) -> str:
    return str(inspect.signature(function)).replace("'", "")


def games_page() -> str:
    """Every installed game of our own pack."""
    parts = ["# Games of playpen-games-clembench\n"]
    plugins = registry()
    for name, claims in plugins.games.items():
        spec, owner = claims[0]
        if owner != "playpen-games-clembench":
            continue
        game = get_game(name)
        low, high = game.score_range
        parts += [
            f"## `{name}`\n",
            f"{spec.summary[0].upper()}{spec.summary[1:]}.\n",
            f"Rules {game.rules}; main score {low:g} to {high:g}; "
            f"suites: {', '.join(spec.suites) or 'none'}.\n",
            "| role | what it does |\n|---|---|",
            *(f"| `{role.name}` | {role.summary} |" for role in game.roles),
            f"\nLevels: {', '.join(f'`{level}`' for level in game.levels())}.\n",
        ]
    return NOTE + "\n".join(parts)


def trainers_page() -> str:
    """Every trainer of our own, the tables of a configuration, our rewards and recipes."""
    plugins = registry()
    parts = ["# Trainers of playpen-trainers\n"]
    for spec in _ours(plugins.trainers):
        trainer = load(spec.path, what=spec.name)
        tables = ", ".join(f"`[{table}]`" for table in trainer.tables)
        parts += [
            f"## `{spec.name}`\n",
            f"{spec.summary[0].upper()}{spec.summary[1:]}.  It reads {tables}, and `[trainer]`:\n",
            *_options(trainer.Options),
        ]
    parts.append("# Shared tables\n")
    for field in msgspec.structs.fields(TrainConfig):
        if field.name in TABLES:
            summary = summary_of(field.type)
            parts += [
                f"## `[{field.name}]`\n",
                f"{summary[0].upper()}{summary[1:]}\n",
                *_options(field.type),
            ]
    parts.append("# Rewards\n")
    for spec in _ours(plugins.rewards):
        parts += [
            f"## `[reward.terms.{spec.name}]`\n",
            f"{spec.summary[0].upper()}{spec.summary[1:]}.\n",
            *_options(load(spec.path, what=spec.name).Options),
        ]
    if recipes := _ours(plugins.recipes):
        parts += [
            "# Recipes\n",
            "| recipe | what it is |\n|---|---|",
            *(f"| `recipe:{spec.name}` | {spec.summary} |" for spec in recipes),
            "",
        ]
    return NOTE + "\n".join(parts)


def _ours(table: dict[str, list[tuple[Any, str]]]) -> list[Any]:
    """The specs that our own distributions bring."""
    owners = ("playpen-core", "playpen-trainers")
    return [claims[0][0] for claims in table.values() if claims[0][1] in owners]


def _options(kind: type[msgspec.Struct]) -> list[str]:
    return [
        "| option | type | default | what it does |\n|---|---|---|---|",
        *(
            f"| `{o.name}` | {o.type} | {_code(o.default)} | {o.meaning} |"
            for o in options_of(kind)
        ),
        "",
    ]


def _code(default: str) -> str:
    return default if default in (REQUIRED, UNSET) else f"`{default}`"


def cli_page() -> str:
    """The help of every command."""
    registry().manager.hook.playpen_commands(cli=cli)
    parts = ["# Command line\n", "| exit code | means |", "|---|---|"]
    parts += [f"| {code.value} | {code.meaning} |" for code in ExitCode]
    parts.append("")
    for path, command in _commands("playpen", cli):
        context = click.Context(command, info_name=path, terminal_width=96)
        parts += [f"## `{path}`\n", "```text", command.get_help(context), "```\n"]
    return NOTE + "\n".join(parts)


def _commands(path: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name in sorted(command.commands):
            yield from _commands(f"{path} {name}", command.commands[name])


PAGES = {
    "hooks.md": hooks_page,
    "games.md": games_page,
    "trainers.md": trainers_page,
    "cli.md": cli_page,
}


def outdated() -> list[str]:
    """Pages whose file differs from what the code says now."""
    return [
        name
        for name, make in PAGES.items()
        if not (DOCS / name).is_file() or (DOCS / name).read_text(encoding="utf-8") != make()
    ]


if __name__ == "__main__":
    stale = outdated()
    if "--check" in sys.argv:
        sys.exit(f"out of date: {', '.join(stale)}; run `make docs`" if stale else 0)
    for page in stale:
        (DOCS / page).write_text(PAGES[page](), encoding="utf-8")
        sys.stdout.write(f"wrote docs/{page}\n")
