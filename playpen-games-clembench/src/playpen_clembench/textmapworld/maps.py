"""The map of an instance: rooms, and doors that lead from one to another."""

from __future__ import annotations

import ast
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, TypeAlias

from playpen.instance import Instance, InstanceError

Graph: TypeAlias = Mapping[str, frozenset[str]]
"""Every room with its neighbours."""


def graph_of(rooms: Sequence[str], edges: Sequence[Sequence[str]]) -> Graph:
    """The graph of some rooms and the undirected edges between them."""
    neighbours: dict[str, set[str]] = {room: set() for room in rooms}
    for first, second in edges:
        neighbours[first].add(second)
        neighbours[second].add(first)
    return {room: frozenset(others) for room, others in neighbours.items()}


def distances(graph: Graph, start: str) -> dict[str, int]:
    """The number of moves from a room to every room that can be reached."""
    moves_to = {start: 0}
    waiting = deque([start])
    while waiting:
        room = waiting.popleft()
        for neighbour in sorted(graph[room] - moves_to.keys()):
            moves_to[neighbour] = moves_to[room] + 1
            waiting.append(neighbour)
    return moves_to


@dataclass(frozen=True, eq=False)
class House:
    """A map (docs/rules/textmapworld.md, "Instances").

    Attributes:
        rooms: names of all rooms.
        edges: the undirected edges between them, each once.
        doors: for every room its open directions, in the order in which they are shown, and the
            rooms they lead to.
    """

    rooms: tuple[str, ...]
    edges: tuple[tuple[str, str], ...]
    doors: Mapping[str, Mapping[str, str]]

    @cached_property
    def graph(self) -> Graph:
        """The rooms with their neighbours."""
        return graph_of(self.rooms, self.edges)

    @cached_property
    def fingerprint(self) -> str:
        """The named rooms and doors; where one starts, or what one looks for, is not in it."""
        passages = (
            f"{room}>{direction}>{other}"
            for room, ways in self.doors.items()
            for direction, other in ways.items()
        )
        return "textmapworld:" + ";".join([*sorted(self.rooms), *sorted(passages)])


def house_of(instance: Instance) -> House:
    """The map of an instance.

    Raises:
        InstanceError: a field is no Python literal, or the fields contradict each other.
    """
    return _house(
        instance["Graph_Nodes"], instance["Graph_Edges"], instance["Directions"], instance["Moves"]
    )


def room_named(value: Any) -> str:
    """The name of a room; where rooms are coordinates, the text of the tuple is their name."""
    return value if isinstance(value, str) else str(tuple(value))


def room_of(instance: Instance, field: str) -> str:
    """The room that a field names; case carries no meaning.

    Raises:
        InstanceError: the map has no such room.
    """
    name = room_named(instance[field])
    for room in house_of(instance).rooms:
        if room.lower() == name.lower():
            return room
    raise InstanceError(f"field {field!r}: the map has no room {name!r}")


def shown(instance: Instance, room: str) -> str:
    """The name under which the player knows a room: where names are ambiguous, without suffix."""
    return room if instance.get("Ambiguity") is None else room.partition("_")[0]


@lru_cache(maxsize=4096)
def _house(nodes: str, edges: str, directions: str, moves: str) -> House:
    try:
        rooms = tuple(room_named(room) for room in _literal("Graph_Nodes", nodes))
        pairs = tuple(
            (room_named(first), room_named(second))
            for first, second in _literal("Graph_Edges", edges)
        )
        ways = {
            room_named(entry["node"]): {
                direction: room_named(to) for direction, to in entry["node_moves"]
            }
            for entry in _literal("Moves", moves)
        }
        doors = {
            room_named(room): {direction: ways[room_named(room)][direction] for direction in shown}
            for room, shown in _literal("Directions", directions)
        }
    except (KeyError, TypeError, ValueError) as error:
        raise InstanceError(f"the map of the instance is not in the known form: {error}") from None
    house = House(rooms, pairs, doors)
    _check(house)
    return house


def _check(house: House) -> None:
    """Doors and edges are the same connections, and every room can be reached."""
    connected = {
        frozenset((room, other)) for room, ways in house.doors.items() for other in ways.values()
    }
    if connected != set(map(frozenset, house.edges)):
        raise InstanceError("fields 'Graph_Edges' and 'Moves' give different connections")
    rooms = set(house.rooms)
    if set().union(*connected) - rooms or house.doors.keys() != rooms:
        raise InstanceError("fields 'Graph_Nodes' and 'Directions' do not have the same rooms")
    if any(len(pair) == 1 for pair in connected):
        raise InstanceError("field 'Graph_Edges' connects a room with itself")
    if rooms and len(distances(house.graph, house.rooms[0])) < len(rooms):
        raise InstanceError("the map has rooms that cannot be reached from the others")


def _literal(field: str, text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise InstanceError(f"field {field!r} is not a Python literal: {error}") from None
