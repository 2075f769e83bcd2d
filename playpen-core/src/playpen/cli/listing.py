"""``playpen list``, ``playpen show`` and ``playpen completion``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from playpen.cli.names import complete_games
from playpen.plugins import PluginError, SpecT, get_game, registry

if TYPE_CHECKING:
    from rich.table import Table

KINDS = ("games", "players", "trainers", "packs")


@click.command("list")
@click.argument("kind", type=click.Choice(KINDS), required=False)
def list_command(kind: str | None) -> None:
    """List what is installed: games, players, trainers, packs (all, without an argument)."""
    from rich.console import Console

    console = Console()
    for wanted in [kind] if kind else KINDS:
        for table in _tables(wanted):
            console.print(table)
            console.print()
    plugins = registry()
    for problem in [*map(str, plugins.broken), *plugins.conflicts()]:
        click.echo(f"Warning: {problem}", err=True)


def _tables(kind: str) -> Iterator[Table | str]:
    """A table for each distribution that brings something of the kind."""
    from rich.text import Text

    from playpen.report.tables import plain_table

    plugins = registry()
    rows: dict[str, list[tuple[str, ...]]] = {}
    columns: tuple[str, ...] = ("name", "what it is")
    if kind == "games":
        columns = ("name", "roles", "what it is")
        for game, owner in _claims(plugins.games):
            rows.setdefault(owner, []).append((game.name, ", ".join(game.roles), game.summary))
    elif kind == "players":
        for player, owner in _claims(plugins.players):
            rows.setdefault(owner, []).append((f"{player.scheme}:", player.summary))
    elif kind == "trainers":
        for trainer, owner in _claims(plugins.trainers):
            rows.setdefault(owner, []).append((trainer.name, trainer.summary))
    else:
        columns = ("distribution", "version", "plug-in")
        rows[""] = [(pack.distribution, pack.version, pack.name) for pack in plugins.packs]
    if not rows:
        hint = {
            "games": "; install a pack, for example: pip install playpen-games-clembench",
            "trainers": "; install them with: pip install playpen-trainers",
        }.get(kind, "")
        yield f"No {kind} are installed{hint}"
    for owner, found in sorted(rows.items()):
        table = plain_table(*columns, title=f"{kind} of {owner}" if owner else kind)
        table.columns[0].style = "cyan"
        for column in table.columns[:-1]:
            column.no_wrap = True
        for row in found:
            table.add_row(*map(Text, row))
        yield table


def _claims(table: dict[str, list[tuple[SpecT, str]]]) -> Iterator[tuple[SpecT, str]]:
    return (claim for claims in table.values() for claim in claims)


@click.command()
@click.argument("game", shell_complete=complete_games)
def show(game: str) -> None:
    """Show a game: its rules in short, its roles, its levels and its splits."""
    from rich.console import Console
    from rich.text import Text

    from playpen.instance import SPLITS, ready_instances
    from playpen.report.tables import plain_table

    rules = get_game(game)
    plugins = registry()
    spec = plugins.find("game", plugins.games, game)
    console = Console()
    console.print(Text.assemble((game, "bold"), f": {spec.summary}"))
    low, high = rules.score_range
    console.print(
        f"rules {rules.rules} · score {low:g} to {high:g} · "
        f"languages {', '.join(spec.languages)} · from {plugins.distribution_of(game)}",
        highlight=False,
        style="dim",
    )
    roles = plain_table("role", "what it does", title="roles")
    for role in rules.roles:
        roles.add_row(Text(role.name, style="cyan"), Text(role.summary))
    console.print(roles)
    levels = plain_table("level", *SPLITS, title="instances")
    counts: dict[str, dict[str, int]] = {level: {} for level in rules.levels()}
    try:
        for split in SPLITS:
            for instance in ready_instances(rules, split):
                row = counts.setdefault(instance.experiment.name, {})
                row[split] = row.get(split, 0) + 1
    except NotImplementedError as error:
        console.print(Text(str(error), style="yellow"))
        return
    for level, row in counts.items():
        made = "on demand"
        levels.add_row(Text(level, style="cyan"), *(str(row.get(s, made)) for s in SPLITS))
    console.print(levels)
    console.print(
        f"Levels made on demand: playpen play {game} --level NAME", style="dim", highlight=False
    )


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script that makes a shell complete playpen's commands and names.

    \b
    bash: eval "$(playpen completion bash)"
    zsh:  eval "$(playpen completion zsh)"
    fish: playpen completion fish | source
    """
    from click.shell_completion import get_completion_class

    from playpen.cli import cli

    kind = get_completion_class(shell)
    if kind is None:
        raise PluginError(f"no completion for {shell}")
    click.echo(kind(cli, {}, "playpen", "_PLAYPEN_COMPLETE").source())
