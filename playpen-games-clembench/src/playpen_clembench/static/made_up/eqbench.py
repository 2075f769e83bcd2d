"""Conversations of people who say plainly how strongly they feel what."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

from playpen import Conversation
from playpen_clembench.static.made_up.puzzles import Item, MadeUp, Puzzles

DEGREES = {"not at all": 0, "faintly": 2, "rather": 5, "very": 8, "utterly": 10}
FEELINGS = (
    *("Angry", "Anxious", "Ashamed", "Bored", "Calm", "Curious"),
    *("Grateful", "Hopeful", "Jealous", "Proud"),
)
PEOPLE = ("Amara", "Boris", "Carmen", "Dilan", "Edda", "Fumiko", "Goran", "Hana")
PAIRS = tuple(itertools.permutations(PEOPLE, 2))
NEWS = (
    "They want to pull down the old cinema",
    "The cat next door has had five kittens",
    "The choir sings in the cathedral on Sunday",
    "The train will be two hours late",
    "We have won the weekly pub quiz",
    "My sister is moving to the coast",
    "The exam has been put off until May",
    "Somebody has repaired the playground swings",
)
FOURS = tuple(itertools.combinations(FEELINGS, 4))
STRENGTHS = tuple(itertools.product(DEGREES, repeat=4))

_SPEECH = re.compile(rf"({'|'.join(DEGREES)}) ({'|'.join(FEELINGS)})", re.IGNORECASE)
_ASKED = re.compile(r"How strongly does (\w+) feel")
_FORM = re.compile(r"^(\w+): <\w+>$", re.MULTILINE)


def _one_speaker(
    pair: tuple[str, str], news: str, feelings: Sequence[str], strengths: Sequence[str]
) -> Item | None:
    asker, speaker = pair
    lines = [
        f"{asker}: {news}. How is that for you?",
        f"{speaker}: {_speech(feelings, strengths)}",
    ]
    return _item(lines, speaker, feelings, strengths)


def _two_speakers(
    pair: tuple[str, str],
    news: str,
    feelings: Sequence[str],
    strengths: Sequence[str],
    others: Sequence[str],
) -> Item | None:
    one, other = pair
    lines = [
        f"{one}: {news}. {_speech(feelings, strengths)}",
        f"{other}: Not me. {_speech(feelings, others)}",
    ]
    return _item(lines, one, feelings, strengths)


def _speech(feelings: Sequence[str], strengths: Sequence[str]) -> str:
    words = [f"{how} {what.lower()}" for how, what in zip(strengths, feelings, strict=True)]
    return f"I am {', '.join(words[:-1])} and {words[-1]}."


def _item(
    lines: Sequence[str], person: str, feelings: Sequence[str], strengths: Sequence[str]
) -> Item | None:
    target = {what: DEGREES[how] for what, how in zip(feelings, strengths, strict=True)}
    if not any(target.values()):  # such an answer would not be valid
        return None
    scale = ", ".join(f"{how} is {number}" for how, number in DEGREES.items())
    text = "\n".join(
        [
            "Read this conversation:",
            "",
            *lines,
            "",
            f"How strongly does {person} feel each of the following? Take {person} at their word, "
            f"with these numbers: {scale}. Reply with four lines in this form, and nothing else:",
            "",
            *(f"{feeling}: <number>" for feeling in feelings),
        ]
    )
    return Item(text, target)


def solve(conversation: Conversation) -> str:
    """Give the numbers that the person names; rate everything 5 in other conversations."""
    text = conversation.last
    asked = _ASKED.search(text)
    speech = re.search(rf"^{asked[1]}: (.*)$", text, re.MULTILINE) if asked else None
    felt = {
        what.capitalize(): DEGREES[how.lower()]
        for how, what in _SPEECH.findall(speech[1] if speech else "")
    }
    return "\n".join(f"{feeling}: {felt.get(feeling, 5)}" for feeling in _FORM.findall(text))


MADE_UP = MadeUp(
    game="eqbench",
    puzzles={
        "one_speaker": Puzzles(_one_speaker, (PAIRS, NEWS, FOURS, STRENGTHS)),
        "two_speakers": Puzzles(_two_speakers, (PAIRS, NEWS, FOURS, STRENGTHS, STRENGTHS)),
    },
    settings={},
)
