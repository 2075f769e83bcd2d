"""The rules of `textmapworld`, `textmapworld_graphreasoning` and `textmapworld_specificroom`.

A player walks through a house of which it is told one room at a time: where it is, and in which
directions there are doors (docs/rules/textmapworld.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from playpen import (
    Abort,
    Episode,
    Game,
    Instance,
    Lose,
    Metrics,
    Note,
    Play,
    Reward,
    Role,
    Round,
    Success,
    ask,
)
from playpen_clembench.textmapworld import scores
from playpen_clembench.textmapworld.exploration import explore
from playpen_clembench.textmapworld.maps import distances, house_of, room_of
from playpen_clembench.textmapworld.messages import answer, first_message
from playpen_clembench.textmapworld.reply_format import drawing_reader, reader

EXPLORER = "explorer"
ROUNDS = 20
REMINDER_ROUND = 19
"""After this round an instance may have the player reminded to stop."""


class TextMapWorld(Game):
    """Visit every room of a house with as few moves as possible, and stop.

    Entering a room for the first time is rewarded, in total with 1 for the whole house.
    """

    name = "textmapworld"
    roles = (Role(EXPLORER, "walks through the house and decides when to stop"),)
    rules = "2.0"
    generator = "playpen_clembench.textmapworld.generate:EXPLORE"
    oracles = {EXPLORER: "playpen_clembench.textmapworld.oracle:explore"}
    levels_stand_alone = True
    task: ClassVar[str] = "explore"
    """Name of the first prompt, and of the form that the schema has for the instances."""
    draws: ClassVar[bool] = False
    """Whether the player draws the map with every reply."""

    def play(self, instance: Instance) -> Play:
        """Each round the player goes through a door, finds none, or stops."""
        house, room = house_of(instance), room_of(instance, "Current_Position")
        yield Note("map", {"rooms": house.rooms, "edges": house.edges, "start": room})
        path = [room]
        message = first_message(self, instance, self.task, ROUNDS)
        read = (drawing_reader if self.draws else reader)(instance)
        for number in range(1, ROUNDS + 1):
            if number > 1:
                yield Round()
            command = yield from ask(EXPLORER, message, read)
            if command.direction is None:
                return self.verdict(instance, path)

            # Where there is no door the player stays.  No rule is broken, but the round is over.
            entered = house.doors[room].get(command.direction)
            if entered is not None:
                yield Note("move", {"old": room, "new": entered})
                if self.draws:
                    yield Note("graph", command.drawn)
                path.append(entered)
                yield Reward(EXPLORER, self.progress(instance, path))
                room = entered
            message = answer(self, instance, room, moved=entered is not None)
            if number == REMINDER_ROUND and instance.get("Max_Turns_Reminder"):
                message = f"{instance['Max_Turns_Reminder_Text']}\n{message}"
        return Abort("turn_limit", f"the player did not stop in {ROUNDS} rounds", EXPLORER)

    def verdict(self, instance: Instance, path: Sequence[str]) -> Success | Lose:
        """Judge a player who has stopped: the walk counts even if rooms were missed."""
        walk = explore(house_of(instance).graph, path)
        return Success(walk.quality) if walk.visited == walk.rooms else Lose(walk.quality)

    def progress(self, instance: Instance, path: Sequence[str]) -> float:
        """The reward for the last move of a walk."""
        new = path[-1] not in path[:-1]
        return 1 / (len(house_of(instance).rooms) - 1) if new else 0.0

    def metrics(self, episode: Episode) -> Metrics:
        """The scores under upstream's names (docs/rules/textmapworld.md, "Scores")."""
        return scores.metrics(episode)

    def fingerprint(self, instance: Instance) -> str:
        """The map: the games of the family share it, whatever is to be done on it."""
        return house_of(instance).fingerprint

    @classmethod
    def schema(cls) -> dict[str, Any] | None:
        """The family's schema; what an instance must have depends on the game."""
        schema = super().schema()
        if schema is not None:
            schema["$defs"]["instance"] = schema["$defs"][cls.task]
        return schema


class TextMapWorldGraphReasoning(TextMapWorld):
    """The same, but every reply also holds the map as far as the player knows it."""

    name = "textmapworld_graphreasoning"
    generator = "playpen_clembench.textmapworld.generate:EXPLORE_AND_DRAW"
    oracles = {EXPLORER: "playpen_clembench.textmapworld.oracle:explore_and_draw"}
    task = "explore_and_draw"
    draws = True

    def metrics(self, episode: Episode) -> Metrics:
        """As without a map, and how similar the drawn maps are to the real one."""
        return scores.drawing_metrics(episode)


class TextMapWorldSpecificRoom(TextMapWorld):
    """Find a room that is named at the start, and stop there.

    A move is rewarded with the number of moves by which it brings the target closer, negative if
    it leads away; from one end of the house to the other the rewards add up to 1 at most.
    """

    name = "textmapworld_specificroom"
    generator = "playpen_clembench.textmapworld.generate:FIND_ROOM"
    oracles = {EXPLORER: "playpen_clembench.textmapworld.oracle:find_room"}
    task = "find_room"

    def verdict(self, instance: Instance, path: Sequence[str]) -> Success | Lose:
        """Judge a player who has stopped: only the room where it is counts."""
        return Success() if path[-1] == room_of(instance, "Specific_Room") else Lose()

    def progress(self, instance: Instance, path: Sequence[str]) -> float:
        """The reward for the last move of a walk."""
        graph = house_of(instance).graph
        away = distances(graph, room_of(instance, "Specific_Room"))
        return (away[path[-2]] - away[path[-1]]) / (len(graph) - 1)

    def metrics(self, episode: Episode) -> Metrics:
        """As for an exploration; its quality, once the main score, has another name."""
        return scores.target_metrics(episode)
