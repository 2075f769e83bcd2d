"""World, actions, goals and exploration of AdventureGame.

See docs/rules/adventuregame.md, "The home world", "Violations" and "Exploration values".
"""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from playpen_clembench.adventuregame import feedback
from playpen_clembench.adventuregame.home import ROOMS, THINGS
from playpen_clembench.adventuregame.interpreter import Interpreter, Result
from playpen_clembench.adventuregame.language import language
from playpen_clembench.adventuregame.world import World, WorldError, fact_text, parse_fact

ENGLISH = language("en")
HOUSE = """
    room(kitchen1,kitchen) room(pantry1,pantry) room(hallway1,hallway)
    room(livingroom1,livingroom)
    exit(kitchen1,pantry1) exit(pantry1,kitchen1) exit(kitchen1,hallway1) exit(hallway1,kitchen1)
    exit(hallway1,livingroom1) exit(livingroom1,hallway1)
    type(player1,player) at(player1,kitchen1)
    type(counter1,counter) at(counter1,kitchen1)
    type(table1,table) at(table1,livingroom1)
    type(refrigerator1,refrigerator) at(refrigerator1,kitchen1) closed(refrigerator1)
    type(cupboard1,cupboard) at(cupboard1,kitchen1) open(cupboard1)
    type(freezer1,freezer) at(freezer1,pantry1) closed(freezer1)
    type(apple1,apple) at(apple1,kitchen1) in(apple1,refrigerator1)
    type(plate1,plate) at(plate1,kitchen1) on(plate1,counter1)
    type(banana1,banana) at(banana1,kitchen1) in(banana1,cupboard1)
    type(mop1,mop) at(mop1,hallway1) on(mop1,hallway1floor1)
    type(book1,book) at(book1,livingroom1) on(book1,table1)
"""
GOALS = ("on(plate1,table1)", "in(mop1,refrigerator1)")


def facts(text: str = HOUSE) -> list[tuple[str, ...]]:
    return [parse_fact(word) for word in text.split()]


def house(*, limited: bool = False, goals: Iterable[str] = GOALS) -> Interpreter:
    world = World(facts(), limited=limited)
    return Interpreter(ENGLISH, world, frozenset(map(parse_fact, goals)))


def outcome(interpreter: Interpreter, command: str) -> str | None:
    """The failure's phase and type, or `None`."""
    failure = interpreter.execute(command).failure
    return None if failure is None else f"{failure.phase} {failure.type}"


def run(interpreter: Interpreter, *commands: str) -> None:
    for command in commands:
        assert outcome(interpreter, command) is None, command


def true_facts(world: World) -> set[str]:
    return {
        fact_text((relation, name, receptacle))
        for name, places in world.places.items()
        for relation, receptacle in places
    }


BOTH = pytest.mark.parametrize("limited", [False, True], ids=["unlimited", "invlimit"])


# --- set-up --------------------------------------------------------------------------------------


def test_facts_are_split_at_the_first_bracket_and_comma() -> None:
    assert parse_fact("on(apple1,table1)") == ("on", "apple1", "table1")
    assert parse_fact("closed(freezer1)") == ("closed", "freezer1")
    assert fact_text(parse_fact("in(a,b)")) == "in(a,b)"


def test_every_room_has_a_floor() -> None:
    world = World(facts())
    assert world.at["kitchen1floor1"] == "kitchen1"
    assert world.kinds["pantry1floor1"] == "floor"
    named = World(
        [*facts(), ("type", "kitchen1floor1", "floor"), ("at", "kitchen1floor1", "kitchen1")]
    )
    assert named.kinds.keys() == world.kinds.keys()


def test_what_is_accessible_at_the_beginning() -> None:
    accessible = World(facts()).accessible
    assert {"plate1", "banana1", "mop1", "counter1", "freezer1"} <= accessible
    assert not {"apple1", "player1", "kitchen1floor1", "inventory"} & accessible


