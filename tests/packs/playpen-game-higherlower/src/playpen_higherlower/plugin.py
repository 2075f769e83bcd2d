"""What this pack brings.  Loaded by every `playpen` command, so it imports nothing heavy."""

from __future__ import annotations

from playpen import GameSpec, hookimpl


@hookimpl
def playpen_games() -> list[GameSpec]:
    """One spec for each game; the class behind `path` is imported when the game is used."""
    return [
        GameSpec(
            name="higherlower",
            path="playpen_higherlower.game:HigherLower",
            summary="find a secret number; the game master answers higher or lower",
            roles=("guesser",),
        )
    ]
