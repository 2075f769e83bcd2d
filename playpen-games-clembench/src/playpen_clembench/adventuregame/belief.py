"""What a player can know about a house from what it was told."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache, lru_cache
from typing import NamedTuple

from playpen.conversation import Message
from playpen_clembench.adventuregame.home import FLOOR, INVENTORY, PLAYER, is_a
from playpen_clembench.adventuregame.language import Language
from playpen_clembench.adventuregame.solver import Action
from playpen_clembench.adventuregame.world import Fact, World


class Seen(NamedTuple):
    """A thing that a message mentions, its state if told, and the facts about where it lies."""

    kind: str
    state: str | None
    places: tuple[Fact, ...]


class Observation(NamedTuple):
    """What a message says: which sentence it is, what that is about, and what else it mentions."""

    sentence: str
    about: str
    things: tuple[Seen, ...] = ()
    others: tuple[str, ...] = ()


class Belief:
    """The known part of a house.  Rooms and things are named by their kinds.

    Attributes:
        goals: what has to become true.
        limited: whether there is a limit to what can be carried.
        room: where the player is; empty if nothing is known.
        exits: the neighbours of each room that was visited.
        at: the room of everything that was seen.
        places: where the items that were seen lie.
        states: ``open`` or ``closed``.
        searched: the containers whose content was seen.
    """

    def __init__(self, goals: tuple[Fact, ...], *, limited: bool) -> None:
        self.goals = goals
        self.limited = limited
        self.room = ""
        self.exits: dict[str, tuple[str, ...]] = {}
        self.at: dict[str, str] = {}
        self.places: dict[str, tuple[Fact, ...]] = {}
        self.states: dict[str, str] = {}
        self.searched: frozenset[str] = frozenset()

    def copy(self) -> Belief:
        """A belief that can be changed without changing this one."""
        twin = Belief(self.goals, limited=self.limited)
        twin.room, twin.searched = self.room, self.searched
        twin.exits, twin.at = self.exits.copy(), self.at.copy()
        twin.places, twin.states = self.places.copy(), self.states.copy()
        return twin

    # -- learning -----------------------------------------------------------------------------

    def learn(self, observation: Observation) -> None:
        """Add what a message says."""
        about = observation.about
        match observation.sentence:
            case "room":
                self.room = about
                self.exits[about] = observation.others
            case "opened":
                self.states[about] = "open"
                self.searched |= {about}
            case "closed_it":
                self.states[about] = "closed"
            case "put":
                self.put(about, observation.others[0])
        for kind, state, places in observation.things:
            self.at[kind] = self.room
            if places:
                self.places[kind] = places
            if state is not None:
                self.states[kind] = state
                if state == "open":
                    self.searched |= {kind}

    def put(self, item: str, receptacle: str) -> None:
        """An item is put somewhere."""
        carried = ("in", item, INVENTORY)
        others = (fact for fact in self.places.get(item, ()) if fact != carried)
        relation = "on" if is_a(receptacle, "support") else "in"
        self.places[item] = (*others, (relation, item, receptacle))
        self.at[item] = self.room

    def imagine(self, action: Action) -> None:
        """Take an action as carried out that reveals nothing new."""
        match action:
            case "go", room:
                self.exits.setdefault(room, (self.room,))
                self.room = room
            case "open", container:
                self.states[container] = "open"
                self.searched |= {container}
            case "take", item:
                self.places[item] = (("in", item, INVENTORY),)
            case "put", item, receptacle:
                self.put(item, receptacle)

    # -- what follows -------------------------------------------------------------------------

    def open_goals(self) -> list[Fact]:
        """The goals that are not reached yet."""
        return [goal for goal in self.goals if goal not in self.places.get(goal[1], ())]

    def carried(self) -> list[str]:
        """What the player carries."""
        return [item for item in self.places if self.carries(item)]

    def carries(self, item: str) -> bool:
        """Whether the player carries an item."""
        return ("in", item, INVENTORY) in self.places.get(item, ())

    def rooms(self) -> dict[str, tuple[str, ...]]:
        """The passages from every known room; from a room not visited yet, those back."""
        passages = dict(self.exits)
        for room, exits in self.exits.items():
            for other in exits:
                if other not in self.exits:
                    passages[other] = (*passages.get(other, ()), room)
        return passages

    def world(self) -> World:
        """The known part of the house as a world."""
        rooms = self.rooms()
        facts: list[Fact] = [("room", room, room) for room in rooms]
        facts += [("exit", room, other) for room, exits in rooms.items() for other in exits]
        facts += [("type", PLAYER, PLAYER), ("at", PLAYER, self.room)]
        for kind, room in self.at.items():
            where = self.room if self.carries(kind) else room
            facts += [("type", kind, kind), ("at", kind, where)]
            for relation, _, receptacle in self.places.get(kind, ()):
                name = f"{room}floor1" if receptacle == FLOOR else receptacle
                facts.append((relation, kind, name))
        facts += [(state, kind) for kind, state in self.states.items()]
        return World(facts, limited=self.limited)


# --- reading messages ----------------------------------------------------------------------------

LIMIT = re.compile(r"\btwo (?:objects|things)\b")
"""How a first message says that there is a limit, in clembench's words or in ours."""