def test_traits_that_are_stated_change_nothing() -> None:
    stated = [*facts(), ("takeable", "apple1"), ("support", "table1"), ("adj", "apple1", "ripe")]
    assert true_facts(World(stated)) == true_facts(World(facts()))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HOUSE.replace("at(player1,kitchen1)", ""), "one player"),
        (HOUSE.replace("at(player1,kitchen1)", "at(player1,table1)"), "one player"),
        (HOUSE + "type(you,player) at(you,kitchen1)", "one player"),
        (HOUSE.replace("type(apple1,apple)", ""), "no kind is given for apple1"),
        (HOUSE.replace("type(apple1,apple)", "type(apple1,grape)"), "unknown kinds.*grape"),
        (HOUSE + "on(mop1,refrigerator1)", "refrigerator1.*no support"),
        (HOUSE + "exit(pantry1,cellar1)", "cellar1"),
    ],
)
def test_faulty_worlds_are_refused(text: str, message: str) -> None:
    with pytest.raises(WorldError, match=message):
        World(facts(text))


def test_goals_about_nothing_are_refused() -> None:
    with pytest.raises(WorldError, match="pillow1"):
        house(goals=["on(pillow1,table1)"])


def test_the_home_has_the_kinds_of_the_rules() -> None:
    assert len(ROOMS) == 6
    assert len(THINGS) == 25
    receptacles = {kind for kind, thing in THINGS.items() if "receptacle" in thing.traits}
    assert len(receptacles) == 13
    assert all(set(kind.rooms) <= ROOMS.keys() for kind in THINGS.values())


# --- parsing phase -------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("take 1", "parsing lark_exception"),
        ("take plate and mop", "parsing malformed_command"),
        ("dance", "parsing undefined_action_verb"),
        ("take unicorn", "parsing undefined_repr_str"),
        ("go livingroom", "parsing undefined_repr_str"),
        ("take kitchen", "parsing manipulating_room"),
        ("take kitchen from inventory", "parsing manipulating_room"),
        ("put hallway on counter", "parsing manipulating_room"),
        ("open pantry", "parsing manipulating_room"),
        ("close living room", "parsing manipulating_room"),
        ("take plate from inventory", "parsing taking_from_inventory"),
        ("take pillow from inventory", "parsing taking_from_inventory"),
        ("take unicorn from inventory", "parsing undefined_repr_str"),
        ("take plate from unicorn", "parsing undefined_repr_str"),
        ("take plate from pantry", "parsing other_room_argument"),
        ("put plate in living room", "parsing other_room_argument"),
        ("take plate from kitchen", "resolution domain_trait_type_mismatch"),
        ("done", None),
    ],
)
def test_parsing_phase(limited: bool, command: str, expected: str | None) -> None:
    assert outcome(house(limited=limited), command) == expected


def test_taking_from_the_inventory_what_is_in_it_fails_in_the_other_phase() -> None:
    interpreter = house()
    run(interpreter, "take plate")
    result = interpreter.execute("take plate from inventory")
    assert result.failure is not None
    assert (result.failure.phase, result.failure.type) == ("resolution", "taking_from_inventory")
    assert result.action is None


def test_the_living_room_can_never_be_named_as_a_place() -> None:
    interpreter = house()
    run(interpreter, "go hallway", "go living room")
    assert outcome(interpreter, "take book from living room") == "parsing other_room_argument"


