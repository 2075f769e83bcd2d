"""What commands print: nothing of it acts on the terminal, and every encoding can say it."""

from __future__ import annotations

import sys

import click

from playpen.escape import escape


def echo(text: str = "", *, err: bool = False) -> None:
    """Print lines.

    Names, paths and messages are from files, models and servers: active characters in them are
    written out.  A text that must stay one line has to be escaped before, with ``one_line``.
    """
    click.echo(escape(text), err=err)


def echo_document(content: bytes) -> None:
    """Print a file's content: unchanged into a pipe or a file, with nothing active on a terminal.

    Args:
        content: UTF-8.
    """
    if sys.stdout.isatty():
        click.echo(escape(content.decode()), nl=False)
    elif hasattr(sys.stdout, "buffer"):
        click.echo(content, nl=False)
    else:  # redirected to a stream of text
        click.echo(content.decode(), nl=False)


def substitute_unknown_characters() -> None:
    r"""From now on write what an output's encoding cannot say as ``\u2026``, and do not raise."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)  # a replaced stream may have none
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
