"""The trainers and commands that this distribution brings."""

from __future__ import annotations

import click

from playpen.hookspecs import TrainerSpec, hookimpl


@hookimpl
def playpen_trainers() -> list[TrainerSpec]:
    """All trainers."""
    return [
        TrainerSpec(
            name="sft",
            path="playpen_trainers.sft:SFT",
            summary="supervised fine-tuning: imitate recorded or demonstrated episodes (TRL)",
        ),
    ]


@hookimpl
def playpen_commands(cli: click.Group) -> None:
    """Add ``playpen demo``."""
    from playpen_trainers.demo_command import demo

    cli.add_command(demo)
