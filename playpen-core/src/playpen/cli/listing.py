"""``playpen list``, ``playpen show`` and ``playpen completion``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from playpen.cli.messages import echo, echo_document
from playpen.cli.names import (
    complete_executors,
    complete_games,
    complete_players,
    complete_recipes,
    complete_rewards,
    complete_trainers,
)
from playpen.plugins import PluginError, SpecT, get_game, load, read_recipe, registry

if TYPE_CHECKING:
    import msgspec

    from playpen.terminal.plain_table import PlainTable

KINDS = ("games", "suites", "players", "executors", "trainers", "rewards", "recipes", "packs")
COMPLETED = {
    "trainer": complete_trainers,
    "player": complete_players,
    "executor": complete_executors,
    "reward": complete_rewards,
    "recipe": complete_recipes,
}


def _shown(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Games, or after ``trainer`` the trainers, and so on."""
    words = ctx.params.get("what") or ("game",)
    return COMPLETED.get(words[0], complete_games)(ctx, parameter, incomplete)


@click.command("list")
@click.argument("kind", type=click.Choice(KINDS), required=False)
def list_command(kind: str | None) -> None:
    """List what is installed: games, players, trainers and the rest.

    With an argument, only that kind.
    """
    from playpen.terminal.console import open_console

    console = open_console()
    for wanted in [kind] if kind else KINDS:
        for table in _tables(wanted):
            console.print(table)
            console.print()
    plugins = registry()
    for problem in [*map(str, plugins.broken), *plugins.conflicts()]:
        echo(f"Warning: {problem}", err=True)


def _tables(kind: str) -> Iterator[PlainTable | str]:
    """A table for each distribution that brings something of the kind."""
    from playpen.terminal.plain_table import PlainTable

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
    elif kind == "executors":
        for executor, owner in _claims(plugins.executors):
            rows.setdefault(owner, []).append((f"{executor.scheme}:", executor.summary))
    elif kind == "trainers":
        for trainer, owner in _claims(plugins.trainers):
            rows.setdefault(owner, []).append((trainer.name, trainer.summary))
    elif kind == "rewards":
        for reward, owner in _claims(plugins.rewards):
            rows.setdefault(owner, []).append((reward.name, reward.summary))
    elif kind == "recipes":
        for recipe, owner in _claims(plugins.recipes):
            rows.setdefault(owner, []).append((recipe.name, recipe.summary))
    else:
        columns = ("distribution", "version", "plug-in")
        rows[""] = [(pack.distribution, pack.version, pack.name) for pack in plugins.packs]
    if not any(rows.values()):
        hint = {
            "games": "; install a pack, for example: pip install playpen-games-clembench",
            "trainers": "; install them with: pip install playpen-trainers",
        }.get(kind, "")
        yield f"No {kind} are installed{hint}"
    for owner, listed in sorted(rows.items()):
        name, *others, last = columns
        table = PlainTable(title=f"{kind} of {owner}" if owner else kind)
        table.add_column(name, style="cyan")
        for column in others:
            table.add_column(column)
        table.add_column(last, prose=True)
        for row in listed:
            table.add_row(*row)
        yield table


def _claims(table: dict[str, list[tuple[SpecT, str]]]) -> Iterator[tuple[SpecT, str]]:
    return (claim for claims in table.values() for claim in claims)


@click.command()
@click.argument(
    "what",
    nargs=-1,
    required=True,
    metavar="[game|trainer|player|executor|reward|recipe] NAME",
    shell_complete=_shown,
)
@click.option("--schema", is_flag=True, help="Of a trainer's configuration: its JSON Schema.")
@click.option("--template", is_flag=True, help="Of a trainer: a configuration to fill in.")
def show(what: tuple[str, ...], schema: bool, template: bool) -> None:
    """Show a game, a recipe, or the options of something else.

    \b
    playpen show taboo
    playpen show trainer sft
    playpen show trainer sft --template > train.toml
    playpen show player hf
    playpen show reward outcome
    """
    kinds = {
        "game": show_game,
        "trainer": show_trainer,
        "player": show_player,
        "executor": show_executor,
        "reward": show_reward,
        "recipe": show_recipe,
    }
    if schema or template:
        if len(what) != 2 or what[0] != "trainer" or (schema and template):
            raise click.UsageError("write playpen show trainer NAME --schema, or --template")
        print_configuration(what[1], schema)
    elif len(what) == 1:
        show_game(what[0])
    elif len(what) == 2 and what[0] in kinds:
        kinds[what[0]](what[1])
    else:
        raise click.UsageError(f"write playpen show NAME, or playpen show {'|'.join(kinds)} NAME")


