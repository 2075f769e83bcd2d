"""Instances of AdventureGame: generator, solver, splits, schema."""

from __future__ import annotations

import random
from collections import deque
from typing import Any

import pytest

from playpen import Experiment, Instance, Reply, ready_instances
from playpen.instance import SPLITS, InstanceError
from playpen.instance_sets import Checker
from playpen.replay import replay_script
from playpen_clembench.adventuregame.actions import ACTIONS, Failure, Named
from playpen_clembench.adventuregame.game import AdventureGame
from playpen_clembench.adventuregame.generate import LEVELS, OPTIMUM
from playpen_clembench.adventuregame.home import CONTAINERS, ITEMS, ROOMS, THINGS
from playpen_clembench.adventuregame.solver import shortest_solution
from playpen_clembench.adventuregame.world import Fact, World, parse_fact

GAME = AdventureGame()
EASY = [name for name, level in LEVELS.items() if level.difficulty == "easy"]
HARD = [name for name, level in LEVELS.items() if level.difficulty == "hard"]


@pytest.fixture(scope="module")
def ready() -> dict[str, list[Instance]]:
    return {split: ready_instances(GAME, split) for split in SPLITS}


def by_level(instances: list[Instance]) -> dict[str, list[Instance]]:
    levels: dict[str, list[Instance]] = {}
    for item in instances:
        levels.setdefault(item.experiment.name, []).append(item)
    return levels


def world_of(item: Instance) -> World:
    limited = item["action_definitions"] == ["basic_actions_v2_invlimit.json"]
    return World(map(parse_fact, item["initial_state"]), limited=limited)


def goals_of(item: Instance) -> list[Fact]:
    return [parse_fact(goal) for goal in item["goal_state"]]


# --- levels --------------------------------------------------------------------------------------


def test_levels_are_those_of_clembench() -> None:
    assert GAME.levels() == (
        "home_deliver_three_basic_easy",
        "home_deliver_three_planning_easy",
        "home_deliver_three_basic_easy_invlimittwo",
        "home_deliver_three_planning_easy_invlimittwo",
        "home_deliver_three_basic_hard",
        "home_deliver_three_planning_hard",
        "home_deliver_three_basic_hard_invlimittwo",
        "home_deliver_three_planning_hard_invlimittwo",
    )


def test_ready_splits(ready: dict[str, list[Instance]]) -> None:
    for split, instances in ready.items():
        levels = by_level(instances)
        assert tuple(levels) == GAME.levels()
        for name, items in levels.items():
            assert len(items) == (64 if split == "train" else 16)
            for item in items:
                assert item["variant"] == ("plan" if "planning" in name else "basic")
                assert world_of(item).limited == ("invlimit" in name)
                assert "prompt" not in item


def test_the_levels_of_a_difficulty_share_their_worlds(ready: dict[str, list[Instance]]) -> None:
    levels = by_level(ready["test"])
    for names in (EASY, HARD):
        worlds = [
            [(item["initial_state"], item["goal_state"]) for item in levels[name]] for name in names
        ]
        assert worlds == [worlds[0]] * 4


# --- worlds (docs/rules/adventuregame.md, "Our own part") -----------------------------------------


def reachable(world: World) -> set[str]:
    found, queue = {world.here}, deque([world.here])
    while queue:
        for room in world.exits[queue.popleft()]:
            if room not in found:
                found.add(room)
                queue.append(room)
    return found


def test_worlds_are_valid(ready: dict[str, list[Instance]]) -> None:
    for item in (item for instances in ready.values() for item in instances):
        world = world_of(item)
        assert sorted(world.exits) == sorted(f"{kind}1" for kind in ROOMS)
        assert reachable(world) == set(world.exits)
        for room, exits in world.exits.items():
            assert len(set(exits)) == len(exits)
            for other in exits:
                assert room in world.exits[other]
                one, two = world.kinds[room], world.kinds[other]
                assert two in ROOMS[one].neighbours or one in ROOMS[two].neighbours
        things = [kind for name, kind in world.kinds.items() if name in world.at]
        assert sorted(things) == sorted([*set(THINGS) - {"inventory"}, *["floor"] * 5])
        for kind in ITEMS:
            assert world.kinds[world.at[f"{kind}1"]] in THINGS[kind].rooms
            (place,) = world.places[f"{kind}1"]
            assert world.at[place.receptacle] == world.at[f"{kind}1"]
        assert world.states == {f"{kind}1": "closed" for kind in CONTAINERS}


