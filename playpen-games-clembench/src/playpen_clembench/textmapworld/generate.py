"""Instances of the textmapworld family: random houses on a small grid.

See docs/rules/textmapworld.md, "Our own part".

Levels of the two explorations that have the same name have the same houses, and the search for a
room takes those of the level `large`, whatever the distance of the room.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import Any, TypeAlias

from playpen.conversation import derive_seed
from playpen.instance import split_of
from playpen_clembench.languages import material_file
from playpen_clembench.levels import chosen_levels
from playpen_clembench.textmapworld.maps import House, distances

Cell: TypeAlias = tuple[int, int]
"""Column and row; east and north count up."""

SIZE = 4
"""Columns and rows of the grid."""
STEPS: dict[str, Cell] = {"north": (0, 1), "east": (1, 0), "south": (0, -1), "west": (-1, 0)}
READY_NUMBER = {"train": 50, "validation": 10, "test": 10}
"""Instances per level of the ready splits."""


@dataclass(frozen=True)
class Level:
    """What the houses of a level have in common.

    Attributes:
        rooms: number of rooms.
        edges: allowed numbers of connections.
        distances: allowed numbers of moves from the start to the target; empty if there is none.
    """

    rooms: int
    edges: tuple[int, ...]
    distances: tuple[int, ...] = ()


_TREES = {"small": Level(4, (3,)), "medium": Level(6, (5,)), "large": Level(8, (7,))}
LEVELS: dict[str, dict[str, Level]] = {
    "textmapworld": {
        **_TREES,
        "medium_cycle": Level(6, (6,)),
        "large_cycle": Level(8, (8, 9)),
    },
    "textmapworld_graphreasoning": _TREES,
    "textmapworld_specificroom": {
        "on": Level(8, (7,), (0,)),
        "close": Level(8, (7,), (1, 2)),
        "far": Level(8, (7,), (3, 4)),
    },
}
"""The levels of each game.

