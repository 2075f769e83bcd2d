"""``playpen data export``: datasets from recorded runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from playpen.cli.messages import echo
from playpen.cli.names import Commands, complete_games, complete_rewards

if TYPE_CHECKING:
    from playpen.episode import Ending
    from playpen.export.records import Format
    from playpen.export.write import Exported


@click.group(cls=Commands)
def data() -> None:
    """Make datasets of recorded runs."""


@data.command("export")
@click.argument("runs", nargs=-1, required=True, type=click.Path(exists=True, file_okay=False))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder to make."
)
@click.option(
    "--format", "form", type=click.Choice(["sft", "dpo", "kto", "messages", "parquet"]),
    required=True, help="What the rows are; see above.",
)  # fmt: skip
@click.option(
    "--game", "games", multiple=True, shell_complete=complete_games,
    help="Only this game (repeatable).",
)  # fmt: skip
@click.option("--role", "roles", multiple=True, help="Only this role (repeatable).")
@click.option(
    "--player", "players", multiple=True, metavar="LABEL",
    help="Only what this player said, by its label in run.json (repeatable).",
)  # fmt: skip
@click.option(
    "--outcome", "outcomes", type=click.Choice(["success", "lose", "abort"]), multiple=True,
    help="Only episodes that ended so (repeatable).  sft: success by default; others: all.",
)  # fmt: skip
@click.option("--min-score", type=float, help="Only episodes with at least this main score.")
@click.option(
    "--reward", default="outcome", show_default=True, shell_complete=complete_rewards,
    help="What a conversation is worth: a name that `playpen list rewards` shows.",
)  # fmt: skip
@click.option(
    "--threshold", type=float,
    help="kto: wanted is what earned more reward than this.  [default: 0]",
)  # fmt: skip
@click.option("--allow-test", is_flag=True, help="Let episodes of a test split through.")
def export(
    runs: tuple[str, ...],
    output: Path,
    form: Format,
    games: tuple[str, ...],
    roles: tuple[str, ...],
    players: tuple[str, ...],
    outcomes: tuple[Ending, ...],
    min_score: float | None,
    reward: str,
    threshold: float | None,
    allow_test: bool,
) -> None:
    """Write the episodes of RUNs as a dataset for TRL.

    The folder has a dataset card, and datasets.load_dataset reads it.  Every row tells where it
    comes from.

    \b
    sft       a row per reply: prompt, completion; of won episodes
    dpo       a row per pair on the same instance: prompt, chosen, rejected
    kto       a row per conversation: prompt, completion, label
    messages  a row per conversation: messages
    parquet   the same as a Parquet file
    """
    from playpen.export.card import Recipe
    from playpen.export.conversations import Selection
    from playpen.export.write import export_dataset
    from playpen.store import Run

    if threshold is not None and form != "kto":
        raise click.UsageError("--threshold is for --format kto")
    if form == "sft" and not outcomes:
        outcomes = ("success",)
    recipe = Recipe(
        form=form,
        selection=Selection(
            games=games,
            roles=roles,
            players=players,
            outcomes=outcomes,
            min_score=min_score,
            allow_test=allow_test,
        ),
        reward=reward,
        threshold=threshold or 0.0,
        command=sys.argv[1:],
    )
    _report(export_dataset([Run.open(run) for run in runs], output, recipe))


def _report(exported: Exported) -> None:
    from playpen.escape import escape
    from playpen.export.records import LabelledRow

    gathered, made = exported.gathered, exported.made
    echo(
        escape(
            f"{len(made.rows)} rows of {gathered.episodes} episodes are in {exported.path}",
            one_line=True,
        )
    )
    notes = {
        "episodes were not let through": gathered.left_out,
        "episodes failed and are never exported": gathered.failed,
        "episodes of a test split are among them": gathered.test,
        "conversations are left out, since another role is to blame": made.blameless,
        "situations gave no pair: alike, or they part where others spoke": made.unpaired,
    }
    for note, count in notes.items():
        if count:
            echo(f"{count} {note}.", err=True)
    if exported.dates:
        echo(
            f"datasets.load_dataset takes the texts of {', '.join(exported.dates)} for points in "
            "time, since all of them are dates.",
            err=True,
        )
    labels = {row.label for row in made.rows if isinstance(row, LabelledRow)}
    if len(labels) == 1:
        which = "wanted" if labels == {True} else "unwanted"
        echo(f"All rows are {which}; KTO learns from the difference.", err=True)