def believe(messages: Iterable[Message], words: Language) -> Belief:
    """What the messages of a conversation tell."""
    told = [message.content for message in messages if message.role == "user"]
    task = told[0] if told else ""
    belief = Belief(_goals(task, words), limited=LIMIT.search(task) is not None)
    for text in told:
        observation = observed(text, words)
        if observation is not None:
            belief.learn(observation)
    return belief


@lru_cache(maxsize=4096)
def observed(text: str, words: Language) -> Observation | None:
    """What a message says about the house; `None` if it says that a command failed."""
    for sentence, pattern in _patterns(words).items():
        match = pattern.search(text)
        if match is not None:
            return _observation(sentence, match.groupdict(), words)
    return None


def _observation(sentence: str, parts: dict[str, str | None], words: Language) -> Observation:
    kinds = words.definite

    def kind(part: str) -> str:
        return kinds[parts[part] or ""]

    things = tuple(_seen(parts.get("THINGS") or "", words))
    match sentence:
        case "room":
            exits = _definite(words).findall(parts["ROOMS"] or "")
            return Observation(sentence, kind("ROOM"), things, tuple(kinds[e] for e in exits))
        case "opened":
            return Observation(sentence, kind("THING"), _lying(things, kind("THING")))
        case "taken":
            return Observation(sentence, kind("THING"), _lying(things, INVENTORY))
        case "put":
            return Observation(sentence, kind("THING"), others=(kind("PLACE"),))
    return Observation(sentence, kind("THING"))


def _lying(things: Iterable[Seen], container: str) -> tuple[Seen, ...]:
    return tuple(thing._replace(places=(("in", thing.kind, container),)) for thing in things)


def _seen(text: str, words: Language) -> Iterator[Seen]:
    """The things in an enumeration, with what the brackets after them say."""
    states = {words.phrase(state): state for state in ("open", "closed")}
    for match in _indefinite(words).finditer(text):
        kind, details = words.indefinite[match[1]], match[2] or ""
        state = next((states[word] for word in states if word in details.split()), None)
        yield Seen(kind, state, tuple(_places(kind, details, words)))


def _places(item: str, text: str, words: Language) -> Iterator[Fact]:
    """The facts that a text such as ``on the table and in the cupboard`` states of an item."""
    relations = {words.phrase(relation): relation for relation in ("on", "in")}
    for relation, receptacle in _place(words).findall(text):
        yield (relations[relation], item, words.definite[receptacle])


@lru_cache(maxsize=1024)
def _goals(task: str, words: Language) -> tuple[Fact, ...]:
    """The goals that a first message states: ``the book on the table``."""
    goals = [
        goal
        for thing, place in _goal(words).findall(task)
        for goal in _places(words.definite[thing], place, words)
        if is_a(goal[1], "takeable") and is_a(goal[2], "receptacle")
    ]
    return tuple(dict.fromkeys(goals))


def _any_of(phrases: Iterable[str]) -> str:
    return "|".join(re.escape(phrase) for phrase in sorted(phrases, key=len, reverse=True))


@cache
def _definite(words: Language) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{_any_of(words.definite)})\b")


@cache
def _indefinite(words: Language) -> re.Pattern[str]:
    return re.compile(rf"\b({_any_of(words.indefinite)})\b(?: \(([^()]*)\))?")


@cache
def _place(words: Language) -> re.Pattern[str]:
    relations = _any_of(words.phrase(relation) for relation in ("on", "in"))
    return re.compile(rf"\b({relations}) ({_definite(words).pattern})")


@cache
def _goal(words: Language) -> re.Pattern[str]:
    relations = _any_of(words.phrase(relation) for relation in ("on", "in"))
    name = _definite(words).pattern
    return re.compile(rf"({name}) ((?:{relations}) {name})")


@cache
def _patterns(words: Language) -> dict[str, re.Pattern[str]]:
    """What reads the sentences that say something about the house."""
    name = _definite(words).pattern
    parts = {"THING": name, "PLACE": name, "ROOM": name, "RELATION": ".+?"}

    def form(sentence: str) -> str:
        def part(match: re.Match[str]) -> str:
            return f"(?P<{match[1]}>{parts.get(match[1], '[^.:]+')})"

        return re.sub(r"\\\$([A-Z]+)\\\$", part, re.escape(words.sentences[sentence]))

    def either(some: str, none: str) -> str:
        return f"(?:{form(some)}|{form(none)})"

    forms = {
        "room": f"{form('room')} {either('in_room', 'nothing_in_room')} "
        f"{either('exits', 'no_exits')}",
        "opened": rf"\A{form('opened')} {either('inside', 'nothing_inside')}",
        "closed_it": rf"\A{form('closed_it')}",
        "taken": rf"\A{form('taken')} {form('carrying')}",
        "put": rf"\A{form('put')}",
    }
    return {sentence: re.compile(rf"{text}\Z") for sentence, text in forms.items()}
