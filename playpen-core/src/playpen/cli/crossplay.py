"""``playpen crossplay``: everybody with everybody, in every role."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from playpen.cli.evaluate import play_evaluation_run
from playpen.cli.names import GameList, PlayerAssignment
from playpen.cli.output import write_output
from playpen.cli.play import choose_instances, in_flight
from playpen.instance import SPLITS
from playpen.plugins import get_game

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from playpen.crossplay import Cell, Seats
    from playpen.game import Game
    from playpen.store import Run


@click.command()
@click.option(
    "-p", "--player", "players", type=PlayerAssignment(), multiple=True, required=True,
    metavar="SPEC", help="Who takes part.  At least two.",
)  # fmt: skip
@click.option("--games", type=GameList(), required=True, help="What they play.")
@click.option("-n", "count", type=click.IntRange(min=1), help="Instances of each game; else all.")
@click.option("--split", type=click.Choice(SPLITS), default="validation", show_default=True)
@click.option("--repeats", type=click.IntRange(1, 10_000), default=1, help="Episodes per instance.")
@click.option("--seed", default=0, show_default=True, help="Of chance moves and sampling.")
@in_flight
@click.option(
    "-o", "--output", type=click.Path(file_okay=False, path_type=Path), required=True,
    help="Directory; what is there already is not played again.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
def crossplay(
    players: tuple[tuple[str | None, str], ...],
    games: list[str],
    count: int | None,
    split: str,
    repeats: int,
    seed: int,
    concurrency: int,
    output: Path,
    as_json: bool,
) -> None:
    """Let players play with each other, in every role.

    Each pairing plays the same instances.  Prints a matrix for each game, the mean main score (an
    aborted episode counts as 0) with its 95 % interval, and writes crossplay.json and
    crossplay.svg.  The same command continues what was interrupted.

    \b
    playpen crossplay -p hf:a -p hf:b -p openai:c --games taboo,referencegame -o cross
    """
    from rich.console import Console

    from playpen.cli.extras import needs_report
    from playpen.escape import escape

    with needs_report("cross-play"):
        import matplotlib  # noqa: F401

        from playpen.crossplay import cast_of, cells, seatings
        from playpen.evaluation import evaluation_run
        from playpen.terminal.matrix import draw_matrices, letter, matrix_table
    specs = []
    for role, spec in players:
        if role is not None:
            raise click.UsageError(f"-p {role}={spec}: everybody plays every role; write -p {spec}")
        specs.append(spec)
    if len(specs) < 2:
        raise click.UsageError("name at least two players: -p SPEC -p SPEC")
    rules = {name: get_game(name) for name in games}
    instances = {name: choose_instances(name, split, (), None)[:count] for name in games}
    runs: dict[tuple[str, Seats], Run] = {}
    with _all_loaded(specs, list(rules.values())):
        for name, game in rules.items():
            for seats in seatings(len(specs), len(game.role_names())):
                who = "-".join(letter(seat) for seat in seats)
                runs[name, seats] = evaluation_run(
                    output / "runs" / f"{name}-{who}",
                    {name: instances[name]},
                    cast_of(specs, game.role_names(), seats),
                    repeats=repeats,
                    seed=seed,
                    concurrency=concurrency,
                    split=split,
                    command=sys.argv[1:],
                )
                play_evaluation_run(runs[name, seats], concurrency)
    found = cells(runs, seed=seed)
    roles = {name: game.role_names() for name, game in rules.items()}
    if "" in found:  # the averages
        roles[""] = tuple(f"role {n}" for n in range(1, len(next(iter(roles.values()))) + 1))
    titles = {name: name or "all games" for name in found}
    document = json.dumps(_document(specs, found, titles), indent=2) + "\n"
    write_output(output / "crossplay.json", document.encode())
    pairs = {titles[n]: (roles[n], found[n]) for n in found if len(roles[n]) == 2}
    if pairs:
        draw_matrices(pairs, specs, output / "crossplay.svg")
    if as_json:
        click.echo(document, nl=False)
        return
    console = Console()
    for number, spec in enumerate(specs):
        click.echo(escape(f"{letter(number)} = {spec}", one_line=True))
    for name, matrix in found.items():
        console.print()
        console.print(matrix_table(titles[name], roles[name], matrix))
    click.echo(f"\nWritten to {output / 'crossplay.json'}" + " and crossplay.svg" * bool(pairs))
    if not all(cell.coverage.complete for matrix in found.values() for cell in matrix.values()):
        click.echo(
            "Some episodes failed (*).  The same command tries what was not given up.", err=True
        )
        raise SystemExit(1)


@contextmanager
def _all_loaded(specs: Sequence[str], games: Sequence[Game]) -> Iterator[None]:
    """Keep every player's model loaded from one pairing to the next."""
    from playpen.runner import make_cast, make_players

    players = [
        player
        for spec in specs
        for player in make_players(make_cast([(None, spec)]).specs).values()
    ]
    try:
        for player in players:
            for game in games:
                for role in game.role_names():
                    player.seat(game, role)
        yield
    finally:

        async def close() -> None:
            for player in players:
                await player.close()

        asyncio.run(close())


def _document(
    specs: Sequence[str],
    found: dict[str, dict[Seats, Cell]],
    titles: dict[str, str],
) -> dict[str, object]:
    from playpen.evaluation import as_document
    from playpen.terminal.matrix import letter

    return {
        "players": {letter(number): spec for number, spec in enumerate(specs)},
        "games": {
            titles[name]: [
                {"players": [letter(seat) for seat in seats], **as_document(cell)}
                for seats, cell in matrix.items()
            ]
            for name, matrix in found.items()
        },
    }
