"""What the player has perceived (docs/rules/adventuregame.md, "Exploration values").

The measures describe how well an episode explores; no rule depends on them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from playpen_clembench.adventuregame.actions import NOTHING, Removed
from playpen_clembench.adventuregame.home import INVENTORY
from playpen_clembench.adventuregame.world import Fact, World

EPISTEMIC = frozenset({"open", "go", "examine"})
"""Actions that can reveal something."""
PRAGMATIC = frozenset({"open", "take", "put", "go", "done"})
"""Actions that can bring a goal closer."""


class Knowledge(NamedTuple):
    """The facts known at a time, and the rooms that were visited until then."""

    facts: frozenset[Fact]
    rooms: frozenset[str]


class Exploration:
    """The history of a player's knowledge; each command, planned ones too, adds an entry."""

    def __init__(self, world: World, goals: frozenset[Fact]) -> None:
        """Start with what can be perceived at the beginning."""
        self._goal_things = frozenset(thing for _, *things in goals for thing in things)
        self._things = sum(name not in world.exits for name in world.kinds) - 1  # the inventory
        self._rooms = len(world.exits)
        start = Knowledge(frozenset(perceived(world)), frozenset({world.here}))
        self._history = [start]

    def perceive(self, world: World, removed: Removed = NOTHING) -> None:
        """Add what can be perceived after a command to what was known before it.

        Args:
            world: the world after the command.
            removed: the facts that the command made false.
        """
        known, rooms = self._history[-1]
        now = Knowledge((known | frozenset(perceived(world))) - removed, rooms | {world.here})
        self._history.append(now)

    def forget(self, commands: int) -> None:
        """Drop the entries of a plan of which so many commands succeeded.

        If a further command failed it left an entry too, so one entry of the plan remains: what
        the first planned command would reveal counts as known from then on.
        """
        if commands:
            del self._history[-commands:]

    def measures(self, action: str | None) -> dict[str, Any]:
        """The values of the latest command; `action` is `None` if it was not understood."""
        facts, rooms = self._history[-1]
        located = [thing for predicate, thing, *_ in facts if predicate == "at"]
        gain = len(facts - self._history[-2].facts) if action in EPISTEMIC else 0
        goal_things = sum(thing in self._goal_things for thing in located)
        return {
            "epistemic_action": int(action in EPISTEMIC),
            "pragmatic_action": int(action in PRAGMATIC),
            "effective_epistemic_gain_amount": gain,
            "known_entities_ratio": len(located) / self._things,
            "visited_rooms_ratio": len(rooms) / self._rooms,
            "known_goal_entities_ratio": goal_things / len(self._goal_things),
        }


def perceived(world: World) -> Iterator[Fact]:
    """The facts that the player perceives now."""
    here = world.here
    yield ("at", world.player, here)
    for room in world.exits[here]:
        yield ("exit", here, room)
    if world.limited:
        yield ("itemcount", INVENTORY, str(world.count))
    for name in world.visible():
        yield ("at", name, here)
        if name in world.states:
            yield (world.states[name], name)
        for relation, receptacle in world.places.get(name, ()):
            yield (relation, name, receptacle)
    for name in world.carried():
        yield ("at", name, here)
        for relation, receptacle in world.places[name]:
            if relation == "in":
                yield (relation, name, receptacle)
