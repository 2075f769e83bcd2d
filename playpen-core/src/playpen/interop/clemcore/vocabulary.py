"""The words of clemcore's results: file names, players, and types and labels of events."""

from __future__ import annotations

from playpen.game import Game

INSTANCE, EXPERIMENT = "instance.json", "experiment.json"
INTERACTIONS, SCORES = "interactions.json", "scores.json"
ERROR, COMPLETED = "error.json", "completed.json"

MASTER = "GM"

SEND, GET = "send message", "get message"
CONTEXT, RESPONSE = "context", "response"
FORGET = "forget"
"""Label of what is asked aside and not remembered."""
PSEUDO = "pseudo"
"""Label of an exchange that the game made up."""
DRAWN = "playpen draw"
"""Type of the events in which an export of ours keeps what chance moves gave."""


def players_of(game: Game) -> dict[str, str]:
    """What clemcore calls the player of each role: ``Player 1`` is the first role's."""
    return {role: f"Player {number}" for number, role in enumerate(game.role_names(), 1)}
