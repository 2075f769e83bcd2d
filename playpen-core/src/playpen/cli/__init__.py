"""The ``playpen`` command line: the group of all commands, and how errors are told."""

from __future__ import annotations

import sys
from typing import NoReturn

import click

from playpen.cli import (
    compare,
    crossplay,
    data,
    evaluate,
    exchange,
    instances,
    listing,
    play,
    report,
    runs,
    train,
)
from playpen.cli.exit_codes import ExitCode
from playpen.cli.messages import echo, substitute_unknown_characters
from playpen.cli.names import Commands
from playpen.errors import PlaypenError
from playpen.observers import tell
from playpen.player import did_you_mean


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
    evaluate.evaluate,
    compare.compare,
    crossplay.crossplay,
    runs.transcript,
    report.report,
    report.view,
    exchange.import_run,
    exchange.export_run,
    data.data,
    train.train,
    listing.completion,
):
    cli.add_command(command)


def _exit(message: str, code: int) -> NoReturn:
    echo(message, err=True)
    sys.exit(code)


def _in_one_line(error: click.ClickException) -> str:
    """What click found wrong with the call, and where to read on."""
    message = error.format_message()
    if isinstance(error, click.NoSuchOption):
        # click itself suggests everything that is vaguely alike.
        similar = did_you_mean(error.option_name, error.possibilities or ())
        message = f"no such option {error.option_name!r}{similar}"
    ctx = error.ctx if isinstance(error, click.UsageError) else None
    return f"{message} (see {ctx.command_path} --help)" if ctx else message


def main() -> None:
    """Entry point of the ``playpen`` script."""
    substitute_unknown_characters()
    tell("playpen_commands", cli=cli)
    try:
        code = cli.main(prog_name="playpen", standalone_mode=False)
    except click.exceptions.Abort:
        _exit("Interrupted.", ExitCode.INTERRUPTED)
    except KeyboardInterrupt:
        _exit("Interrupted.", ExitCode.INTERRUPTED)
    except click.ClickException as error:
        _exit(f"Error: {_in_one_line(error)}", error.exit_code)
    except Exception as error:
        # Errors out of a task group come wrapped.
        cause: BaseException = error
        while isinstance(cause, BaseExceptionGroup):
            cause = cause.exceptions[0]
        if isinstance(cause, OSError) and cause.filename is not None:
            _exit(f"Error: {cause.filename}: {cause.strerror}", ExitCode.FOUND_PROBLEMS)
        if isinstance(cause, PlaypenError):
            _exit(f"Error: {cause}", ExitCode.CALLED_WRONGLY)
        raise
    sys.exit(code if isinstance(code, int) else 0)
