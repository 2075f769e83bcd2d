"""``playpen list``, ``playpen show`` and ``playpen completion``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from playpen.cli.names import complete_games, complete_players, complete_trainers
from playpen.plugins import PluginError, SpecT, get_game, load, registry

if TYPE_CHECKING:
    import msgspec
    from rich.table import Table

KINDS = ("games", "suites", "players", "trainers", "packs")


def _shown(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Games, or after ``trainer`` the trainers, or after ``player`` the schemes."""
    words = ctx.params.get("what") or ()
    if words == ("trainer",):
        return complete_trainers(ctx, parameter, incomplete)
    if words == ("player",):
        return complete_players(ctx, parameter, incomplete)
    return complete_games(ctx, parameter, incomplete)


@click.command("list")
@click.argument("kind", type=click.Choice(KINDS), required=False)
def list_command(kind: str | None) -> None:
    """List the installed games, players, trainers and packs.

    With an argument, only that kind.
    """
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
    elif kind == "suites":
        columns = ("name", "games")
        rows[""] = [(f"suite:{name}", ", ".join(g)) for name, g in plugins.suites().items()]
    elif kind == "players":
        for player, owner in _claims(plugins.players):
            rows.setdefault(owner, []).append((f"{player.scheme}:", player.summary))
    elif kind == "trainers":
        for trainer, owner in _claims(plugins.trainers):
            rows.setdefault(owner, []).append((trainer.name, trainer.summary))
    else:
        columns = ("distribution", "version", "plug-in")
        rows[""] = [(pack.distribution, pack.version, pack.name) for pack in plugins.packs]
    if not any(rows.values()):
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
@click.argument(
    "what", nargs=-1, required=True, metavar="[game|trainer|player] NAME", shell_complete=_shown
)
def show(what: tuple[str, ...]) -> None:
    """Show a game, or the options of a trainer or player.

    \b
    playpen show taboo
    playpen show trainer sft
    playpen show player hf
    """
    kinds = {"game": show_game, "trainer": show_trainer, "player": show_player}
    if len(what) == 1:
        show_game(what[0])
    elif len(what) == 2 and what[0] in kinds:
        kinds[what[0]](what[1])
    else:
        raise click.UsageError("write playpen show NAME, or playpen show game|trainer|player NAME")


def show_game(name: str) -> None:
    """What a game is, who plays in it, and how many instances there are."""
    from rich.console import Console
    from rich.text import Text

    from playpen.instance import SPLITS, ready_instances
    from playpen.report.tables import plain_table

    game = get_game(name)
    plugins = registry()
    spec = plugins.find("game", plugins.games, name)
    console = Console()
    console.print(Text.assemble((name, "bold"), f": {spec.summary}"))
    low, high = game.score_range
    console.print(
        f"rules {game.rules} · score {low:g} to {high:g} · "
        f"languages {', '.join(spec.languages)} · from {plugins.distribution_of(name)}\n",
        highlight=False,
        style="dim",
    )
    roles = plain_table("role", "what it does")
    for role in game.roles:
        roles.add_row(Text(role.name, style="cyan"), Text(role.summary))
    console.print(roles)
    console.print()
    counts: dict[str, dict[str, int]] = {level: {} for level in game.levels()}
    try:
        for split in SPLITS:
            for instance in ready_instances(game, split):
                row = counts.setdefault(instance.experiment.name, {})
                row[split] = row.get(split, 0) + 1
    except NotImplementedError as error:
        console.print(Text(str(error), style="yellow"))
        return
    levels = plain_table("level", *(f"{split} instances" for split in SPLITS))
    for level, row in counts.items():
        levels.add_row(Text(level, style="cyan"), *(str(row.get(s, "on demand")) for s in SPLITS))
    console.print(levels)
    console.print(
        f"\nPlay one level with: playpen play {name} --level NAME -p SPEC",
        style="dim",
        highlight=False,
    )


def show_trainer(name: str) -> None:
    """The options of a trainer's table ``[trainer]``."""
    plugins = registry()
    spec = plugins.find("trainer", plugins.trainers, name)
    _show_options(name, spec.summary, load(spec.path, what=f"the trainer {name!r}").Options)


def show_player(name: str) -> None:
    """The options of a kind of player."""
    plugins = registry()
    scheme = name.rstrip(":")
    spec = plugins.find("player", plugins.players, scheme)
    kind = load(spec.path, what=f"the player {scheme}:", extra=spec.extra)
    _show_options(f"{scheme}:TARGET", spec.summary, kind.Options)


def _show_options(name: str, summary: str, options: type[msgspec.Struct]) -> None:
    from rich.console import Console
    from rich.text import Text

    from playpen.report.options import options_of
    from playpen.report.tables import plain_table

    console = Console()
    console.print(Text.assemble((name, "bold"), f"  {summary}\n"))
    found = options_of(options)
    if not found:
        console.print("It has no options.")
        return
    table = plain_table("option", "default", "what it does")
    for option in found:
        meaning = Text(option.meaning)
        if option.type not in ("int", "float", "str", "bool"):
            meaning.append(f" ({option.type})", style="dim")
        table.add_row(Text(option.name, style="cyan"), Text(option.default), meaning)
    console.print(table)


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script that makes a shell complete names.

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
