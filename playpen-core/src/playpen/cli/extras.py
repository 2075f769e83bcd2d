"""Saying what to install."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click


@contextmanager
def needs_report(what: str, packages: str = "more than is installed") -> Iterator[None]:
    """Name the extra ``report`` if an import inside fails.

    Args:
        what: needs it, in the words of the message.
        packages: what it needs.

    Raises:
        ClickException: it is not installed.
    """
    try:
        yield
    except ImportError as error:
        raise click.ClickException(
            f'{what} needs {packages} ({error}): pip install "playpen-core[report]"'
        ) from None
