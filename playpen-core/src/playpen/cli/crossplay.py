"""``playpen crossplay``: everybody with everybody, in every role."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from playpen.cli.exit_codes import ExitCode
from playpen.cli.messages import echo, echo_document
from playpen.cli.names import GameList, PlayerAssignment
from playpen.cli.output import write_output
from playpen.cli.playing import choose_instances, in_flight, play_evaluation_run
from playpen.instance import SPLITS
from playpen.plugins import get_game

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from playpen.cast import Cast
    from playpen.crossplay import Matrices, Seats
    from playpen.instance import Instance
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
    from playpen.cli.extras import needs_report

    with needs_report("cross-play"):
        import matplotlib  # noqa: F401

        from playpen.crossplay import cells, everybody
    specs = _specs(players)
    instances = {name: choose_instances(name, split, (), None)[:count] for name in games}
    with everybody(specs) as cast:
        runs = _play_all(
            output / "runs", cast, instances, repeats=repeats, seed=seed, concurrency=concurrency,
            split=split,
        )  # fmt: skip
    matrices = cells(runs)
    roles = {name: get_game(name).role_names() for name in games}
    if "" in matrices:  # the averages
        roles[""] = tuple(f"role {n}" for n in range(1, len(roles[games[0]]) + 1))
    titles = {name: name or "all games" for name in matrices}
    document = json.dumps(_document(specs, matrices, titles), indent=2) + "\n"
    drawn = _write(output, document, specs, matrices, roles, titles)
    if as_json:
        echo_document(document.encode())
        return
    _show(specs, matrices, roles, titles)
    echo(f"\nWritten to {output / 'crossplay.json'}" + " and crossplay.svg" * drawn)
    if not all(cell.coverage.complete for matrix in matrices.values() for cell in matrix.values()):
        echo("Some episodes failed (*).  The same command tries what was not given up.", err=True)
        raise SystemExit(ExitCode.IN_PART)


def _specs(players: Sequence[tuple[str | None, str]]) -> list[str]:
    """Who takes part.

    Raises:
        UsageError: a role is named, or there are fewer than two.
    """
    for role, spec in players:
        if role is not None:
            raise click.UsageError(f"-p {role}={spec}: everybody plays every role; write -p {spec}")
    if len(players) < 2:
        raise click.UsageError("name at least two players: -p SPEC -p SPEC")
    return [spec for _, spec in players]


def _play_all(
    folder: Path,
    cast: Cast,
    instances: Mapping[str, Sequence[Instance]],
    *,
    repeats: int,
    seed: int,
    concurrency: int,
    split: str,
) -> dict[tuple[str, Seats], Run]:
    """Play what is missing of every pairing, each in a run of its own."""
    from playpen.crossplay import cast_of, seatings
    from playpen.evaluation import evaluation_run
    from playpen.terminal.matrix import letter

    rules = {name: get_game(name) for name in instances}
    for game in rules.values():  # what is wrong with a player shows before anything is played
        for label in cast.specs:
            cast.seats(game, dict.fromkeys(game.role_names(), label))
    runs: dict[tuple[str, Seats], Run] = {}
    for name, game in rules.items():
        for seats in seatings(len(cast.specs), len(game.role_names())):
            who = "-".join(letter(seat) for seat in seats)
            pairing = cast_of(cast, game.role_names(), seats)
            run = evaluation_run(
                folder / f"{name}-{who}", {name: instances[name]}, pairing, repeats=repeats,
                seed=seed, concurrency=concurrency, split=split, command=sys.argv[1:],
            )  # fmt: skip
            play_evaluation_run(run, pairing, concurrency)
            runs[name, seats] = run
    return runs


def _write(
    output: Path,
    document: str,
    specs: Sequence[str],
    matrices: Matrices,
    roles: Mapping[str, Sequence[str]],
    titles: Mapping[str, str],
) -> bool:
    """Write ``crossplay.json``, and ``crossplay.svg`` if a game has two roles."""
    from playpen.terminal.matrix import draw_matrices

    write_output(output / "crossplay.json", document.encode())
    pairs = {
        titles[name]: (roles[name], matrix)
        for name, matrix in matrices.items()
        if len(roles[name]) == 2
    }
    if pairs:
        draw_matrices(pairs, specs, output / "crossplay.svg")
    return bool(pairs)


def _show(
    specs: Sequence[str],
    matrices: Matrices,
    roles: Mapping[str, Sequence[str]],
    titles: Mapping[str, str],
) -> None:
    from playpen.escape import escape
    from playpen.terminal.console import open_console
    from playpen.terminal.matrix import letter, matrix_table

    console = open_console()
    for number, spec in enumerate(specs):
        echo(escape(f"{letter(number)} = {spec}", one_line=True))
    for name, matrix in matrices.items():
        console.print()
        console.print(matrix_table(titles[name], roles[name], matrix))


def _document(
    specs: Sequence[str],
    matrices: Matrices,
    titles: Mapping[str, str],
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
            for name, matrix in matrices.items()
        },
    }