def show_game(name: str) -> None:
    """What a game is, who plays in it, and how many instances there are."""
    from rich.text import Text

    from playpen.instance import SPLITS
    from playpen.instance_sets import ready_instances
    from playpen.terminal.console import open_console
    from playpen.terminal.plain_table import PlainTable

    game = get_game(name)
    plugins = registry()
    spec = plugins.find("game", plugins.games, name)
    console = open_console()
    console.print(Text.assemble((name, "bold"), f": {spec.summary}"))
    low, high = game.score_range
    console.print(
        f"rules {game.rules} · score {low:g} to {high:g} · "
        f"languages {', '.join(spec.languages)} · from {plugins.distribution_of(name)}\n",
        highlight=False,
        style="dim",
    )
    roles = PlainTable()
    roles.add_column("role", style="cyan")
    roles.add_column("what it does", prose=True)
    for role in game.roles:
        roles.add_row(role.name, role.summary)
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
    levels = PlainTable()
    levels.add_column("level", style="cyan")
    for split in SPLITS:
        levels.add_column(f"{split} instances")
    for level, row in counts.items():
        levels.add_row(level, *(str(row.get(s, "on demand")) for s in SPLITS))
    console.print(levels)
    console.print(
        f"\nPlay one level with: playpen play {name} --level NAME -p SPEC",
        style="dim",
        highlight=False,
    )


def show_trainer(name: str) -> None:
    """The options of all tables of a trainer's configuration."""
    from playpen.terminal.console import open_console
    from playpen.training.config import documented_tables

    plugins = registry()
    spec = plugins.find("trainer", plugins.trainers, name)
    trainer = load(spec.path, what=f"the trainer {name!r}")
    _show_options(name, spec.summary, documented_tables(trainer.Options, trainer.tables))
    console = open_console()
    console.print("\nOther rewards: playpen list rewards", style="dim", highlight=False)
    console.print(
        f"All of this as a file to fill in: playpen show trainer {name} --template",
        style="dim",
        highlight=False,
    )


def print_configuration(name: str, schema: bool) -> None:
    """The configuration of a trainer as JSON Schema, or as a TOML file to fill in."""
    from playpen.training import config

    plugins = registry()
    spec = plugins.find("trainer", plugins.trainers, name)
    trainer = load(spec.path, what=f"the trainer {name!r}")
    if schema:
        echo(json.dumps(config.schema(trainer.Options), indent=2))
    else:
        tables = config.documented_tables(trainer.Options, trainer.tables)
        echo_document(config.template(name, tables).encode())


def show_player(name: str) -> None:
    """The options of a kind of player."""
    plugins = registry()
    scheme = name.rstrip(":")
    spec = plugins.find("player", plugins.players, scheme)
    kind = load(spec.path, what=f"the player {scheme}:", extra=spec.extra)
    _show_options(f"{scheme}:TARGET", spec.summary, {"": kind.Options})


def show_executor(name: str) -> None:
    """The options of an executor."""
    plugins = registry()
    scheme = name.rstrip(":")
    spec = plugins.find("executor", plugins.executors, scheme)
    kind = load(spec.path, what=f"the executor {scheme}", extra=spec.extra)
    _show_options(f"{scheme}:TARGET", spec.summary, {"": kind.Options})


def show_reward(name: str) -> None:
    """The options of a reward's table ``[reward.terms.NAME]``."""
    from playpen.training.config import reward_options

    plugins = registry()
    spec = plugins.find("reward", plugins.rewards, name)
    _show_options(name, spec.summary, {f"reward.terms.{name}": reward_options(name)})


def show_recipe(name: str) -> None:
    """The configuration file that a recipe names."""
    echo_document(read_recipe(name).encode())


def _show_options(name: str, summary: str, tables: Mapping[str, type[msgspec.Struct]]) -> None:
    """A list of options for each table; the columns of all lists are equally wide."""
    from rich.text import Text

    from playpen.option_docs import options_of, plain, summary_of
    from playpen.terminal.console import open_console
    from playpen.terminal.plain_table import PlainTable

    console = open_console()
    console.print(Text.assemble((name, "bold"), f"  {summary}"))
    by_table = {table: options_of(kind) for table, kind in tables.items()}
    everything = [option for options in by_table.values() for option in options]
    widths = [max((len(option[i]) for option in everything), default=0) for i in (0, 2)]
    for table, options in by_table.items():
        console.print()
        if table:
            summary = plain(summary_of(tables[table])).rstrip(".")
            console.print(Text.assemble((f"[{table}]", "bold"), f"  {summary}"))
        if not options:
            console.print("It has no options.")
            continue
        # Among several lists the header would only repeat itself.
        listed = PlainTable(show_header=not table)
        listed.add_column("option", style="cyan", least=widths[0])
        listed.add_column("default", least=widths[1])
        listed.add_column("what it does", prose=True)
        for option in options:
            listed.add_row(
                option.name,
                option.default,
                Text.assemble(plain(option.meaning).rstrip("."), (f" ({option.type})", "dim")),
            )
        console.print(listed)


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

    program = click.get_current_context().find_root().command
    kind = get_completion_class(shell)
    if kind is None:
        raise PluginError(f"no completion for {shell}")
    echo(kind(program, {}, "playpen", "_PLAYPEN_COMPLETE").source())