The longest of the shortest tours through eight rooms takes 13 moves, so all rounds are enough.
"""


@dataclass(frozen=True, eq=False)
class Plan:
    """A house with the cells its rooms are in, and a room to start from."""

    house: House
    cells: dict[Cell, str]
    start: str


@dataclass(frozen=True)
class Variant:
    """The generator of one game of the family.

    Attributes:
        game: its name.
    """

    game: str

    def levels(self) -> tuple[str, ...]:
        """The experiments, as in clembench."""
        return tuple(LEVELS[self.game])

    def generate(
        self, split: str, *, seed: int, level: str | None, n: int | None
    ) -> dict[str, Any]:
        """Make the instances of a split.

        Args:
            split: only houses whose fingerprint belongs to this split are used.
            seed: of houses, starts and targets.
            level: one of the game's levels; all of them if `None`.
            n: instances per level; `READY_NUMBER` of them if `None`.

        Raises:
            InstanceError: unknown split or level.
        """
        levels = LEVELS[self.game]
        names = chosen_levels(self.game, levels, split, level)
        wanted = READY_NUMBER[split] if n is None else n
        return {
            "experiments": [
                {
                    "name": name,
                    # A level that is made alone has the numbers that it has among all levels.
                    "game_instances": [
                        {"game_id": number, **item}
                        for number, item in enumerate(
                            islice(_instances(name, levels[name], split, seed), wanted),
                            start=wanted * list(levels).index(name),
                        )
                    ],
                }
                for name in names
            ]
        }


EXPLORE = Variant("textmapworld")
EXPLORE_AND_DRAW = Variant("textmapworld_graphreasoning")
FIND_ROOM = Variant("textmapworld_specificroom")


def _instances(name: str, level: Level, split: str, seed: int) -> Iterator[dict[str, Any]]:
    rng = random.Random(derive_seed("textmapworld", seed, split, name))
    for plan in _plans(level.rooms, level.edges, split, seed):
        if level.distances:
            start, target, distance = _with_target(plan, level.distances, rng)
            aim = {"Specific_Room": target, "Specific_Room_Distance": str(distance)}
            yield _instance(plan, start) | aim
        else:
            yield _instance(plan, plan.start)


def _instance(plan: Plan, start: str) -> dict[str, Any]:
    house = plan.house
    return {
        "Grid_Dimension": str(SIZE),
        "Graph_Nodes": str(list(house.rooms)),
        "Graph_Edges": str(list(house.edges)),
        "Current_Position": start,
        "Directions": str([(room, list(ways)) for room, ways in house.doors.items()]),
        "Moves": str(
            [{"node": room, "node_moves": list(ways.items())} for room, ways in house.doors.items()]
        ),
        "Cycle": "cycle_true" if len(house.edges) >= len(house.rooms) else "cycle_false",
        "Ambiguity": None,
        "Game_Type": "named_graph",
        "Loop_Reminder": False,
        "Max_Turns_Reminder": False,
        "Mapping": str(plan.cells),
        "Strict": True,
    }


def _plans(rooms: int, edges: tuple[int, ...], split: str, seed: int) -> Iterator[Plan]:
    """Different houses that belong to a split; endless, as there are many millions."""
    rng = random.Random(derive_seed("textmapworld", seed, split, rooms, edges))
    seen: set[str] = set()
    while True:
        cells, doors = _random_walk(rng, rooms)
        if len(doors) not in edges:
            continue
        plan = _plan(rng, cells, doors)
        mark = plan.house.fingerprint
        if mark not in seen and split_of(mark) == split:
            seen.add(mark)
            yield plan


def _random_walk(rng: random.Random, rooms: int) -> tuple[list[Cell], set[frozenset[Cell]]]:
    """The cells of a random walk, and the pairs of them between which it went."""
    here = rng.randrange(SIZE), rng.randrange(SIZE)
    cells = {here: None}
    doors: set[frozenset[Cell]] = set()
    while len(cells) < rooms:
        there = rng.choice(list(_around(here).values()))
        doors.add(frozenset((here, there)))
        cells[there] = None
        here = there
    return list(cells), doors


def _plan(rng: random.Random, cells: list[Cell], doors: set[frozenset[Cell]]) -> Plan:
    """Name the rooms, shuffle the order in which their doors are shown, choose a start."""
    names = dict(zip(cells, rng.sample(room_names(), len(cells)), strict=True))
    shown = {}
    for cell, room in names.items():
        ways = [
            (direction, names[other])
            for direction, other in _around(cell).items()
            if frozenset((cell, other)) in doors
        ]
        rng.shuffle(ways)
        shown[room] = dict(ways)
    rooms = tuple(names.values())
    edges = tuple(
        (first, second)
        for number, first in enumerate(rooms)
        for second in rooms[number + 1 :]
        if second in shown[first].values()
    )
    return Plan(House(rooms, edges, shown), names, rng.choice(rooms))


@cache
def _around(cell: Cell) -> dict[str, Cell]:
    """The directions in which the grid goes on, and the cells there."""
    ways = {way: (cell[0] + east, cell[1] + north) for way, (east, north) in STEPS.items()}
    return {way: (x, y) for way, (x, y) in ways.items() if 0 <= x < SIZE and 0 <= y < SIZE}


def _with_target(plan: Plan, allowed: tuple[int, ...], rng: random.Random) -> tuple[str, str, int]:
    """A start, a target, and the number of moves between them.

    Another start than the plan's, or another distance than the one drawn first, is only taken
    where there is no target otherwise.
    """
    graph = plan.house.graph
    for distance in rng.sample(allowed, len(allowed)):
        for start in [plan.start, *rng.sample(plan.house.rooms, len(plan.house.rooms))]:
            away = distances(graph, start)
            targets = [room for room in plan.house.rooms if away[room] == distance]
            if targets:
                return start, rng.choice(targets), distance
    raise AssertionError("eight rooms on a grid are never all within two moves")


@cache
def room_names() -> list[str]:
    """Names of rooms, none of which is a part of another."""
    return material_file(__package__, "rooms.txt").split("\n")[:-1]
