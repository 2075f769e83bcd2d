"""``playpen compare``: which of several runs is better, and how sure that is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from playpen.plugins import get_game

if TYPE_CHECKING:
    from rich.table import Table

    from playpen.scoring import Results
    from playpen.statistics import Gain


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(exists=True, file_okay=False))
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the resampling.")
def compare(runs: tuple[str, ...], as_json: bool, seed: int) -> None:
    """Tell how sure the difference between RUNs is.

    Each is compared with the first one, on the instances that both have played.  Per game: the
    difference in the mean main score (an aborted episode counts as 0) with its 95 % interval, p of
    a permutation test corrected for the number of games (Holm), the difference that such a
    comparison would find in 80 % of cases, and how much of it is due to format (fewer aborts) and
    to skill.
    """
    from rich.console import Console

    try:
        from playpen.statistics import compare as compare_results
    except ImportError as error:
        raise click.ClickException(
            f'comparing needs numpy ({error}): pip install "playpen-core[report]"'
        ) from None
    if len(runs) < 2:
        raise click.UsageError(
            "name at least two runs: the first one is what others are compared to"
        )
    first, *others = [_results(run) for run in runs]
    found = {
        run: compare_results(first, them, seed=seed)
        for run, them in zip(runs[1:], others, strict=True)
    }
    if as_json:
        click.echo(
            json.dumps({run: [_plain(gain) for gain in gains] for run, gains in found.items()})
        )
        return
    console = Console()
    for run, gains in found.items():
        if not gains:
            click.echo(f"{run} and {runs[0]} have no instance in common", err=True)
            continue
        console.print(_table(f"{run} against {runs[0]}", gains))
        console.print(
            f"n instances; p of a permutation test, corrected for {len(gains)} games (Holm); "
            "detect.: the difference that would be found in 80 % of such comparisons.\n",
            style="dim",
            highlight=False,
        )


def _results(path: str) -> Results:
    from playpen.scoring import results_of
    from playpen.store import Run

    run = Run.open(Path(path))
    return results_of(run.episodes(), {name: get_game(name) for name in run.config.assignments})


def _plain(gain: Gain) -> dict[str, object]:
    """A gain as JSON; a number that there is none of is null."""
    named = {**gain._asdict(), "difference": gain.difference._asdict()}
    if gain.detectable != gain.detectable:
        named["detectable"] = None
    return named


def _table(title: str, gains: list[Gain]) -> Table:
    from rich.text import Text

    from playpen.report.tables import plain_table

    table = plain_table(title=title)
    table.add_column("game", overflow="fold", min_width=8)
    for name in ("n", "gain", "95 % interval", "p", "detect.", "format", "skill"):
        table.add_column(name, justify="right", no_wrap=True)
    for gain in gains:
        value, low, high = gain.difference
        table.add_row(
            Text(gain.game),
            str(gain.instances),
            Text(f"{value:+.1f}", style="bold" if gain.p_holm < 0.05 else ""),
            f"{low:+.1f} .. {high:+.1f}",
            f"{gain.p_holm:.2g}",
            f"{gain.detectable:.1f}",
            f"{gain.format:+.1f}",
            f"{gain.skill:+.1f}",
        )
    return table
