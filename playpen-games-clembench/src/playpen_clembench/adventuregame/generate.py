"""Instances of AdventureGame (docs/rules/adventuregame.md, "Our own part").

The four levels of a difficulty share their worlds and goals; they differ in the variant and in
how much can be carried.  `optimal_turns` is the true optimum: see `solver`.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

from playpen.conversation import derive_seed
from playpen.instance import split_of
from playpen_clembench.adventuregame.fingerprint import fingerprint
from playpen_clembench.adventuregame.home import (
    CONTAINERS,
    FLOOR,
    FURNITURE,
    ITEMS,
    PLAYER,
    ROOMS,
    SUPPORTS,
    THINGS,
    is_a,
)
from playpen_clembench.adventuregame.language import language
from playpen_clembench.adventuregame.solver import Action, distances, shortest_solution
from playpen_clembench.adventuregame.world import Fact, World, fact_text
from playpen_clembench.levels import chosen_levels, first

MAX_TURNS = 50
GOALS = 3
UNUSUAL = 4
"""At most so many pieces of furniture stand in an unusual room in a hard world."""
OPTIMUM = {"easy": range(8, 17), "hard": range(16, 24)}
"""How many actions the shortest solution may have, with and without a limit."""
READY = {"train": 64, "validation": 16, "test": 16}
"""Instances of every level in the ready splits; clembench has 16."""
FRUITLESS = 20_000
"""Worlds in a row that do not fit, after which a difficulty counts as used up."""


class Level(NamedTuple):
    """What an experiment's name says."""

    variant: str
    difficulty: str
    limited: bool


LEVELS = {
    f"home_deliver_three_{name}_{difficulty}{suffix}": Level(variant, difficulty, bool(suffix))
    for difficulty in OPTIMUM
    for suffix in ("", "_invlimittwo")
    for name, variant in (("basic", "basic"), ("planning", "plan"))
}


class Puzzle(NamedTuple):
    """A world with goals, and its shortest solutions without and with a limit."""

    facts: list[str]
    goals: list[str]
    solutions: tuple[list[Action], list[Action]]


def levels() -> tuple[str, ...]:
    """Two variants, two difficulties, with and without a limit to what can be carried."""
    return tuple(LEVELS)


def generate(
    split: str, *, seed: int = 0, level: str | None = None, n: int | None = None
) -> dict[str, Any]:
    """See `playpen.Game.generate`.

    Raises:
        InstanceError: unknown split or level, or fewer than `n` puzzles were found.
    """
    chosen = chosen_levels("adventuregame", LEVELS, split, level)
    wanted = READY[split] if n is None else n
    puzzles = {
        difficulty: _puzzles(difficulty, split, seed, wanted)
        for difficulty in dict.fromkeys(LEVELS[name].difficulty for name in chosen)
    }
    return {
        "experiments": [
            {
                "name": name,
                "game_instances": [
                    _instance(number, LEVELS[name], puzzle)
                    for number, puzzle in enumerate(puzzles[LEVELS[name].difficulty])
                ],
            }
            for name in chosen
        ]
    }


def _instance(number: int, level: Level, puzzle: Puzzle) -> dict[str, Any]:
    solution = puzzle.solutions[level.limited]
    suffix = "_invlimit" if level.limited else ""
    return {
        "game_id": number,
        "variant": level.variant,
        "initial_state": puzzle.facts,
        "goal_state": puzzle.goals,
        "max_turns": MAX_TURNS,
        "optimal_turns": len(solution),
        "optimal_solution": [list(action) for action in solution],
        "optimal_commands": [command(action) for action in solution],
        "action_definitions": [f"basic_actions_v2{suffix}.json"],
        "room_definitions": ["home_rooms.json"],
        "entity_definitions": ["home_entities.json"],
        "domain_definitions": [f"home_domain{suffix}.json"],
    }


def command(action: Action) -> str:
    """An action as it is typed (in English).  A thing's name is its kind and a number."""
    words = language("en")

    def plain(kind: str) -> str:
        return words.words.names[kind].plain

    verb, *names = action
    kinds = [FLOOR if name.endswith(f"{FLOOR}1") else name.rstrip("1") for name in names]
    if verb != "put":
        return f"{verb} {plain(kinds[0])}"
    relation = words.phrase("on" if is_a(kinds[1], "support") else "in")
    return f"{verb} {plain(kinds[0])} {relation} {plain(kinds[1])}"


# --- puzzles -------------------------------------------------------------------------------------


def _puzzles(difficulty: str, split: str, seed: int, wanted: int) -> list[Puzzle]:
    shortage = f"adventuregame: the {difficulty} levels give {{}} instances of the split {split!r}"
    return first(wanted, _stream(difficulty, split, seed), shortage)


