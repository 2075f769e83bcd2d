"""Programs that play the textmapworld family, each from its own conversation alone.

They note which rooms lie where, go to the nearest room that they have not entered yet, and stop
when there is none, or when they are in the room that they look for.  What is behind a door can only
be found out by going there, so not every move can be the best one.
"""

from __future__ import annotations

import json
import re
from collections import deque
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TypeAlias

from playpen import Conversation
from playpen_clembench.textmapworld.generate import STEPS

Place: TypeAlias = tuple[int, int]
"""Rooms to the east and to the north of the start."""

_WAY = f"(?:{'|'.join(STEPS)})"
_DOORS = re.compile(rf"{_WAY}(?:, {_WAY})*")
_MOVE = re.compile(r"GO:\s*(\w+)", re.IGNORECASE)
# Our own wording, and that of clembench's instances.
_ROOM = re.compile(r"this room: (.+)|(?:in the|entered) (.+?)\. Currently")
_TARGET = re.compile(r"look for this room: (.+)|target room is (.+?)\. You")


@dataclass
class Survey:
    """What is known of a house: where one is, and name and doors of every room entered."""

    here: Place = (0, 0)
    names: dict[Place, str] = field(default_factory=dict)
    doors: dict[Place, tuple[str, ...]] = field(default_factory=dict)

    def enter(self, place: Place, message: str) -> None:
        """Note a room and go on from there."""
        self.here = place
        self.names[place], self.doors[place] = _told(message)

    def way_on(self) -> str | None:
        """The first direction of a shortest way to a room not entered yet; `None` if all were."""
        first: dict[Place, str | None] = {self.here: None}
        waiting = deque([self.here])
        while waiting:
            place = waiting.popleft()
            if place not in self.doors:
                return first[place]
            for direction in self.doors[place]:
                beyond = _beyond(place, direction)
                if beyond not in first:
                    first[beyond] = first[place] or direction
                    waiting.append(beyond)
        return None


def explore(conversation: Conversation) -> str:
    """Enter every room."""
    return _command(_survey(conversation))


def explore_and_draw(conversation: Conversation) -> str:
    """Enter every room, and give the map of those entered with every reply."""
    survey = _survey(conversation, exact_case=True)
    edges: dict[str, list[tuple[str, str]]] = {direction: [] for direction in STEPS}
    known: set[frozenset[Place]] = set()
    for place, doors in survey.doors.items():
        for direction in doors:
            beyond = _beyond(place, direction)
            if beyond in survey.doors and frozenset((place, beyond)) not in known:
                known.add(frozenset((place, beyond)))
                edges[direction].append((survey.names[place], survey.names[beyond]))
    graph = {"nodes": list(survey.names.values()), "edges": edges}
    return json.dumps({"action": _command(survey), "graph": graph}, ensure_ascii=False)


def find_room(conversation: Conversation) -> str:
    """Enter rooms until one is the target."""
    survey = _survey(conversation)
    target = _last(_TARGET, conversation.messages[0].content)
    if survey.names[survey.here].lower() == target.lower():
        return "DONE"
    return _command(survey)


def _survey(conversation: Conversation, *, exact_case: bool = False) -> Survey:
    """Follow the walk; a move counts if there was a door, whoever made it."""
    survey = Survey()
    texts = [message.content for message in conversation.messages]
    survey.enter(survey.here, texts[0])
    for said, told in zip(texts[1::2], texts[2::2], strict=True):
        direction = _last(_MOVE, said)
        if not exact_case:
            direction = direction.lower()
        if direction in survey.doors[survey.here]:
            survey.enter(_beyond(survey.here, direction), told)
    return survey


@lru_cache(maxsize=4096)
def _told(message: str) -> tuple[str, tuple[str, ...]]:
    """Name and doors of the room that a message is about."""
    return _last(_ROOM, message), tuple(re.findall(_WAY, _last(_DOORS, message)))


def _command(survey: Survey) -> str:
    direction = survey.way_on()
    return "DONE" if direction is None else f"GO: {direction}"


def _beyond(place: Place, direction: str) -> Place:
    east, north = STEPS[direction]
    return place[0] + east, place[1] + north


def _last(pattern: re.Pattern[str], text: str) -> str:
    """What the pattern finds last: its group that took part, or the whole match."""
    latest = ""
    for match in pattern.finditer(text):
        latest = next((group for group in match.groups() if group), match[0])
    return latest
