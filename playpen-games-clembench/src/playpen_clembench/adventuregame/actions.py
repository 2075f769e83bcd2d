"""What the commands do in the world, and when they fail.

See docs/rules/adventuregame.md, "Resolution phase".
The checks of an action come in a fixed order; the first that fails gives the type of the failure.
An action returns the facts that it made false: they count in the exploration values
(docs/rules/adventuregame.md, "Exploration values").
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple, TypeAlias

from playpen_clembench.adventuregame.home import INVENTORY, is_a
from playpen_clembench.adventuregame.world import CARRY_LIMIT, HANDS, Fact, Place, World

Phase: TypeAlias = Literal["parsing", "resolution"]


class Failure(Exception):
    """A command that cannot be carried out.

    Args:
        type: upstream's name of the failure.
        sentence: name of the sentence that says so to the player.
        phase: whether it was not understood (``parsing``) or is impossible (``resolution``).
        kinds: the kinds of rooms and things that the sentence names.
        words: further words that the sentence quotes.
    """

    def __init__(
        self,
        type: str,
        sentence: str,
        phase: Phase = "resolution",
        *,
        kinds: dict[str, str] | None = None,
        words: dict[str, str] | None = None,
    ) -> None:
        super().__init__(type)
        self.type = type
        self.sentence = sentence
        self.phase: Phase = phase
        self.kinds = kinds or {}
        self.words = words or {}


class Named(NamedTuple):
    """What a command names: a kind, and the room or thing that the kind stands for, if any."""

    kind: str
    name: str | None


Removed: TypeAlias = frozenset[Fact]
NOTHING: Removed = frozenset()


def open_(world: World, thing: Named) -> Removed:
    """Open a container; what is in it becomes accessible."""
    _must_be(thing, "openable", "not_openable")
    name = _in_room(world, thing)
    if world.states.get(name) != "closed":
        raise _failure("entity_state_mismatch", "already_open", thing)
    world.states[name] = "open"
    world.accessible |= frozenset(world.contents(name, "in"))
    return frozenset({("closed", name)})


def close(world: World, thing: Named) -> Removed:
    """Close a container; what is in it is no longer accessible."""
    _must_be(thing, "openable", "not_openable")
    name = _in_room(world, thing)
    if world.states.get(name) != "open":
        raise _failure("entity_state_mismatch", "already_closed", thing)
    world.states[name] = "closed"
    world.accessible -= frozenset(world.contents(name, "in"))
    return frozenset({("open", name)})


def go(world: World, room: Named) -> Removed:
    """Go to a neighbouring room; what is carried comes along."""
    _must_be(room, "room", "not_a_room")
    here = world.here
    if room.name == here:
        raise _failure("going_to_current_room", "already_here", room)
    if room.name is None or room.name not in world.exits[here]:
        raise _failure("no_exit_to", "no_exit", room)
    moved = [world.player, *world.carried()]
    removed = frozenset(("at", name, world.at[name]) for name in moved)
    world.at.update(dict.fromkeys(moved, room.name))
    return removed


def take(world: World, item: Named, source: Named | None = None) -> Removed:
    """Take an item, from its latest place unless another is named."""
    _must_be(item, "takeable", "not_takeable")
    if source is None:
        source = _latest_place(world, item)
    _must_be(source, "receptacle", "not_a_receptacle")
    name = _in_room(world, item)
    if world.limited:
        if world.is_carried(name):
            raise _failure("entity_already_inventory", "already_carried", item)
        _in_room(world, source)
    elif not world.is_carried(name) and not world.is_here(source.name):
        # The type is upstream's; what it means is that the source is elsewhere.
        raise _failure("entity_already_inventory", "not_here", source)
    if name not in world.accessible:
        raise _failure("entity_not_accessible", "not_here", item)
    if world.limited and world.count >= CARRY_LIMIT:
        raise _failure("inventory_limit_exceeded", "hands_full", item)
    place = None if source.name is None else _place_in(source.kind, source.name)
    if (
        place is None
        or place not in world.places.get(name, ())
        or (place.relation == "in" and not world.is_open(place.receptacle))
    ):
        sentence = "already_carried" if world.is_carried(name) else "not_there"
        raise _failure("entity_state_mismatch", sentence, item, source)
    world.remove_place(name, place)
    world.add_place(name, HANDS)
    return frozenset({(place.relation, name, place.receptacle), *_count(world, 1)})


def put(world: World, item: Named, target: Named) -> Removed:
    """Put an item somewhere.  It need not be carried, and it also stays where it lay."""
    _must_be(item, "movable", "not_takeable")
    _must_be(target, "receptacle", "not_a_receptacle")
    name = _in_room(world, item)
    receptacle = _in_room(world, target)
    if not is_a(target.kind, "support") and not world.is_open(receptacle):
        raise _failure("entity_state_mismatch", "closed_place", target)
    removed = _count(world, -1) if world.is_carried(name) else NOTHING
    world.remove_place(name, HANDS)
    world.add_place(name, _place_in(target.kind, receptacle))
    return removed | {("in", name, INVENTORY)}


def examine(world: World, thing: Named) -> Removed:
    """Look closely at a thing."""
    _must_be(thing, "entity", "not_a_thing", type="domain_type_discrepancy")
    if _in_room(world, thing) not in world.accessible:
        raise _failure("entity_not_accessible", "not_here", thing)
    return NOTHING


def done(world: World) -> Removed:
    """End the game; nothing changes in the world."""
    return NOTHING


ACTIONS: dict[str, Callable[..., Removed]] = {
    "open": open_,
    "close": close,
    "go": go,
    "take": take,
    "put": put,
    "examine": examine,
    "done": done,
}


def _failure(type: str, sentence: str, thing: Named, second: Named | None = None) -> Failure:
    kinds = {"THING": thing.kind}
    if second is not None:
        kinds["PLACE"] = second.kind
    return Failure(type, sentence, kinds=kinds)


def _must_be(
    thing: Named, trait: str, sentence: str, type: str = "domain_trait_type_mismatch"
) -> None:
    if not is_a(thing.kind, trait):
        raise _failure(type, sentence, thing)


def _in_room(world: World, thing: Named) -> str:
    """The thing's name, if it is in the player's room, carried or shut away as it may be."""
    if thing.name is None or not world.is_here(thing.name):
        raise _failure("entity_not_accessible", "not_here", thing)
    return thing.name


def _latest_place(world: World, item: Named) -> Named:
    places = world.places.get(item.name or "", ())
    if not places:
        raise _failure("entity_not_accessible", "not_here", item)
    name = places[-1].receptacle
    return Named(world.kinds[name], name)


def _place_in(kind: str, name: str) -> Place:
    return Place("on" if is_a(kind, "support") else "in", name)


def _count(world: World, change: int) -> Removed:
    """Count what is carried, where the rules set a limit."""
    if not world.limited:
        return NOTHING
    before = world.count
    world.count += change
    return frozenset({("itemcount", INVENTORY, str(before))})
