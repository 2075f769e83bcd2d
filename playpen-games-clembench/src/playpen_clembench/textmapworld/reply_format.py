"""What the explorer has to write, and the check that it did.

See docs/rules/textmapworld.md, "Reply format".
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

from playpen import Instance, Violation

LONGEST_DRAWN_REPLY = 20_000
"""Characters of a reply with a map; patterns and Python literals take too long on absurd ones."""

_MOVE = r"^GO:\s*(north|east|west|south)$"
_STOP = r"^DONE$"
# The atomic group takes the first list of nodes that edges follow; any further one would do too.
_DRAWN_REPLY = (
    r'^\{\s*"action":\s*"([^{}]*?)"\s*,\s*"graph":\s*'
    r'\{\s*"nodes"\s*:\s*(?>\[.*?\]\s*,\s*"edges"\s*:\s*\{).*?\}\s*\}\s*\}$'
)

DrawnMap: TypeAlias = dict[str, list[Any]]
"""``nodes`` (names) and ``edges`` (pairs of names), with the directions left out."""


class Command(NamedTuple):
    """A reply as it was understood.

    Attributes:
        direction: where to go as it was written; `None` to stop.
        drawn: the map that came with it, if a map was asked for and this one can be used.
    """

    direction: str | None
    drawn: DrawnMap | None = None


STOP = Command(None)


def reader(instance: Instance) -> Callable[[str], Command]:
    """What reads plain replies: a move or the stop word, and nothing else."""

    def read(reply: str) -> Command:
        direction = _direction(instance, reply)
        return STOP if direction is None else Command(direction.lower())

    return read


def drawing_reader(instance: Instance) -> Callable[[str], Command]:
    """What reads replies that hold the move and the map drawn so far in one dictionary."""
    pattern = _compiled(instance.get("Response_Construction", _DRAWN_REPLY))

    def read(reply: str) -> Command:
        if len(reply) > LONGEST_DRAWN_REPLY:
            raise Violation("too_long", f"the reply has {len(reply)} characters")
        text = reply.replace("\n", "").strip()
        match = pattern.search(text)
        if match is None:
            raise Violation("invalid_format", "the reply is not the dictionary that was asked for")
        if _direction(instance, match[1]) is None:
            return STOP
        action, drawn = _evaluated(text)
        move = _compiled(instance.get("Move_Construction", _MOVE)).search(action)
        # The case of the direction counts here: with a capital letter it names no door.
        return Command(move[1] if move else "", drawn_map(drawn))

    return read


def drawn_map(value: Any) -> DrawnMap | None:
    """The drawn map that a reply holds, or `None` if it cannot be used.

    Every entry of every list of edges counts by its first two elements.
    """
    try:
        nodes = [str.lower(node) for node in value["nodes"]]
        edges = [
            [str.lower(entry[0]), str.lower(entry[1])]
            for entries in value["edges"].values()
            for entry in entries
        ]
    except (AttributeError, IndexError, KeyError, TypeError):
        return None
    return {
        "nodes": [_encodable(node) for node in nodes],
        "edges": [[_encodable(end) for end in edge] for edge in edges],
    }


def _direction(instance: Instance, text: str) -> str | None:
    """The direction of a move, or `None` for the stop word.

    Raises:
        Violation: neither of them, or more than one.
    """
    stop = _compiled(instance.get("Stop_Construction", _STOP)).search(text)
    pattern = _compiled(instance.get("Move_Construction", _MOVE))
    moves = [match[1] for match in pattern.finditer(text)]
    if stop and moves:
        raise Violation("ambiguous", "the reply both moves and stops")
    if stop:
        return None
    if not moves:
        raise Violation("invalid_format", "the reply is neither a move nor the stop word")
    if len(moves) > 1:
        raise Violation("ambiguous", "the reply moves more than once")
    return moves[0]


def _evaluated(text: str) -> tuple[str, Any]:
    """Action and graph of a reply.

    Raises:
        Violation: it is no Python literal, or lacks one of them.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a player's odd escape sequences
            value = ast.literal_eval(text)
        action, graph = value["action"], value["graph"]
    except (ValueError, SyntaxError, TypeError, KeyError, MemoryError, RecursionError):
        raise Violation(
            "invalid_literal", "the reply is not a Python dictionary with action and graph"
        ) from None
    if not isinstance(action, str):
        raise Violation("invalid_literal", "the action is not a text")
    return action, graph


def _encodable(name: str) -> str:
    """A name without lone surrogates, which an escape sequence can make and no file can hold."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


@lru_cache(maxsize=64)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)
