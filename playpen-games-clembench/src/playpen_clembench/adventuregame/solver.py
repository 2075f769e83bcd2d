"""The shortest way to reach the goals of a world, for somebody who knows all of it.

A best-first search (A*) over the player's room, the places of the goal things and the containers
that were opened.  It uses the rules as they are: what is in the same room as its target is put
there without being taken first.  Nothing is put down on the way: with three things, two of
which can be carried, that never made a solution shorter in 35,000 random houses.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, TypeAlias

from playpen_clembench.adventuregame.world import CARRY_LIMIT, Fact, World

Action: TypeAlias = tuple[str, ...]
"""An action and the names of what it is done to, such as ``("put", "book1", "table1")``."""

CARRIED, DELIVERED = "(carried)", "(delivered)"


class Task(NamedTuple):
    """A thing to deliver.  `source` and `target_container` are closed containers, if any.

    `start` is the room where the thing is, or `CARRIED`.
    """

    thing: str
    start: str
    source: str | None
    target: str
    target_room: str
    target_container: str | None


class State(NamedTuple):
    """A state of the search: `places` holds a room, `CARRIED` or `DELIVERED` for each task."""

    room: str
    places: tuple[str, ...]
    opened: frozenset[str]


def shortest_solution(world: World, goals: Iterable[Fact]) -> list[Action] | None:
    """The fewest actions that reach all goals, without the final ``done``; `None` if none do.

    Args:
        world: one in which every room can be reached from every other.
        goals: about different things, and none of them reached yet.
    """
    search = _Search(world, goals)
    places = tuple(task.start for task in search.tasks)
    start = State(world.here, places, frozenset())
    best = {start: 0}
    origin: dict[State, tuple[State, Action]] = {}
    queue = [(search.at_least(start), 0, start)]
    number = 0
    while queue:
        _, _, state = heapq.heappop(queue)
        if all(place == DELIVERED for place in state.places):
            return _path(state, origin)
        cost = best[state] + 1
        for action, following in search.steps(state):
            if cost < best.get(following, cost + 1):
                best[following] = cost
                origin[following] = (state, action)
                number -= 1
                heapq.heappush(queue, (cost + search.at_least(following), number, following))
    return None


def _path(state: State, origin: Mapping[State, tuple[State, Action]]) -> list[Action]:
    actions: list[Action] = []
    while state in origin:
        state, action = origin[state]
        actions.insert(0, action)
    return actions


class _Search:
    def __init__(self, world: World, goals: Iterable[Fact]) -> None:
        def closed(receptacle: str) -> str | None:
            return receptacle if world.states.get(receptacle) == "closed" else None

        self.limited, self.exits = world.limited, world.exits
        self.tasks = [
            Task(
                thing,
                CARRIED if world.is_carried(thing) else world.at[thing],
                closed(world.places[thing][-1].receptacle),
                target,
                world.at[target],
                closed(target),
            )
            for _, thing, target in goals
        ]
        self.distances = {room: distances(world.exits, room) for room in world.exits}

    def steps(self, state: State) -> Iterator[tuple[Action, State]]:
        """The actions worth considering.

        What can be delivered is delivered at once, and without a limit everything is taken as
        soon as it can be: neither can make the solution longer.
        """
        room, places, opened = state
        urgent = self._delivery(state)
        if urgent is not None:
            yield urgent
            return
        free = not self.limited or places.count(CARRIED) < CARRY_LIMIT
        for number, task in enumerate(self.tasks):
            if places[number] == room and free:
                if task.source is not None and task.source not in opened:
                    yield ("open", task.source), state._replace(opened=opened | {task.source})
                else:
                    yield ("take", task.thing), self._placed(state, number, CARRIED)
                if not self.limited:
                    return
        for neighbour in self.exits[room]:
            yield ("go", neighbour), state._replace(room=neighbour)

    def _delivery(self, state: State) -> tuple[Action, State] | None:
        for number, task in enumerate(self.tasks):
            if task.target_room == state.room and state.places[number] in (CARRIED, state.room):
                container = task.target_container
                if container is not None and container not in state.opened:
                    opened = state.opened | {container}
                    return ("open", container), state._replace(opened=opened)
                return ("put", task.thing, task.target), self._placed(state, number, DELIVERED)
        return None

    def _placed(self, state: State, number: int, place: str) -> State:
        places = state.places
        return state._replace(places=(*places[:number], place, *places[number + 1 :]))

    def at_least(self, state: State) -> int:
        """How many actions are needed at least; never too many."""
        room, places, opened = state
        actions = walk = 0
        shut = set()
        for number, task in enumerate(self.tasks):
            place = places[number]
            if place == DELIVERED:
                continue
            actions += 1
            if task.target_container is not None and task.target_container not in opened:
                shut.add(task.target_container)
            way = self.distances[room][task.target_room]
            if place not in (CARRIED, task.target_room):
                actions += 1
                way = self.distances[room][place] + self.distances[place][task.target_room]
                if task.source is not None and task.source not in opened:
                    shut.add(task.source)
            walk = max(walk, way)
        return actions + len(shut) + walk


def distances(exits: Mapping[str, Iterable[str]], start: str) -> dict[str, int]:
    """The number of passages from a room to every room that can be reached."""
    moves_to = {start: 0}
    rooms = [start]
    for room in rooms:
        for neighbour in exits[room]:
            if neighbour not in moves_to:
                moves_to[neighbour] = moves_to[room] + 1
                rooms.append(neighbour)
    return moves_to
