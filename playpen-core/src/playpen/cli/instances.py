"""``playpen instances generate|validate|import|hashes``."""

from __future__ import annotations

from pathlib import Path

import click

from playpen.cli.exit_codes import ExitCode
from playpen.cli.messages import echo
from playpen.cli.names import Commands, complete_games
from playpen.cli.output import write_output
from playpen.instance import SPLITS
from playpen.instance_sets import READY_SEED
from playpen.plugins import get_game


@click.group(cls=Commands)
def instances() -> None:
    """Make, check and import instances."""


@instances.command()
@click.argument("game", shell_complete=complete_games)
@click.option("--split", type=click.Choice(SPLITS), default="train", show_default=True)
@click.option("--level", help="Only this level; all regular ones by default.")
@click.option("-n", "count", type=click.IntRange(min=1), help="Instances per level.")
@click.option("--seed", default=READY_SEED, show_default=True, help="The same seed, the same file.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="File to write."
)
def generate(
    game: str, split: str, level: str | None, count: int | None, seed: int, output: Path
) -> None:
    """Make an instances file of a GAME, in clembench's form."""
    import msgspec

    from playpen.instance_sets import parse_instances

    rules = get_game(game)
    document = rules.generate(split, seed=seed, level=level, n=count)
    made = parse_instances(document, rules, source=f"{game} generator", split=split)
    write_output(output, msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n")
    echo(f"{len(made)} instances of {game} ({split} split) are in {output}")


@instances.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@click.option("--game", required=True, shell_complete=complete_games, help="Whose schema to use.")
def validate(file: str, game: str) -> None:
    """Check an instances FILE against its game's schema.

    Exit code 1 if it breaks it.
    """
    from playpen.instance import InstanceError
    from playpen.instance_sets import read_instances

    try:
        checked = read_instances(file, get_game(game))
    except InstanceError as error:
        echo(f"Error: {error}", err=True)
        raise SystemExit(ExitCode.FOUND_PROBLEMS) from None
    different = len({instance.hash for instance in checked})
    experiments = len({instance.experiment.name for instance in checked})
    echo(
        f"{file}: valid; {len(checked)} instances ({different} different) "
        f"in {experiments} experiments"
    )


@instances.command("import")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--name", help="Name of the set; the file's or folder's name by default.")
@click.option("--game", shell_complete=complete_games, help="Game of a single file.")
def import_(path: Path, name: str | None, game: str | None) -> None:
    """Make clembench instances playable by name.

    PATH is an instances file or a clembench checkout.  Play them with
    `playpen play GAME --instances NAME`.
    """
    from playpen.interop.clembench import import_instances

    for entry in import_instances(path, name=name, game=game):
        echo(
            f"{entry.instances} instances of {entry.game}"
            f"{' (an earlier import is replaced)' if entry.replaced else ''}: "
            f"playpen play {entry.game} --instances {entry.path.parent.name} -p ..."
        )


@instances.command()
@click.argument("games", nargs=-1, required=True, metavar="GAME...", shell_complete=complete_games)
@click.option("--split", type=click.Choice(SPLITS), default="test", show_default=True)
@click.option("--instances", "source", help="An instances file, or the name of an imported set.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="File to write."
)
def hashes(games: tuple[str, ...], split: str, source: str | None, output: Path) -> None:
    """Write a hash list, which keeps instances from being trained on.

    It names instances without giving them away.  `playpen train` refuses what is in a list that
    playpen.toml registers ([held_out] files = ["FILE"]) or a configuration names (games.held_out).
    """
    from playpen.cli.playing import choose_instances
    from playpen.fingerprints import hash_list, mark_of
    from playpen.plugins import registry

    if output.exists():
        raise click.UsageError(
            f"{output} is there already, and what it keeps out would be trained on; choose another "
            "name with -o, or remove it"
        )
    marks = [
        mark_of(get_game(name), instance)
        for name in registry().expand(games)
        for instance in choose_instances(name, split, (), source)
    ]
    write_output(output, hash_list(marks).encode())
    echo(f"{len(marks)} instances are in {output}")
