"""``human:`` players: a person at the terminal."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable

from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from playpen.conversation import Conversation, Reply
from playpen.escape import escape
from playpen.player import NoOptions, Player, PlayerError


class HumanPlayer(Player):
    """Shows what is new in the conversation and reads the reply.

    An empty line ends the reply, so that replies can have several lines.
    """

    serial = True

    def __init__(self, target: str, options: NoOptions) -> None:
        self._console = Console()

    def reply(self, conversation: Conversation) -> Reply | Awaitable[Reply]:
        """Ask the person.

        Raises:
            PlayerError: the input was closed.
        """
        title = f"{conversation.episode} · you are {conversation.role}"
        # While a roll-out runs, an interrupt only cancels its tasks, which input() does not notice.
        cancel = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            # Text, not markup: what a model says must not be read as formatting.
            heading = Text(escape(title, one_line=True))
            self._console.print(
                Panel(Text(escape(conversation.last)), title=heading, title_align="left")
            )
            self._console.print("Your reply (an empty line ends it):", style="dim", highlight=False)
            return Reply(_typed())
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, cancel)
            signal.raise_signal(signal.SIGINT)
            return asyncio.get_running_loop().create_future()  # until the roll-out is cancelled
        finally:
            signal.signal(signal.SIGINT, cancel)


def _typed() -> str:
    """What the person types up to an empty line."""
    lines: list[str] = []
    while True:
        try:
            line = input()
        except EOFError:
            if lines:
                break
            raise PlayerError("the terminal was closed before a reply was given") from None
        if not line:
            break
        lines.append(line)
    return "\n".join(lines)
