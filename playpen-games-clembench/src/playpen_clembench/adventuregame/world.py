"""The state of a world: where everything is, what is open, what is carried."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeAlias

from playpen_clembench.adventuregame.home import (
    FLOOR,
    HIDDEN,
    INVENTORY,
    PLAYER,
    ROOMS,
    THINGS,
    is_a,
)

Fact: TypeAlias = tuple[str, ...]
"""A predicate and its arguments, such as ``("on", "apple1", "table1")``."""

CARRY_LIMIT = 2
"""How many things can be carried where the rules set a limit."""


class WorldError(ValueError):
    """The facts of an instance do not make a world that can be played."""


class Place(NamedTuple):
    """Where a thing lies: ``on`` or ``in`` what."""

    relation: str
    receptacle: str


HANDS = Place("in", INVENTORY)
"""Where things are that are carried."""


def parse_fact(text: str) -> Fact:
    """The fact that a text such as ``on(apple1,table1)`` states."""
    predicate, _, arguments = text.partition("(")
    first, comma, second = arguments.removesuffix(")").partition(",")
    return (predicate, first, second) if comma else (predicate, first)


def fact_text(fact: Fact) -> str:
    """The text of a fact; the inverse of `parse_fact`."""
    predicate, *arguments = fact
    return f"{predicate}({','.join(arguments)})"


class World:
    """A world.  Instances of rooms and things have names such as ``table1``.

    Attributes:
        kinds: kind of every room and thing, in the order of the instance.
        instances: for each kind its rooms or things.
        player: the thing that is the player.
        exits: for each room the rooms that one can go to.
        at: the room of every thing, the player and what is carried included.
        places: for each thing what it lies on or in, the latest place last.  A thing can be in
            two places at once: ``put`` does not take it away from where it was.
        states: ``open`` or ``closed``, for what can be either.
        accessible: the things that can be taken and examined if they are here.
        limited: whether only `CARRY_LIMIT` things can be carried.
        count: how many things are carried, as far as the limit is concerned.
    """

    __slots__ = (
        "accessible",
        "at",
        "count",
        "exits",
        "instances",
        "kinds",
        "limited",
        "places",
        "player",
        "states",
    )

    def __init__(self, facts: Iterable[Fact], *, limited: bool = False) -> None:
        """Set the world up.

        Traits follow from the kinds, so facts that state them are not needed; every room gets a
        floor if it has none.

        Raises:
            WorldError: there is no player in a room, or a thing has no kind or no fitting place.
        """
        self.kinds: dict[str, str] = {INVENTORY: INVENTORY}
        self.exits: dict[str, tuple[str, ...]] = {}
        self.at: dict[str, str] = {}
        self.places: dict[str, tuple[Place, ...]] = {}
        self.states: dict[str, str] = {}
        self.limited = limited
        self.count = 0
        for predicate, name, *more in facts:
            match predicate:
                case "room":
                    self.kinds[name] = more[0]
                    self.exits.setdefault(name, ())
                case "type":
                    self.kinds[name] = more[0]
                case "exit":
                    self.exits[name] = (*self.exits.get(name, ()), more[0])
                case "at":
                    self.at[name] = more[0]
                case "on" | "in":
                    self.places[name] = (*self.places.get(name, ()), Place(predicate, more[0]))
                case "open" | "closed":
                    self.states[name] = predicate
        for room in self.exits:
            floor = f"{room}floor1"
            self.kinds.setdefault(floor, FLOOR)
            self.at.setdefault(floor, room)
        self.instances: dict[str, list[str]] = {}
        for name, kind in self.kinds.items():
            self.instances.setdefault(kind, []).append(name)
        self._check()
        self.player = self.instances[PLAYER][0]
        self.accessible = frozenset(name for name in self.at if self._starts_accessible(name))

    def _check(self) -> None:
        if unknown := self.instances.keys() - ROOMS.keys() - THINGS.keys():
            raise WorldError(f"unknown kinds of rooms or things: {', '.join(sorted(unknown))}")
        used = {*self.at, *self.at.values(), *self.places, *self.exits, *self.states}
        used.update(room for exits in self.exits.values() for room in exits)
        used.update(place.receptacle for places in self.places.values() for place in places)
        if unknown := used - self.kinds.keys():
            raise WorldError(f"no kind is given for {', '.join(sorted(unknown))}")
        for name, places in self.places.items():
            for relation, receptacle in places:
                trait = "support" if relation == "on" else "container"
                if not is_a(self.kinds[receptacle], trait):
                    raise WorldError(f"{relation}({name},{receptacle}): that is no {trait}")
        players = self.instances.get(PLAYER, [])
        if len(players) != 1 or self.at.get(players[0]) not in self.exits:
            raise WorldError("there must be one player, and it must be in a room")

    def _starts_accessible(self, name: str) -> bool:
        kind = self.kinds[name]
        if any(
            place.relation == "on" or place == HANDS or self.is_open(place.receptacle)
            for place in self.places.get(name, ())
        ):
            return True
        return not is_a(kind, "needs_support") and kind not in (FLOOR, PLAYER)

    def copy(self) -> World:
        """A world that can be changed without changing this one."""
        twin = object.__new__(World)
        twin.kinds, twin.instances, twin.player = self.kinds, self.instances, self.player
        twin.exits = self.exits
        twin.limited, twin.count, twin.accessible = self.limited, self.count, self.accessible
        twin.at, twin.places, twin.states = self.at.copy(), self.places.copy(), self.states.copy()
        return twin

    # -- what is the case ---------------------------------------------------------------------

    @property
    def here(self) -> str:
        """The room in which the player is."""
        return self.at[self.player]

    def named(self, kind: str) -> str | None:
        """The room or thing that a kind stands for: of several the one that is here."""
        names = self.instances.get(kind, [])
        return next((name for name in names if self.is_here(name)), names[0] if names else None)

    def holds(self, fact: Fact) -> bool:
        """Whether an ``on`` or ``in`` fact is true."""
        relation, name, receptacle = fact
        return Place(relation, receptacle) in self.places.get(name, ())

    def is_here(self, name: str | None) -> bool:
        """Whether a thing is in the player's room.  The inventory is in no room."""
        return name is not None and self.at.get(name) == self.here

    def is_open(self, name: str) -> bool:
        """Whether it is a container and open."""
        return self.states.get(name) == "open" and is_a(self.kinds[name], "container")

    def is_carried(self, name: str | None) -> bool:
        """Whether a thing is in the inventory."""
        return HANDS in self.places.get(name or "", ())

    def carried(self) -> list[str]:
        """What the player carries."""
        return [name for name, places in self.places.items() if HANDS in places]

    def contents(self, receptacle: str, relation: str) -> list[str]:
        """What lies on or in something."""
        place = Place(relation, receptacle)
        return [name for name, places in self.places.items() if place in places]

    def visible(self) -> Iterator[str]:
        """The things that can be seen: those here that are not shut away and not carried."""
        here = self.here
        for name, room in self.at.items():
            if room == here and self.kinds[name] not in HIDDEN:
                inside = [p.receptacle for p in self.places.get(name, ()) if p.relation == "in"]
                if not inside or any(self.is_open(container) for container in inside):
                    yield name

    # -- what can change ----------------------------------------------------------------------

    def add_place(self, name: str, place: Place) -> None:
        """Let a thing lie somewhere, now its latest place."""
        self.remove_place(name, place)
        self.places[name] = (*self.places.get(name, ()), place)

    def remove_place(self, name: str, place: Place) -> None:
        """Let a thing no longer lie somewhere."""
        self.places[name] = tuple(other for other in self.places.get(name, ()) if other != place)
