"""The ``playpen`` command line.

Exit codes: 0 all is well; 1 the command ran and found something wrong (failed episodes, a
divergence, invalid instances); 2 it was called wrongly; 130 it was interrupted.
"""

from __future__ import annotations

import sys
from typing import NoReturn

import click

from playpen.cli import instances, listing, play, runs, train
from playpen.errors import PlaypenError
from playpen.player import did_you_mean
from playpen.plugins import registry

FOUND_PROBLEMS = 1
CALLED_WRONGLY = 2
INTERRUPTED = 130
ELSEWHERE = {"demo": "playpen-trainers playpen-games-clembench"}
"""Commands that other distributions bring, and what to install for them."""


class Commands(click.Group):
    """A group that suggests the nearest command."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or say what was probably meant."""
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-"):
            if name in ELSEWHERE:
                ctx.fail(
                    f"the command {name!r} comes with other distributions: "
                    f"pip install {ELSEWHERE[name]}"
                )
            ctx.fail(f"no such command {name!r}{did_you_mean(name, self.list_commands(ctx))}")
        return super().resolve_command(ctx, args)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="playpen-core", prog_name="playpen")
def cli() -> None:
    """Language models learn by playing dialogue games.

    \b
    playpen list                                  what is installed
    playpen play taboo -p program:oracle          play, record and score
    playpen train sft -c config.toml -o out       learn from play
    """


for command in (
    listing.list_command,
    listing.show,
    instances.instances,
    play.play,
    play.resume,
    runs.replay,
    runs.score,
    runs.transcript,
    train.train,
    listing.completion,
):
    cli.add_command(command)


def _exit(message: str, code: int) -> NoReturn:
    click.echo(message, err=True)
    sys.exit(code)


def main() -> None:
    """Entry point of the ``playpen`` script."""
    registry().manager.hook.playpen_commands(cli=cli)
    try:
        code = cli.main(standalone_mode=False)
    except click.exceptions.Abort:
        _exit("Interrupted.", INTERRUPTED)
    except KeyboardInterrupt:
        _exit("Interrupted.", INTERRUPTED)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except Exception as error:
        # Errors out of a task group come wrapped.
        cause: BaseException = error
        while isinstance(cause, BaseExceptionGroup):
            cause = cause.exceptions[0]
        if isinstance(cause, PlaypenError):
            _exit(f"Error: {cause}", CALLED_WRONGLY)
        raise
    sys.exit(code if isinstance(code, int) else 0)
