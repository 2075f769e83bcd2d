"""The interpreter: understands a command, carries it out and keeps count of the goals."""

from __future__ import annotations

from typing import NamedTuple

from playpen_clembench.adventuregame.actions import ACTIONS, NOTHING, Failure, Named
from playpen_clembench.adventuregame.exploration import Exploration
from playpen_clembench.adventuregame.grammar import Command, parse
from playpen_clembench.adventuregame.home import INVENTORY, ROOMS
from playpen_clembench.adventuregame.language import Language
from playpen_clembench.adventuregame.world import Fact, World, WorldError

MANIPULATIONS = frozenset({"take", "put", "open", "close"})


class Result(NamedTuple):
    """What became of a command.

    Attributes:
        action: what was done or tried; `None` if the command was not understood.
        arguments: the kinds that the command named.
        preposition: the last preposition that was typed.
        failure: why nothing was done; `None` if something was.
    """

    action: str | None
    arguments: tuple[str, ...] = ()
    preposition: str | None = None
    failure: Failure | None = None

    @property
    def succeeded(self) -> bool:
        """Whether the command was carried out."""
        return self.failure is None


class Interpreter:
    """Carries out commands in a world.

    Attributes:
        language: the language of the commands.
        world: the world as it is.
        goals: the facts to reach.
        achieved: the goals that were true after the latest successful command.  Planned commands
            count too, although what they do is undone: that is the rule.
        exploration: what the player has perceived.
    """

    def __init__(self, language: Language, world: World, goals: frozenset[Fact]) -> None:
        """Start with the world as it is.

        Raises:
            WorldError: a goal is about something that the world does not have.
        """
        if unknown := {thing for _, *things in goals for thing in things} - world.kinds.keys():
            raise WorldError(f"the goals name what is not there: {', '.join(sorted(unknown))}")
        self.language = language
        self.world = world
        self.goals = goals
        self.achieved: frozenset[Fact] = frozenset()
        self.exploration = Exploration(world, goals)

    def execute(self, text: str) -> Result:
        """Carry out a command."""
        action = None
        arguments: tuple[Named, ...] = ()
        preposition = None
        failure = None
        removed = NOTHING
        try:
            command = parse(text, self.language)
            arguments = self._understand(command)
            action, preposition = command.action, command.preposition
            removed = ACTIONS[action](self.world, *arguments)
            self.achieved = frozenset(goal for goal in self.goals if self.world.holds(goal))
        except Failure as problem:
            failure = problem
        self.exploration.perceive(self.world, removed)
        kinds = tuple(argument.kind for argument in arguments)
        return Result(action, kinds, preposition, failure)

    def _understand(self, command: Command) -> tuple[Named, ...]:
        """What the command names (docs/rules/adventuregame.md, "Parsing phase").

        Raises:
            Failure: a name is not known, or names something that the action cannot deal with.
        """
        if command.first is None:
            return ()
        first = self._kind(command.first)
        if first in ROOMS and command.action in MANIPULATIONS:
            raise _misunderstood("manipulating_room", "room_is_no_thing", first)
        if command.second is None:
            return (self._named(first),)
        if command.action == "take" and command.second == self._word(INVENTORY):
            if self.world.is_carried(self.world.named(first)):
                raise Failure("taking_from_inventory", "carried_already", kinds={"THING": first})
            raise _misunderstood("taking_from_inventory", "not_carried", first)
        second = self._kind(command.second)
        # Upstream compares the name of the kind with the word for the room, so that the two rooms
        # whose words differ from it can never be named, not even from inside.
        if second in ROOMS and second != self._word(self.world.kinds[self.world.here]):
            raise _misunderstood("other_room_argument", "room_is_no_place", second)
        return (self._named(first), self._named(second))

    def _kind(self, name: str) -> str:
        kind = self.language.kinds.get(name)
        if kind is None:
            raise Failure("undefined_repr_str", "unknown_name", "parsing", words={"TEXT": name})
        return kind

    def _word(self, kind: str) -> str:
        return self.language.words.names[kind].plain

    def _named(self, kind: str) -> Named:
        return Named(kind, self.world.named(kind))


def _misunderstood(type: str, sentence: str, kind: str) -> Failure:
    return Failure(type, sentence, "parsing", kinds={"THING": kind})
