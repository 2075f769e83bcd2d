"""What the player is told, in an instance's own words or ours."""

from __future__ import annotations

from playpen import Game, Instance
from playpen_clembench.textmapworld.maps import house_of, room_of, shown


def first_message(game: Game, instance: Instance, task: str, rounds: int) -> str:
    """The task and the first room.

    Args:
        game: the game, whose prompts are used.
        instance: the instance.
        task: name of our own prompt, used where the instance brings none.
        rounds: how many replies the player has.
    """
    room = room_of(instance, "Current_Position")
    return game.prompt(
        task,
        instance,
        instance.get("Prompt"),
        INITIAL_ROOM=shown(instance, room),
        INITIAL_DIRECTIONS=_directions(instance, room),
        GOAL=instance.get("Specific_Room", ""),
        ROUNDS=rounds,
    )


def answer(game: Game, instance: Instance, room: str, *, moved: bool) -> str:
    """The room where the player is after a command, and whether it has moved."""
    return game.prompt(
        "moved" if moved else "blocked",
        instance,
        instance.get("Player2_positive_answer" if moved else "Player2_negative_answer"),
        **{"ANOTHER_ROOM" if moved else "SAME_ROOM": shown(instance, room)},
        DIRECTIONS=_directions(instance, room),
    )


def _directions(instance: Instance, room: str) -> str:
    return ", ".join(house_of(instance).doors[room])
