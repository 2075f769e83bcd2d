"""The command ``playpen demo``."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("runs/demo"),
    show_default=True,
    help="Where models and runs go; an earlier demo there is replaced.",
)
@click.option("--seed", default=0, show_default=True, help="Of everything.")
@click.option("-n", "--episodes", default=300, show_default=True, help="Unseen instances to play.")
@click.option("--quick", is_flag=True, help="Train a tenth, to see that everything works.")
def demo(output: Path, seed: int, episodes: int, quick: bool) -> None:
    """See a tiny model learn a game, in a few minutes on a CPU.

    A model of a few hundred thousand weights is made on the spot.  It learns taboo's closed `mini`
    world from a few episodes of the game's oracle (sft), then by playing (grpo), and is measured
    before, between and after on instances that it has not seen.
    """
    from playpen_trainers.demo import run_demo

    run_demo(output, seed=seed, episodes=episodes, quick=quick)
