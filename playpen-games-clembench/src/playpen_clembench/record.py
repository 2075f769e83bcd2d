"""What the scores of several games look for in the record of an episode."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from playpen.episode import Event
from playpen.moves import Note, Round


def noted(events: Iterable[Event], kind: str) -> list[Any]:
    """The data of all notes of a kind, in order."""
    return [event.data for event in events if isinstance(event, Note) and event.kind == kind]


def events_by_round(events: Iterable[Event]) -> list[list[Event]]:
    """The events of each round, without what separates them; there is always a first one."""
    rounds: list[list[Event]] = [[]]
    for event in events:
        if isinstance(event, Round):
            rounds.append([])
        else:
            rounds[-1].append(event)
    return rounds