# --- resolution phase ----------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize(
    ("commands", "expected"),
    [
        (["open refrigerator"], None),
        (["open plate"], "domain_trait_type_mismatch"),
        (["open counter"], "domain_trait_type_mismatch"),
        (["open inventory"], "domain_trait_type_mismatch"),
        (["open freezer"], "entity_not_accessible"),
        (["open wardrobe"], "entity_not_accessible"),
        (["open cupboard"], "entity_state_mismatch"),
        (["close cupboard"], None),
        (["close plate"], "domain_trait_type_mismatch"),
        (["close freezer"], "entity_not_accessible"),
        (["close refrigerator"], "entity_state_mismatch"),
        (["go pantry"], None),
        (["go counter"], "domain_trait_type_mismatch"),
        (["go kitchen"], "going_to_current_room"),
        (["go living room"], "no_exit_to"),
        (["go bedroom"], "no_exit_to"),
        (["take plate"], None),
        (["take plate from counter"], None),
        (["take banana out of cupboard"], None),
        (["take counter"], "domain_trait_type_mismatch"),
        (["take you"], "domain_trait_type_mismatch"),
        (["take plate from apple"], "domain_trait_type_mismatch"),
        (["take mop"], "entity_not_accessible"),
        (["take pillow"], "entity_not_accessible"),
        (["take apple"], "entity_not_accessible"),
        (["take apple from refrigerator"], "entity_not_accessible"),
        (["take plate from cupboard"], "entity_state_mismatch"),
        (["take banana", "close cupboard", "take plate from cupboard"], "entity_state_mismatch"),
        (["open refrigerator", "take apple"], None),
        (["open refrigerator", "close refrigerator", "take apple"], "entity_not_accessible"),
        (["take plate", "put plate on counter"], None),
        (["take plate", "put plate in cupboard"], None),
        (["put counter on table"], "domain_trait_type_mismatch"),
        (["put plate on banana"], "domain_trait_type_mismatch"),
        (["put mop on counter"], "entity_not_accessible"),
        (["put plate on table"], "entity_not_accessible"),
        (["put plate in inventory"], "entity_not_accessible"),
        (["put plate in refrigerator"], "entity_state_mismatch"),
        (["examine plate"], None),
        (["take plate", "examine plate"], None),
        (["examine refrigerator"], None),
        (["examine kitchen"], "domain_type_discrepancy"),
        (["examine living room"], "domain_type_discrepancy"),
        (["examine mop"], "entity_not_accessible"),
        (["examine apple"], "entity_not_accessible"),
        (["examine inventory"], "entity_not_accessible"),
        (["examine floor"], "entity_not_accessible"),
        (["examine you"], "entity_not_accessible"),
    ],
)
def test_resolution_phase(limited: bool, commands: list[str], expected: str | None) -> None:
    interpreter = house(limited=limited)
    *before, last = commands
    run(interpreter, *before)
    assert outcome(interpreter, last) == (None if expected is None else f"resolution {expected}")


@pytest.mark.parametrize(
    ("commands", "unlimited", "limited"),
    [
        (["take plate from table"], "entity_already_inventory", "entity_not_accessible"),
        (["take plate", "take plate"], "entity_state_mismatch", "entity_already_inventory"),
        (
            ["take plate", "take plate from counter"],
            "entity_state_mismatch",
            "entity_already_inventory",
        ),
        (
            ["take plate", "take plate from chair"],
            "entity_state_mismatch",
            "entity_already_inventory",
        ),
        (["take plate", "take banana", "go hallway", "take mop"], None, "inventory_limit_exceeded"),
    ],
)
def test_the_two_rule_sets_differ_in_take(
    commands: list[str], unlimited: str | None, limited: str | None
) -> None:
    for expected, interpreter in ((unlimited, house()), (limited, house(limited=True))):
        *before, last = commands
        run(interpreter, *before)
        assert outcome(interpreter, last) == (
            None if expected is None else f"resolution {expected}"
        )


def test_effects() -> None:
    interpreter = house()
    world = interpreter.world
    run(interpreter, "take plate")
    assert {"in(plate1,inventory)"} == {f for f in true_facts(world) if "plate1" in f}
    run(interpreter, "go hallway")
    assert (world.here, world.at["plate1"]) == ("hallway1", "hallway1")
    run(interpreter, "go kitchen", "put plate in cupboard")
    assert {"in(plate1,cupboard1)"} == {f for f in true_facts(world) if "plate1" in f}
    run(interpreter, "close cupboard")
    assert not {"plate1", "banana1"} & world.accessible
    assert world.states["cupboard1"] == "closed"


