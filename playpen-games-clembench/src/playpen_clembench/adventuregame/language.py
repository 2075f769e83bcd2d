"""The words of a language: what a command may be made of, and what things are called."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import NamedTuple

import msgspec

from playpen.prompts import fill
from playpen_clembench.languages import language_file


class Name(NamedTuple):
    """What a kind is called: in commands, when first mentioned, and when it is known."""

    plain: str
    indefinite: str
    definite: str


class Words(msgspec.Struct, frozen=True):
    """The content of ``language.json``: the words that commands are made of, and the names."""

    plan_tag: str
    done: str
    letters: str
    verbs: dict[str, list[str]]
    determiners: list[str]
    adjectives: list[str]
    prepositions: list[str]
    back: list[str]
    to: list[str]
    joints: tuple[str, str]
    names: dict[str, Name]


class Language:
    """A language in which the game is played.

    Attributes:
        words: what commands are made of, and what the kinds are called.
        actions: the action of every verb.
        kinds: the kind of every plain name.
        indefinite, definite: the kinds by the other forms of their names.
        sentences: the templates of everything that the player is told.
        roles: for each role of function words the phrases that can have it, by their first word.
    """

    def __init__(self, words: Words, sentences: Mapping[str, str]) -> None:
        self.words = words
        self.actions = {verb: name for name, verbs in words.verbs.items() for verb in verbs}
        self.kinds = {name.plain: kind for kind, name in words.names.items()}
        self.indefinite = {name.indefinite: kind for kind, name in words.names.items()}
        self.definite = {name.definite: kind for kind, name in words.names.items()}
        self.roles = {
            role: _by_first_word(phrases)
            for role, phrases in (
                ("determiner", words.determiners),
                ("adjective", words.adjectives),
                ("preposition", words.prepositions),
                ("back", words.back),
                ("to", words.to),
            )
        }
        self.sentences = sentences

    def say(self, sentence: str, **values: str) -> str:
        """A sentence with its placeholders filled, its first letter in upper case."""
        text = self.phrase(sentence, **values)
        return text[:1].upper() + text[1:]

    def phrase(self, phrase: str, **values: str) -> str:
        """A part of a sentence with its placeholders filled."""
        return fill(self.sentences[phrase], values)

    def a(self, kind: str) -> str:
        """A room or thing that is mentioned for the first time, such as ``an apple``."""
        return self.words.names[kind].indefinite

    def the(self, kind: str) -> str:
        """A room or thing that is known, such as ``the apple``."""
        return self.words.names[kind].definite

    def listed(self, phrases: Iterable[str]) -> str:
        """An enumeration, such as ``a bed, a book and an apple``."""
        *first, last = phrases
        comma, joint = self.words.joints
        return comma.join(first) + joint + last if first else last


def _by_first_word(phrases: Iterable[str]) -> dict[str, list[list[str]]]:
    table: dict[str, list[list[str]]] = {}
    for phrase in phrases:
        words = phrase.split()
        table.setdefault(words[0], []).append(words)
    return table


@cache
def language(code: str) -> Language:
    """The language of a folder ``prompts/<code>/``.

    Raises:
        PromptError: the game does not speak it.
    """
    words = language_file(__package__, code, "language.json")
    sentences = language_file(__package__, code, "sentences.json")
    return Language(
        msgspec.json.decode(words, type=Words),
        msgspec.json.decode(sentences, type=dict[str, str]),
    )
