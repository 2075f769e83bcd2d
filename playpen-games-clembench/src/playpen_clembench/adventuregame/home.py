"""The "home" world: its kinds of rooms and things.

See docs/rules/adventuregame.md, "The home world".
"""

from __future__ import annotations

from typing import NamedTuple

INVENTORY, PLAYER, FLOOR = "inventory", "player", "floor"
HIDDEN = frozenset({PLAYER, INVENTORY, FLOOR})
"""Kinds that no description mentions."""


class RoomKind(NamedTuple):
    """A kind of room: the rooms it may have passages to, and how many of them it starts."""

    neighbours: tuple[str, ...]
    passages: int


class ThingKind(NamedTuple):
    """A kind of thing: what it is, and the rooms where it usually stands or lies."""

    traits: frozenset[str]
    rooms: tuple[str, ...] = ()


ROOMS = {
    "kitchen": RoomKind(("pantry", "livingroom", "hallway"), 3),
    "pantry": RoomKind(("kitchen", "hallway"), 1),
    "hallway": RoomKind(("kitchen", "pantry", "livingroom", "broomcloset"), 4),
    "livingroom": RoomKind(("kitchen", "hallway"), 2),
    "broomcloset": RoomKind(("hallway",), 1),
    "bedroom": RoomKind(("livingroom", "hallway"), 1),
}

_SUPPORT = frozenset({"support", "receptacle"})
_CUPBOARD = frozenset({"container", "openable", "receptacle"})
_ITEM = frozenset({"takeable", "movable", "needs_support"})

THINGS = {
    PLAYER: ThingKind(frozenset()),
    INVENTORY: ThingKind(frozenset({"container", "receptacle"})),
    FLOOR: ThingKind(_SUPPORT),
    "table": ThingKind(_SUPPORT, ("kitchen", "livingroom")),
    "sidetable": ThingKind(_SUPPORT, ("livingroom", "bedroom")),
    "counter": ThingKind(_SUPPORT, ("kitchen",)),
    "refrigerator": ThingKind(_CUPBOARD, ("kitchen", "pantry")),
    "cupboard": ThingKind(_CUPBOARD, ("kitchen",)),
    "wardrobe": ThingKind(_CUPBOARD, ("bedroom",)),
    "shelf": ThingKind(_SUPPORT, ("kitchen", "pantry", "livingroom")),
    "freezer": ThingKind(_CUPBOARD, ("pantry",)),
    "pottedplant": ThingKind(_ITEM, ("livingroom", "hallway", "bedroom")),
    "chair": ThingKind(_SUPPORT, ("livingroom",)),
    "bed": ThingKind(_SUPPORT, ("bedroom",)),
    "couch": ThingKind(_SUPPORT, ("livingroom",)),
    "broom": ThingKind(_ITEM, ("broomcloset",)),
    "mop": ThingKind(_ITEM, ("broomcloset",)),
    "sandwich": ThingKind(_ITEM, ("kitchen", "pantry")),
    "apple": ThingKind(_ITEM, ("kitchen", "pantry")),
    "banana": ThingKind(_ITEM, ("kitchen", "pantry")),
    "orange": ThingKind(_ITEM, ("kitchen", "pantry")),
    "peach": ThingKind(_ITEM, ("kitchen", "pantry")),
    "plate": ThingKind(_ITEM, ("kitchen",)),
    "book": ThingKind(_ITEM, ("livingroom", "bedroom")),
    "pillow": ThingKind(_ITEM, ("bedroom",)),
}


def is_a(kind: str, trait: str) -> bool:
    """Whether a kind has a trait; ``room`` and ``entity`` (any thing) count as traits."""
    if kind in ROOMS:
        return trait == "room"
    return trait == "entity" or trait in THINGS[kind].traits


SUPPORTS = tuple(kind for kind in THINGS if is_a(kind, "support") and kind != FLOOR)
CONTAINERS = tuple(kind for kind in THINGS if is_a(kind, "openable"))
ITEMS = tuple(kind for kind in THINGS if is_a(kind, "takeable"))
FURNITURE = tuple(kind for kind in THINGS if kind in SUPPORTS or kind in CONTAINERS)