def test_a_place_in_the_hands_becomes_free_when_something_is_put() -> None:
    interpreter = house(limited=True)
    run(interpreter, "take plate", "take banana")
    assert interpreter.world.count == 2
    run(interpreter, "put plate on counter", "open refrigerator", "take apple")
    assert interpreter.world.count == 2
    run(interpreter, "put plate in cupboard")  # which was not carried
    assert interpreter.world.count == 2
    assert outcome(interpreter, "take plate") == "resolution inventory_limit_exceeded"


# --- traps (docs/rules/adventuregame.md, "Reproduced on purpose") ---------------------------------


def test_put_needs_no_take_and_leaves_the_thing_where_it_was() -> None:
    interpreter = house(goals=["in(plate1,cupboard1)", "on(plate1,counter1)"])
    run(interpreter, "put plate in cupboard")
    assert {"on(plate1,counter1)", "in(plate1,cupboard1)"} <= true_facts(interpreter.world)
    assert interpreter.achieved == interpreter.goals
    run(interpreter, "take plate")  # from the latest place
    assert "on(plate1,counter1)" in true_facts(interpreter.world)
    assert "in(plate1,cupboard1)" not in true_facts(interpreter.world)
    assert len(interpreter.achieved) == 1


def test_put_takes_a_thing_out_of_a_closed_container() -> None:
    interpreter = house(goals=["on(apple1,counter1)"])
    run(interpreter, "put apple on counter")
    assert interpreter.achieved == interpreter.goals
    assert outcome(interpreter, "take apple") == "resolution entity_not_accessible"
    run(interpreter, "open refrigerator", "take apple from counter")
    assert {"in(apple1,refrigerator1)", "in(apple1,inventory)"} == {
        fact for fact in true_facts(interpreter.world) if "apple1" in fact
    }


@BOTH
def test_the_floor_is_that_of_the_room(limited: bool) -> None:
    interpreter = house(limited=limited)
    run(interpreter, "take plate", "put plate on floor")
    assert "on(plate1,kitchen1floor1)" in true_facts(interpreter.world)
    run(interpreter, "take plate from the floor", "go hallway", "pick up the mop from floor")


def test_an_item_on_the_floor_elsewhere() -> None:
    assert outcome(house(), "take plate from floor") == "resolution entity_state_mismatch"


# --- achieved goals ------------------------------------------------------------------------------


def test_goals_are_reported_after_successful_commands_only() -> None:
    interpreter = house(goals=["in(plate1,cupboard1)"])
    run(interpreter, "put plate in cupboard")
    assert outcome(interpreter, "dance") == "parsing undefined_action_verb"
    assert interpreter.achieved == interpreter.goals
    run(interpreter, "take plate")
    assert interpreter.achieved == frozenset()


# --- exploration ---------------------------------------------------------------------------------


def measures(interpreter: Interpreter, command: str) -> dict[str, float]:
    result = interpreter.execute(command)
    return interpreter.exploration.measures(result.action)


def test_exploration_measures() -> None:
    # 11 things and 4 floors; goal things: plate1, table1, mop1, refrigerator1.
    interpreter = house()
    opened = measures(interpreter, "open refrigerator")
    assert opened == {
        "epistemic_action": 1,
        "pragmatic_action": 1,
        "effective_epistemic_gain_amount": 3,  # open(refrigerator1), and at and in of the apple
        "known_entities_ratio": 7 / 15,
        "visited_rooms_ratio": 1 / 4,
        "known_goal_entities_ratio": 2 / 4,
    }
    gone = measures(interpreter, "go hallway")
    assert gone["effective_epistemic_gain_amount"] == 5  # at of two, on, two exits
    assert gone["known_entities_ratio"] == 8 / 15
    assert gone["visited_rooms_ratio"] == 2 / 4
    assert gone["known_goal_entities_ratio"] == 3 / 4