def test_goals_fit_the_difficulty(ready: dict[str, list[Instance]]) -> None:
    unusual = 0
    for instances in ready.values():
        for name, items in by_level(instances).items():
            for item in items:
                world, goals = world_of(item), goals_of(item)
                assert len({thing for _, thing, _ in goals}) == 3
                assert not any(world.holds(goal) for goal in goals)
                targets = {target for _, _, target in goals}
                sources = {world.places[thing][0].receptacle for _, thing, _ in goals}
                containers = {f"{kind}1" for kind in CONTAINERS}
                if name in EASY:
                    assert targets == {"table1"}
                    assert not sources & containers
                else:
                    assert len(targets) == 3
                    assert targets & containers
                    assert sources & containers
                    unusual += world.kinds[world.at["bed1"]] != "bedroom"
                assert item["optimal_turns"] in OPTIMUM[LEVELS[name].difficulty]
                assert item["max_turns"] == 50
    assert unusual


def test_the_stated_solutions_win_in_the_stated_number_of_turns(
    ready: dict[str, list[Instance]],
) -> None:
    for item in ready["test"]:
        script = [*item["optimal_commands"], "done"]
        more = "\nNext actions: done" if item["variant"] == "plan" else ""
        replies = [("adventurer", Reply(f"> {command}{more}")) for command in script]
        result = replay_script(GAME, item, replies)
        assert (result.complete, result.unused) == (True, 0)
        assert result.episode.success
        assert len(item["optimal_commands"]) == item["optimal_turns"]
        assert [len(action) for action in item["optimal_solution"]] == [
            3 if command.startswith("put") else 2 for command in item["optimal_commands"]
        ]


# --- the solver, compared with a search that knows nothing but the actions -----------------------


def steps(world: World, goals: list[Fact]) -> list[World]:
    """All worlds after one action on what the goals are about."""

    def named(name: str) -> Named:
        return Named(world.kinds[name], name)

    items = [goal[1] for goal in goals]
    things = {goal[2] for goal in goals} | {f"{world.here}floor1"}
    things |= {place.receptacle for item in items for place in world.places[item]}
    tried: list[tuple[str, list[Named]]] = [("go", [named(r)]) for r in world.exits[world.here]]
    tried += [("open", [named(thing)]) for thing in sorted(things)]
    tried += [("take", [named(item)]) for item in items]
    tried += [("put", [named(item), named(thing)]) for item in items for thing in sorted(things)]
    found = []
    for action, arguments in tried:
        after = world.copy()
        try:
            ACTIONS[action](after, *arguments)
        except Failure:
            continue
        found.append(after)
    return found


def distance(world: World, goals: list[Fact], limit: int) -> int | None:
    def state(world: World) -> Any:
        places = tuple(frozenset(world.places[goal[1]]) for goal in goals)
        return world.here, places, tuple(world.states.values()), world.accessible

    layer, seen = [world], {state(world)}
    for count in range(1, limit + 1):
        following = []
        for one in layer:
            for other in steps(one, goals):
                if all(other.holds(goal) for goal in goals):
                    return count
                if state(other) not in seen:
                    seen.add(state(other))
                    following.append(other)
        layer = following
    return None


SMALL = """
    room(kitchen1,kitchen) room(hallway1,hallway) room(livingroom1,livingroom)
    room(pantry1,pantry) exit(kitchen1,hallway1) exit(hallway1,kitchen1)
    exit(hallway1,livingroom1) exit(livingroom1,hallway1) exit(pantry1,hallway1)
    exit(hallway1,pantry1) type(player1,player)
    type(freezer1,freezer) type(cupboard1,cupboard) type(table1,table) type(shelf1,shelf)
    type(apple1,apple) type(book1,book) type(mop1,mop)
    closed(freezer1) closed(cupboard1)
"""


def small_world(rng: random.Random) -> tuple[list[Fact], list[Fact]]:
    rooms = ("kitchen1", "hallway1", "livingroom1", "pantry1")
    furniture = ("freezer1", "cupboard1", "table1", "shelf1")
    facts = [parse_fact(text) for text in SMALL.split()]
    where = {name: rng.choice(rooms) for name in ("player1", *furniture)}
    goals: list[Fact] = []
    for item in ("apple1", "book1", "mop1"):
        source, target = rng.sample(furniture, 2)
        where[item] = where[source]
        facts.append(("on" if source in ("table1", "shelf1") else "in", item, source))
        goals.append(("on" if target in ("table1", "shelf1") else "in", item, target))
    return facts + [("at", name, room) for name, room in where.items()], goals