def _stream(difficulty: str, split: str, seed: int) -> Iterator[Puzzle]:
    """Different puzzles that belong to a split."""
    rng = random.Random(derive_seed("adventuregame", seed, difficulty))
    seen: set[str] = set()
    fruitless = 0
    while fruitless < FRUITLESS:
        fruitless += 1
        layout = _layout(rng, unusual=difficulty == "hard")
        goals = _easy_goals(rng, layout) if difficulty == "easy" else _hard_goals(rng, layout)
        if goals is None:
            continue
        facts = [fact_text(fact) for fact in layout.facts()]
        goal_texts = [fact_text(goal) for goal in goals]
        mark = fingerprint(facts, goal_texts)
        if mark in seen or split_of(mark) != split:
            continue
        solutions = _solutions(layout.facts(), goals, OPTIMUM[difficulty])
        if solutions is None:
            continue
        seen.add(mark)
        fruitless = 0
        yield Puzzle(facts, goal_texts, solutions)


def _solutions(
    facts: list[Fact], goals: list[Fact], allowed: range
) -> tuple[list[Action], list[Action]] | None:
    """The shortest solutions without and with a limit, if both are as long as they should be."""
    free = shortest_solution(World(facts), goals)
    if free is None or len(free) not in allowed:
        return None
    limited = shortest_solution(World(facts, limited=True), goals)
    if limited is None or len(limited) not in allowed:
        return None
    return free, limited


# --- worlds --------------------------------------------------------------------------------------


class Layout(NamedTuple):
    """A house: passages between kinds of rooms, the room of everything, where the items lie."""

    passages: tuple[tuple[str, str], ...]
    rooms: dict[str, str]
    places: dict[str, str]

    def facts(self) -> list[Fact]:
        """The initial state, without traits and floors, which every world has by itself."""
        facts: list[Fact] = [("room", f"{kind}1", kind) for kind in ROOMS]
        for one, other in self.passages:
            facts += [("exit", f"{one}1", f"{other}1"), ("exit", f"{other}1", f"{one}1")]
        for kind, room in self.rooms.items():
            facts += [("type", f"{kind}1", kind), ("at", f"{kind}1", f"{room}1")]
        facts += [("closed", f"{kind}1") for kind in CONTAINERS]
        for item, receptacle in self.places.items():
            relation = "in" if receptacle in CONTAINERS else "on"
            name = f"{self.rooms[item]}1floor1" if receptacle == FLOOR else f"{receptacle}1"
            facts.append((relation, f"{item}1", name))
        return facts


def _layout(rng: random.Random, *, unusual: bool) -> Layout:
    """A house with everything in it; some of the furniture may stand in an unusual room."""
    rooms = {PLAYER: rng.choice(list(ROOMS))}
    rooms |= {kind: rng.choice(THINGS[kind].rooms) for kind in FURNITURE}
    if unusual:
        for kind in rng.sample(FURNITURE, rng.randint(0, UNUSUAL)):
            rooms[kind] = rng.choice(list(ROOMS))
    places = {}
    for item in ITEMS:
        rooms[item] = rng.choice(THINGS[item].rooms)
        near = [kind for kind in FURNITURE if rooms[kind] == rooms[item]]
        places[item] = rng.choice(near or [FLOOR])
    return Layout(rng.choice(_houses()), rooms, places)


@cache
def _houses() -> list[tuple[tuple[str, str], ...]]:
    """All ways to connect the rooms: each starts passages to some of its neighbours."""
    ways = []
    for kind, (neighbours, most) in ROOMS.items():
        ways.append(
            [
                frozenset(frozenset((kind, neighbour)) for neighbour in chosen)
                for count in range(most + 1)
                for chosen in itertools.combinations(neighbours, count)
            ]
        )
    houses = {frozenset().union(*choice) for choice in itertools.product(*ways)}
    order = list(ROOMS)
    connected = []
    for house in houses:
        passages = sorted(tuple(sorted(passage, key=order.index)) for passage in house)
        exits = {
            kind: [other for passage in house if kind in passage for other in passage - {kind}]
            for kind in ROOMS
        }
        if len(distances(exits, order[0])) == len(ROOMS):
            connected.append(tuple((one, other) for one, other in passages))
    return sorted(connected)


def _easy_goals(rng: random.Random, layout: Layout) -> list[Fact] | None:
    """Three things to put on the table; all of them can be seen without opening anything."""
    candidates = [
        item
        for item, place in layout.places.items()
        if place != "table" and place not in CONTAINERS
    ]
    if len(candidates) < GOALS:
        return None
    return [("on", f"{item}1", "table1") for item in rng.sample(candidates, GOALS)]


def _hard_goals(rng: random.Random, layout: Layout) -> list[Fact] | None:
    """Three things for three places; of either, some are or have to go into closed containers."""
    items = rng.sample(ITEMS, GOALS)
    targets = rng.sample(FURNITURE, GOALS)
    sources = [layout.places[item] for item in items]
    if any(source == target for source, target in zip(sources, targets, strict=True)):
        return None
    if not set(sources) & set(CONTAINERS) or not set(targets) & set(CONTAINERS):
        return None
    return [
        ("on" if target in SUPPORTS else "in", f"{item}1", f"{target}1")
        for item, target in zip(items, targets, strict=True)
    ]
