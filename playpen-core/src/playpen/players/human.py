"""``human:`` players: a person at the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from playpen.conversation import Conversation, Reply
from playpen.player import NoOptions, Player, PlayerError


class HumanPlayer(Player):
    """Shows what is new in the conversation and reads the reply.

    An empty line ends the reply, so that replies can have several lines.
    """

    serial = True

    def __init__(self, target: str, options: NoOptions) -> None:
        self._console = Console()

    def reply(self, conversation: Conversation) -> Reply:
        """Ask the person.

        Raises:
            PlayerError: the input was closed.
        """
        title = f"{conversation.episode} · you are {conversation.role}"
        # Text, not markup: what a model says must not be read as formatting.
        self._console.print(Panel(Text(conversation.last), title=Text(title), title_align="left"))
        self._console.print("Your reply (an empty line ends it):", style="dim")
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
        return Reply("\n".join(lines))
