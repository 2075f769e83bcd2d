"""What the player is told: the room, and what became of a command.

See docs/rules/adventuregame.md, "Flow".
"""

from __future__ import annotations

from collections.abc import Iterable

from playpen_clembench.adventuregame.actions import Failure
from playpen_clembench.adventuregame.home import is_a
from playpen_clembench.adventuregame.interpreter import Result
from playpen_clembench.adventuregame.language import Language
from playpen_clembench.adventuregame.world import HANDS, Fact, Place, World


def describe_room(world: World, language: Language) -> str:
    """The room where the player is: what can be seen, in what state and place, and the exits."""
    here = world.here
    things = [_seen(world, language, name) for name in world.visible()]
    exits = [language.the(world.kinds[room]) for room in world.exits[here]]
    return " ".join(
        (
            language.say("room", ROOM=language.the(world.kinds[here])),
            _some(language, "in_room", "nothing_in_room", things),
            language.say("exits", ROOMS=language.listed(exits))
            if exits
            else language.say("no_exits"),
        )
    )


def describe_result(world: World, language: Language, result: Result) -> str:
    """What became of a command, in the world as it is after it."""
    if result.failure is not None:
        return _failed(language, result.failure)
    match result.action, result.arguments:
        case "open", (kind,):
            name = world.named(kind)
            inside = [] if name is None else world.contents(name, "in")
            opened = language.say("opened", THING=language.the(kind))
            return f"{opened} {_contents(world, language, 'inside', 'nothing_inside', inside)}"
        case "close", (kind,):
            return language.say("closed_it", THING=language.the(kind))
        case "take", (kind, *_):
            carried = [language.a(world.kinds[name]) for name in world.carried()]
            taken = language.say("taken", THING=language.the(kind))
            return f"{taken} {language.say('carrying', THINGS=language.listed(carried))}"
        case "put", (kind, target):
            relation = "on" if is_a(target, "support") else "in"
            return language.say(
                "put",
                THING=language.the(kind),
                RELATION=result.preposition or language.phrase(relation),
                PLACE=language.the(target),
            )
        case "examine", (kind,):
            return _examined(world, language, kind)
    return describe_room(world, language)


def describe_goals(world: World, language: Language, goals: Iterable[Fact]) -> str:
    """The task, as one sentence."""
    parts = [
        language.phrase(
            "one_goal",
            THING=language.the(world.kinds[thing]),
            RELATION=language.phrase(relation),
            PLACE=language.the(world.kinds[receptacle]),
        )
        for relation, thing, receptacle in goals
    ]
    return language.say("goal", GOALS=language.listed(parts))


def _failed(language: Language, failure: Failure) -> str:
    kinds = {key: language.the(kind) for key, kind in failure.kinds.items()}
    return language.say(failure.sentence, **kinds, **failure.words)


def _examined(world: World, language: Language, kind: str) -> str:
    name = world.named(kind)
    assert name is not None, "what was examined is there"
    texts = [language.say("examined", THING=language.the(kind))]
    if name in world.states:
        texts.append(language.say("openable", STATE=language.phrase(world.states[name])))
    if is_a(kind, "takeable"):
        texts.append(language.say("takeable"))
    if world.is_carried(name):
        texts.append(language.say("is_carried"))
    texts += [
        language.say("is_lying", **_place(world, language, place)) for place in _lying(world, name)
    ]
    if world.is_open(name):
        inside = world.contents(name, "in")
        texts.append(_contents(world, language, "inside", "nothing_inside", inside))
    elif is_a(kind, "support"):
        on_top = world.contents(name, "on")
        texts.append(_contents(world, language, "top", "nothing_on_top", on_top))
    return " ".join(texts)


def _seen(world: World, language: Language, name: str) -> str:
    """A thing with its state and its places, such as ``an apple (in the cupboard)``."""
    details = []
    if name in world.states:
        details.append(language.phrase(world.states[name]))
    for place in _lying(world, name):
        details.append(language.phrase("lying", **_place(world, language, place)))
    thing = language.a(world.kinds[name])
    if not details:
        return thing
    return language.phrase("detail", THING=thing, DETAILS=language.listed(details))


def _lying(world: World, name: str) -> list[Place]:
    """Where a thing lies, as far as that can be seen here."""
    return [
        place
        for place in world.places.get(name, ())
        if place != HANDS
        and world.is_here(place.receptacle)
        and (place.relation == "on" or world.is_open(place.receptacle))
    ]


def _place(world: World, language: Language, place: Place) -> dict[str, str]:
    return {
        "RELATION": language.phrase(place.relation),
        "PLACE": language.the(world.kinds[place.receptacle]),
    }


def _contents(world: World, language: Language, some: str, none: str, names: Iterable[str]) -> str:
    kinds = [world.kinds[name] for name in names]
    return _some(language, some, none, [language.a(kind) for kind in kinds])


def _some(language: Language, some: str, none: str, things: list[str]) -> str:
    return language.say(some, THINGS=language.listed(things)) if things else language.say(none)