@pytest.mark.parametrize(
    ("command", "epistemic", "pragmatic"),
    [
        ("open refrigerator", 1, 1),
        ("open cupboard", 1, 1),
        ("close cupboard", 0, 0),
        ("take plate", 0, 1),
        ("take mop", 0, 1),
        ("put plate in cupboard", 0, 1),
        ("go pantry", 1, 1),
        ("go bedroom", 1, 1),
        ("examine plate", 1, 0),
        ("examine kitchen", 1, 0),
        ("done", 0, 1),
        ("go nowhere", 0, 0),
        ("take plate from inventory", 0, 0),
    ],
)
def test_flags_of_actions(command: str, epistemic: int, pragmatic: int) -> None:
    found = measures(house(), command)
    assert (found["epistemic_action"], found["pragmatic_action"]) == (epistemic, pragmatic)


def test_facts_that_an_action_removes_are_no_longer_known() -> None:
    interpreter = house()
    before = measures(interpreter, "examine counter")["known_entities_ratio"]
    run(interpreter, "take plate", "go hallway")
    # The plate came along: it is known in one room, not two.
    assert measures(interpreter, "examine mop")["known_entities_ratio"] == before + 1 / 15


# --- feedback ------------------------------------------------------------------------------------


def said(interpreter: Interpreter, command: str) -> str:
    result: Result = interpreter.execute(command)
    return feedback.describe_result(interpreter.world, ENGLISH, result)


def test_the_room_is_described_as_far_as_it_can_be_seen() -> None:
    text = feedback.describe_room(house().world, ENGLISH)
    assert text == (
        "You are in the kitchen. You see a counter, a refrigerator (closed), a cupboard (open), "
        "a plate (on the counter) and a banana (in the cupboard). "
        "From here you can go to the pantry and the hallway."
    )
    assert "apple" not in text


def test_an_empty_room() -> None:
    world = World([*facts("room(pantry1,pantry) type(player1,player) at(player1,pantry1)")])
    assert feedback.describe_room(world, ENGLISH) == (
        "You are in the pantry. You see nothing of use. There is no way out of here."
    )


@pytest.mark.parametrize(
    ("commands", "text"),
    [
        (["open refrigerator"], "You open the refrigerator. Inside: an apple."),
        (["go pantry", "open freezer"], "You open the freezer. It is empty."),
        (["close cupboard"], "You close the cupboard."),
        (["take banana", "take plate"], "You take the plate. You now carry a plate and a banana."),
        (["put plate into cupboard"], "You put the plate into the cupboard."),
        (["put plate cupboard"], "You put the plate in the cupboard."),
        (
            ["examine cupboard"],
            "You look at the cupboard. It can be opened and closed, and it is open. "
            "Inside: a banana.",
        ),
        (
            ["examine refrigerator"],
            "You look at the refrigerator. It can be opened and closed, and it is closed.",
        ),
        (["examine counter"], "You look at the counter. On it: a plate."),
        (["take plate", "examine counter"], "You look at the counter. There is nothing on it."),
        (["examine plate"], "You look at the plate. It can be taken. It is on the counter."),
        (["take plate", "examine plate"], "You look at the plate. It can be taken. You carry it."),
        (["open cupboard"], "The cupboard is already open."),
        (["put plate in refrigerator"], "The refrigerator is closed."),
        (["take unicorn"], '"unicorn" is not a thing or a room that is known here.'),
        (["sing $THING$"], '"sing $THING$" does not read like a command'),
        (["sing loudly"], '"sing" is not an action that is known here.'),
        (["take apple"], "The apple is not within your reach here."),
        (["take plate from table"], "The table is not within your reach here."),
        (["go bedroom"], "There is no way from here to the bedroom."),
    ],
)
def test_feedback(commands: list[str], text: str) -> None:
    interpreter = house()
    *before, last = commands
    run(interpreter, *before)
    assert said(interpreter, last).startswith(text)


def test_every_failure_has_a_sentence() -> None:
    for kind in THINGS:
        for verb in (
            "open",
            "close",
            "go to",
            "take",
            "examine",
            "put apple on",
            "take plate from",
        ):
            for limited in (False, True):
                text = said(house(limited=limited), f"{verb} {ENGLISH.words.names[kind].plain}")
                assert "$" not in text
                assert text[0].isupper() or text[0] == '"'
