"""``playpen train``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from playpen.cli.messages import echo
from playpen.cli.names import ConfigFile, complete_trainers

if TYPE_CHECKING:
    from playpen.training.plan import Plan


@click.command()
@click.argument("trainer", shell_complete=complete_trainers)
@click.option(
    "-c", "--config", type=ConfigFile(), required=True, metavar="FILE",
    help="TOML file, or recipe:NAME; `playpen show trainer TRAINER` explains its tables.",
)  # fmt: skip
@click.option("--set", "overrides", multiple=True, metavar="TABLE.KEY=VALUE", help="Repeatable.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path),
    help="Directory for checkpoints, recorded episodes and logs.",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Check everything but the weights, and stop.")
def train(
    trainer: str, config: str, overrides: tuple[str, ...], output: Path | None, dry_run: bool
) -> None:
    """Train a model with TRAINER on the games it plays."""
    from playpen.training import leads, read_config
    from playpen.training import train as run_trainer

    if dry_run:
        from playpen.training.plan import plan_training

        show_plan(plan_training(trainer, read_config(config, overrides), output))
        echo("The configuration is fine.")
    elif output is None:
        raise click.UsageError("Missing option '-o' / '--output'.")
    else:
        checkpoint = run_trainer(trainer, read_config(config, overrides), output)
        if leads():
            echo(f"The checkpoint is a player: playpen play GAME -p hf:{checkpoint}")


def show_plan(plan: Plan) -> None:
    """Who takes part, and the instances of every level."""
    from playpen.terminal.console import open_console
    from playpen.terminal.plain_table import PlainTable
    from playpen.terminal.tables import MISSING

    console = open_console()
    parts = PlainTable()
    parts.add_column("part", style="cyan")
    parts.add_column("what it is", prose=True)
    for name, what in plan.parts.items():
        parts.add_row(name, what)
    console.print(parts)
    console.print()
    if plan.levels:
        levels = PlainTable()
        levels.add_column("game", style="cyan")
        levels.add_column("level")
        levels.add_numbers("train on", "evaluate on")
        for row in plan.levels:
            numbers = (str(n) if n else MISSING for n in (row.training, row.evaluation))
            levels.add_row(row.game, row.level, *numbers)
        console.print(levels)
        console.print()
