"""``playpen train``."""

from __future__ import annotations

from pathlib import Path

import click

from playpen.cli.names import complete_trainers


@click.command()
@click.argument("trainer", shell_complete=complete_trainers)
@click.option(
    "-c", "--config", type=click.Path(exists=True, dir_okay=False), required=True,
    help="TOML file with [learner] [teacher] [games] [data] [rollout] [trainer].",
)  # fmt: skip
@click.option("--set", "overrides", multiple=True, metavar="TABLE.KEY=VALUE", help="Repeatable.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True,
    help="Directory for checkpoints, recorded episodes and logs.",
)  # fmt: skip
def train(trainer: str, config: str, overrides: tuple[str, ...], output: Path) -> None:
    """Train a model with TRAINER on the games it plays."""
    from playpen.training import read_config
    from playpen.training import train as run_trainer

    checkpoint = run_trainer(trainer, read_config(config, overrides), output)
    click.echo(f"The checkpoint is a player: playpen play GAME -p hf:{checkpoint}")
