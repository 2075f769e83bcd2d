"""A program that plays AdventureGame: it explores, and once it knows enough plays the optimum.

It takes the goals from the first message, whoever wrote that, and what it learns about the house
from the game's feedback, in English.  In the planning variant it plans what it would do if it
found nothing new.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from playpen.conversation import Conversation
from playpen_clembench.adventuregame.belief import Belief, believe, observed
from playpen_clembench.adventuregame.generate import command
from playpen_clembench.adventuregame.home import FLOOR, THINGS, is_a
from playpen_clembench.adventuregame.language import language
from playpen_clembench.adventuregame.replies import COMMAND_TAG
from playpen_clembench.adventuregame.solver import Action, distances, shortest_solution
from playpen_clembench.adventuregame.world import CARRY_LIMIT

PLANNED = 4
"""Most commands of a plan."""


def adventurer(conversation: Conversation) -> str:
    """The next command and, if the first message asks for it, a plan."""
    words = language("en")
    belief = believe(conversation.messages, words)
    if not belief.room or not belief.open_goals():
        return f"{COMMAND_TAG} {words.words.done}"
    planning = words.words.plan_tag in conversation.messages[0].content
    if observed(conversation.last, words) is None:
        # The last command failed or told nothing about the house: look elsewhere.
        exits = belief.exits[belief.room] or (belief.room,)
        actions: list[Action] = [("go", random.Random(conversation.seed).choice(exits))]
    else:
        actions = _intended(belief, 1 + PLANNED if planning else 1)
    commands = [command(action) for action in actions]
    reply = f"{COMMAND_TAG} {commands[0]}"
    if not planning:
        return reply
    plan = ", ".join(commands[1:] or [words.words.done])
    return f"{reply}\n{words.words.plan_tag} {plan}"


def _intended(belief: Belief, count: int) -> list[Action]:
    """The next actions, at most so many, if nothing new is found on the way; at least one."""
    known = _known_solution(belief)
    if known:
        return known[:count]
    belief = belief.copy()
    actions: list[Action] = []
    while len(actions) < count:
        action = next(_candidates(belief), None)
        if action is None:
            break
        actions.append(action)
        belief.imagine(action)
    return actions or [("examine", belief.open_goals()[0][1])]


def _known_solution(belief: Belief) -> list[Action] | None:
    """The shortest solution, if everything that matters has been found."""
    goals = belief.open_goals()
    if any(thing not in belief.at for goal in goals for thing in goal[1:]):
        return None
    if _in_the_way(belief):
        return None
    return shortest_solution(belief.world(), goals)


def _in_the_way(belief: Belief) -> list[str]:
    """What is carried for no goal although there is a limit."""
    wanted = {item for _, item, _ in belief.open_goals()}
    return [item for item in belief.carried() if belief.limited and item not in wanted]


def _candidates(belief: Belief) -> Iterator[Action]:
    """What is worth doing, the best first."""
    goals = belief.open_goals()
    here = belief.room
    for item in _in_the_way(belief):
        yield ("put", item, FLOOR)
    for _, item, target in goals:
        if belief.at.get(target) == here and (belief.carries(item) or belief.at.get(item) == here):
            if belief.states.get(target) == "closed":
                yield ("open", target)
            yield ("put", item, target)
    free = not belief.limited or len(belief.carried()) < CARRY_LIMIT
    for _, item, _ in goals:
        if free and belief.at.get(item) == here and not belief.carries(item):
            yield ("take", item)
    for container in _unsearched(belief):
        if belief.at[container] == here:
            yield ("open", container)
    ways = distances(belief.rooms(), here)
    for room in sorted(_interesting(belief, free=free), key=lambda room: ways[room]):
        if room != here:
            yield ("go", _first_step(belief, room))


def _interesting(belief: Belief, *, free: bool) -> list[str]:
    """The rooms to go to for something, of equally distant ones the most promising first."""
    goals = belief.open_goals()
    missing = [thing for goal in goals for thing in goal[1:] if thing not in belief.at]
    new = [room for room in belief.rooms() if room not in belief.exits]
    new.sort(key=lambda room: -sum(room in THINGS[thing].rooms for thing in missing))
    known = [belief.at[container] for container in _unsearched(belief)]
    for _, item, target in goals:
        if belief.carries(item):
            known += [belief.at[target]] if target in belief.at else []
        elif free and item in belief.at:
            known.append(belief.at[item])
    return [*known, *new]


def _unsearched(belief: Belief) -> list[str]:
    """The containers that may hold an item that is still missing.

    While there are rooms to visit, only those in a room where such an item usually is.
    """
    missing = [item for _, item, _ in belief.open_goals() if item not in belief.at]
    usual = {room for item in missing for room in THINGS[item].rooms}
    anywhere = all(room in belief.exits for room in belief.rooms())
    return [
        kind
        for kind, room in belief.at.items()
        if is_a(kind, "openable")
        and kind not in belief.searched
        and missing
        and (anywhere or room in usual)
    ]


def _first_step(belief: Belief, goal: str) -> str:
    """The neighbouring room on a shortest way to a room."""
    ways = distances(belief.rooms(), goal)
    return min(belief.exits[belief.room], key=lambda room: ways[room])
