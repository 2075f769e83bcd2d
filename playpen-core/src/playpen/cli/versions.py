"""Telling people that runs were recorded by other versions than the installed ones."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playpen.store import Run


def tell_versions(runs: Iterable[Run]) -> None:
    """A line on standard error for each difference of rules or of a pack's version."""
    from playpen.cli.messages import echo
    from playpen.escape import escape
    from playpen.recorded_versions import version_notes

    for run in runs:
        for note in version_notes(run):
            echo(escape(f"Note: {note}", one_line=True), err=True)
