"""The grammar of commands (docs/rules/adventuregame.md, "The grammar of commands")."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from playpen.prompts import PromptError
from playpen_clembench.adventuregame.actions import Failure
from playpen_clembench.adventuregame.grammar import LONGEST, Command, parse
from playpen_clembench.adventuregame.language import language

ENGLISH = language("en")


def failure(text: str) -> Failure:
    with pytest.raises(Failure) as caught:
        parse(text, ENGLISH)
    assert caught.value.phase == "parsing"
    return caught.value


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("take the old book", Command("take", "book")),
        (
            "pick up potted plant from the floor",
            Command("take", "potted plant", "floor", "from"),
        ),
        ("put pillow back on the side table", Command("put", "pillow", "side table", "on")),
        ("put potted plant table", Command("put", "potted plant", "table")),
        ("put down pillow on table", Command("put", "pillow", "table", "on")),
        ("go back to the living room", Command("go", "living room")),
        ("Take pillow!", Command("take", "pillow")),
        ("quit", Command("done")),
        ("FINISH.", Command("done")),
        ("pick pillow up", Command("take", "pillow up")),
        ("put pillow onto table", Command("put", "pillow onto", "table")),
        ("put down pillow", Command("put", "down", "pillow")),
        ("go in kitchen", Command("go", "in kitchen")),
        ("go livingroom", Command("go", "livingroom")),
        ("take apple out of the fridge", Command("take", "apple", "fridge", "out of")),
        ("get apple out fridge", Command("take", "apple", "fridge", "out")),
        ("grab a mop", Command("take", "mop")),
        (
            "place the ripe fresh banana in a small glass bowl",
            Command("put", "banana", "bowl", "in"),
        ),
        ("put wooden on table", Command("put", "wooden", "table", "on")),
        ("take book from shelf in kitchen", Command("take", "book", "shelf", "in")),
        ("go back", Command("go", "back")),
        ("go to", Command("go", "to")),
        ("take the", Command("take", "the")),
        ("proceed to to kitchen", Command("go", "kitchen")),
        ("enter \t kitchen \n", Command("go", "kitchen")),
        ("search\fbed", Command("examine", "bed")),
        ("check the side table", Command("examine", "side table")),
        ("take \u212aitchen", Command("take", "kitchen")),  # lower-cased, the sign is a k
    ],
)
def test_readings(text: str, command: Command) -> None:
    assert parse(text, ENGLISH) == command


@pytest.mark.parametrize(
    ("text", "type"),
    [
        ("take pillow and book", "malformed_command"),
        ("put pillow", "malformed_command"),
        ("take from shelf the book", "malformed_command"),
        ("done it", "malformed_command"),
        ("go", "malformed_command"),
        ("go through passage to hallway", "malformed_command"),
        ("drop pillow", "undefined_action_verb"),
        ("grab", "undefined_action_verb"),
        ("quit now", "undefined_action_verb"),
        ("look around", "undefined_action_verb"),
        ("i am done", "undefined_action_verb"),
        ("take pillow, book", "lark_exception"),
        ("take pillow1", "lark_exception"),
        ("take pillow?", "lark_exception"),
        ("take side-table", "lark_exception"),
        ("take bob's book", "lark_exception"),
        ("done..", "lark_exception"),
        (" done", "lark_exception"),
        ("> done", "lark_exception"),
        ("take\rbook", "lark_exception"),
        ("take\xa0book", "lark_exception"),
        ("take b\u00fcch", "lark_exception"),
        ("", "lark_exception"),
        (".", "lark_exception"),
        ("open \x00", "lark_exception"),
    ],
)
def test_what_cannot_be_read(text: str, type: str) -> None:
    assert failure(text).type == type


def test_failures_repeat_what_was_not_understood() -> None:
    assert failure("Look around").words["VERB"] == "look"
    assert failure("take 1").words["TEXT"] == "take 1"
    assert len(failure("take " + "1" * 10**6).words["TEXT"]) <= LONGEST


def test_a_language_without_a_folder_is_named() -> None:
    with pytest.raises(PromptError, match=r"prompts/xx/language\.json"):
        language("xx")


# --- the best reading, compared with a search of all readings -------------------------------------

FUNCTION_WORDS = {
    "determiner": ["the", "a", "an"],
    "adjective": ["old", "down"],
    "preposition": ["on", "up", "out", "out of", "from"],
    "back": ["back"],
    "to": ["to"],
}
SHAPES = {
    "open": ["name"],
    "go": ["back*", "to*", "name"],
    "put": ["name", "back*", "preposition*", "name"],
    "take": ["preposition*", "name", "(preposition name)*"],
}
Reading = tuple[tuple[int, int, int, int], list[str], str | None]


def noun_phrases(words: list[str]) -> Iterator[tuple[int, str, int]]:
    """All noun phrases at the beginning: length, plain words, number of function words."""
    for described in range(len(words)):
        lead = words[:described]
        first_is_determiner = bool(lead) and lead[0] in FUNCTION_WORDS["determiner"]
        adjectives = lead[1:] if first_is_determiner else lead
        if all(word in FUNCTION_WORDS["adjective"] for word in adjectives):
            for plain in (1, 2):
                if described + plain <= len(words):
                    end = described + plain
                    yield end, " ".join(words[described:end]), described


def starred(words: list[str], role: str) -> Iterator[tuple[int, int, str | None]]:
    """All runs of phrases of a role: length, number of phrases, the last phrase."""
    yield 0, 0, None
    for phrase in FUNCTION_WORDS[role]:
        parts = phrase.split()
        if words[: len(parts)] == parts:
            for length, uses, last in starred(words[len(parts) :], role):
                yield len(parts) + length, uses + 1, last or phrase


def readings(words: list[str], shape: list[str], optional: int = 1) -> Iterator[Reading]:
    if not shape:
        if not words:
            yield (0, 0, 0, 0), [], None
        return
    part, *rest = shape
    if part == "name":
        for length, name, function in noun_phrases(words):
            for worth, names, preposition in readings(words[length:], rest, optional):
                # The length counts for the first name only: outer calls overwrite it.
                yield (function + worth[0], *worth[1:3], length), [name, *names], preposition
        return
    if part == "(preposition name)*":
        yield from readings(words, rest, optional + 1)
        for phrase in FUNCTION_WORDS["preposition"]:
            parts = phrase.split()
            if words[: len(parts)] == parts:
                for worth, names, last in readings(words[len(parts) :], ["name", *shape], optional):
                    function = worth[0] + len(parts)
                    yield (function, worth[1], worth[2] + 1, worth[3]), names, last or phrase
        return
    role = part.removesuffix("*")
    for length, uses, last in starred(words, role):
        for worth, names, preposition in readings(words[length:], rest, optional + 1):
            counts = list(worth)
            counts[0] += length if role == "preposition" else 0
            counts[optional] += uses
            typed = preposition or (last if role == "preposition" else None)
            yield tuple(counts), names, typed  # type: ignore[misc]


WORDS = [
    *itertools.chain(*map(str.split, itertools.chain(*FUNCTION_WORDS.values()))),
    "book",
    "side",
]


@settings(max_examples=400)
@given(st.sampled_from(sorted(SHAPES)), st.lists(st.sampled_from(WORDS), max_size=7))
def test_the_reading_is_a_best_one(action: str, words: list[str]) -> None:
    every = list(readings(words, SHAPES[action]))
    text = " ".join([action, *words])
    if not every:
        assert failure(text).type == "malformed_command"
        return
    most = max(worth for worth, _, _ in every)
    best = [
        (names[0], names[1] if len(names) > 1 else None, preposition)
        for worth, names, preposition in every
        if worth == most
    ]
    assert tuple(parse(text, ENGLISH))[1:] in best


@pytest.mark.parametrize(
    ("text", "type"),
    [
        ("take " + "on " * 10**5 + "book", "malformed_command"),
        ("drop " + "old " * 10**5 + "book", "undefined_action_verb"),
        ("x" * 10**6, "undefined_action_verb"),
        ("take " * 10**5 + "!!", "lark_exception"),
    ],
)
def test_endless_commands_are_refused(text: str, type: str) -> None:
    assert failure(text).type == type


def test_long_commands_are_read() -> None:
    assert parse("go " + "back " * 40 + "to the kitchen", ENGLISH) == Command("go", "kitchen")