@pytest.mark.parametrize("limited", [False, True])
def test_solutions_are_the_shortest(limited: bool) -> None:
    rng = random.Random(7)
    checked = 0
    while checked < 4:
        facts, goals = small_world(rng)
        solution = shortest_solution(World(facts, limited=limited), goals)
        assert solution is not None
        if len(solution) <= 7:
            checked += 1
            found = distance(World(facts, limited=limited), goals, len(solution))
            assert found == len(solution)


# --- arguments of the generator ------------------------------------------------------------------


def test_a_used_up_difficulty_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("playpen_clembench.adventuregame.generate.FRUITLESS", 1)
    with pytest.raises(InstanceError, match=r"easy levels give 0 instances.*not 5"):
        GAME.generate("test", seed=1, level=EASY[0], n=5)


# --- fingerprints --------------------------------------------------------------------------------


def test_a_fingerprint_is_the_house_as_far_as_the_goals_go() -> None:
    def mark(state: list[str], goals: list[str]) -> str:
        data = {**own(), "initial_state": state, "goal_state": goals}
        return GAME.fingerprint(Instance(GAME.name, Experiment("x", {}), data))

    state = [
        *("exit(a,b)", "exit(b,a)", "type(player1,player)", "at(player1,a)", "at(table1,a)"),
        *("at(apple1,b)", "in(apple1,freezer1)", "at(freezer1,b)", "closed(freezer1)"),
        "at(mop1,a)",
    ]
    goals = ["on(apple1,table1)"]
    first = mark(state, goals)
    assert mark(state[::-1], goals) == first
    assert mark([*state, "takeable(apple1)", "support(table1)"], goals) == first
    assert mark([*state[:-1], "at(mop1,b)"], goals) == first
    for place, fact in [(0, "exit(a,c)"), (3, "at(player1,b)"), (4, "at(table1,b)")]:
        assert mark([*state[:place], fact, *state[place + 1 :]], goals) != first
    assert mark([*state[:-2], "open(freezer1)"], goals) != first
    assert mark(state, ["on(mop1,table1)"]) != first


# --- schema --------------------------------------------------------------------------------------

CHECKER = Checker(GAME)
OFFICIAL = {
    "prompt": "Put the apple on the table.\n\n",
    "room_definitions": ["home_rooms.json"],
    "entity_definitions": ["home_entities.json"],
    "domain_definitions": ["home_domain.json"],
    "note": "another field",
}


def own() -> dict[str, Any]:
    document = GAME.generate("train", level=HARD[0], n=1)
    return dict(document["experiments"][0]["game_instances"][0])


def test_our_own_and_official_instances_are_valid() -> None:
    traits = ["takeable(apple1)", "support(table1)", "adj(apple1,ripe)", "needs_support(apple1)"]
    assert CHECKER.errors("experiment", {}) == []
    assert CHECKER.errors("instance", own()) == []
    official = {**own(), **OFFICIAL, "initial_state": [*own()["initial_state"], *traits]}
    assert CHECKER.errors("instance", official) == []


@pytest.mark.parametrize(
    "field",
    [
        *("game_id", "variant", "initial_state", "goal_state", "max_turns", "optimal_turns"),
        "action_definitions",
    ],
)
def test_every_field_that_the_rules_need_is_required(field: str) -> None:
    item = own()
    del item[field]
    assert any(field in line for line in CHECKER.errors("instance", item))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("game_id", -1),
        ("variant", "planning"),
        ("prompt", None),
        ("lang", ""),
        ("initial_state", []),
        ("initial_state", [*own()["initial_state"], "type(grape1,grape)"]),
        ("initial_state", [*own()["initial_state"], "room(attic1,attic)"]),
        ("initial_state", [*own()["initial_state"], "on(apple1)"]),
        ("initial_state", [*own()["initial_state"], "likes(apple1,table1)"]),
        ("initial_state", [*own()["initial_state"], "open(freezer1"]),
        ("goal_state", []),
        ("goal_state", ["at(apple1,kitchen1)"]),
        ("goal_state", ["on(apple1,table1)", "on(apple1,table1)"]),
        ("max_turns", 0),
        ("max_turns", 501),
        ("max_turns", "50"),
        ("optimal_turns", 0),
        ("action_definitions", []),
        ("action_definitions", ["new_words_actions.json"]),
        ("action_definitions", [{"open": {}}]),
        ("room_definitions", ["castle_rooms.json"]),
        ("entity_definitions", [{}]),
        ("domain_definitions", ["potions.json"]),
    ],
)
def test_faulty_fields_are_refused(field: str, value: object) -> None:
    errors = CHECKER.errors("instance", {**own(), field: value})
    assert any(field in line for line in errors)
