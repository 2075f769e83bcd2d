"""What the players of the image game have to write (docs/rules/imagegame.md, "Reply format")."""

from __future__ import annotations

import re
from collections.abc import Callable

from playpen import Instance, Violation

COMMAND = r"^command: [^\n]+$"
DONE = r"^\s*command\s*:\s*done\s*$"
GRID = r"^\n*" + r"\n".join([r"([A-Z▢]\s){4}[A-Z▢]"] * 5) + r"\n*$"
"""The patterns that hold where an instance brings none of its own."""


def command_reader(instance: Instance) -> Callable[[str], str | None]:
    """What checks the giver's replies: gives the command with its tag, or `None` for "done"."""
    done = re.compile(instance.get("player_1_terminate_pattern", DONE), re.IGNORECASE)
    command = re.compile(instance.get("player_1_response_pattern", COMMAND), re.IGNORECASE)

    def read(reply: str) -> str | None:
        if done.match(reply):
            return None
        if not command.match(reply):
            raise Violation("invalid_command", "the reply is not a single line with a command")
        return first_line(reply)

    return read


def grid_reader(instance: Instance) -> Callable[[str], str]:
    """What checks the follower's replies: gives the reply as it is."""
    grid = re.compile(instance.get("player_2_response_pattern", GRID))

    def read(reply: str) -> str:
        if not grid.match(reply):
            raise Violation("invalid_grid", "the reply is not a grid and nothing else")
        return reply

    return read


def first_line(reply: str) -> str:
    """The giver's command as the follower gets it."""
    return reply.partition("\n")[0]
