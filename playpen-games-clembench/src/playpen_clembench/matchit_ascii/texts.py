"""The texts of match it: an experiment's own, or ours where it brings none."""

from __future__ import annotations

from functools import cache

import msgspec

from playpen import Instance
from playpen.prompts import fill
from playpen_clembench.languages import language_file


class Flags(msgspec.Struct, frozen=True):
    """The first words of replies of each kind."""

    description: str
    question: str
    answer: str
    decision: str


class Words(msgspec.Struct, frozen=True):
    """The texts of ``prompts/<language>/words.json``, under clembench's names.

    Attributes:
        flags: what replies begin with.
        desc_intro: what is put directly before the partner's description.
        a_request: what is put directly after the partner's question.
    """

    flags: Flags
    desc_intro: str
    a_request: str


def flags_of(instance: Instance) -> Flags:
    """The flags that the experiment brings, or ours."""
    given = instance.get("flags")
    return words_of(instance.language).flags if given is None else msgspec.convert(given, Flags)


def fragment(instance: Instance, name: str, **values: str) -> str:
    """``desc_intro`` or ``a_request``, white space around it included."""
    given = instance.get(name)
    text: str = getattr(words_of(instance.language), name) if given is None else given
    return fill(text, values)


@cache
def words_of(language: str) -> Words:
    """Our own words of a language.

    Raises:
        PromptError: the game does not speak it.
    """
    return msgspec.json.decode(language_file(__package__, language, "words.json"), type=Words)
