"""The console of all commands: whatever is printed on it is shown, and does nothing else."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from playpen.escape import escape


class SafeConsole(Console):
    """A console on which no text acts on the terminal, wherever it is from.

    What `rich` itself sends, colours and the movements of a progress bar, is no text.
    """

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """The segments of something to print, with every active character written out."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else escape(text), style, control)


def open_console(*, stderr: bool = False, quiet: bool = False) -> Console:
    """The console on the standard output or the standard error; if `quiet`, nothing is shown."""
    return SafeConsole(stderr=stderr, quiet=quiet)
