"""What the questioner and the game master say.

Instances hold numbers of wordings.  The wordings are our own, from ``prompts/<language>/``, unless
the experiment brings others in its field ``texts``: an object with the contents of clembench's
resource files under their names (``requests``, ``probing_questions``, ``reprompts``, ``words``),
each of them optional.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from playpen import Experiment, Instance
from playpen.instance_sets import load_json
from playpen.prompts import PromptError
from playpen_clembench.languages import language_file

Wordings: TypeAlias = dict[str, tuple[str, ...]]
"""Slot to the sentences from which the numbers of an instance choose."""


class Words(msgspec.Struct, frozen=True, rename="upper"):
    """Fixed words of a language; the upper-case names are clembench's.

    Attributes:
        answer, aside: what the replies to the questioner and to the game master begin with.
        me: what the game master's questions begin with.
        probe: the game master's question, with ``{}`` for its wording.
        yes, no: the accepted replies to it.
        ok: the fixed reply to the first message.
    """

    answer: str
    aside: str
    me: str
    probe: str
    yes: str
    no: str
    ok: str


class Reprompts(msgspec.Struct, frozen=True):
    """What is put before the game master's question: one text per attempt."""

    suffixes: tuple[str, ...]


class Scene(msgspec.Struct, frozen=True):
    """Our own texts of an experiment: parts of the first message, and the wordings."""

    situation: str
    topic: str
    questioner: str
    tag: str
    requests: Wordings
    probing_questions: Wordings


class Texts(msgspec.Struct, frozen=True):
    """The texts that are used in an experiment, whoever wrote them."""

    words: Words
    reprompts: Reprompts
    requests: Wordings
    probing_questions: Wordings

    def request(self, slot: str, number: int) -> str:
        """The questioner's question for a slot."""
        return _choose(self.requests, slot, number, "request")

    def probe(self, slot: str, number: int) -> Iterator[str]:
        """The game master's question whether a slot is known: one text per attempt."""
        question = _choose(self.probing_questions, slot, number, "probing question")
        text = self.words.probe.replace("{}", question)
        me = self.words.me
        return (text.replace(me, f"{me}{suffix} ") for suffix in self.reprompts.suffixes)

    def opening_values(self, instance: Instance, tag: str) -> dict[str, str]:
        """The values of the placeholders of our own first message, which shows all values.

        Args:
            instance: the instance.
            tag: what the questioner's questions begin with.

        Raises:
            PromptError: we have no texts for the experiment.
        """
        scene = scene_of(instance.language, instance.experiment.name)
        words = self.words
        return {
            "SITUATION": scene.situation,
            "TOPIC": scene.topic,
            "FACTS": "\n".join(f"{slot.upper()}: {v}" for slot, v in instance["slots"].items()),
            "QUESTIONER": scene.questioner,
            "TAG": tag,
            "ANSWER": words.answer,
            "ASIDE": words.aside,
            "ME": words.me.strip(),
            "YES": words.yes,
            "NO": words.no,
        }


def _choose(wordings: Wordings, slot: str, number: int, kind: str) -> str:
    available = wordings.get(slot, ())
    if number < len(available):
        return available[number]
    raise PromptError(
        f"privateshared: there is no {kind} number {number} for the slot {slot!r} "
        f"(it has {len(available)}); the experiment's field 'texts' can bring others"
    )


def texts_of(instance: Instance) -> Texts:
    """The texts of the experiment that an instance belongs to.

    Raises:
        PromptError: the experiment does not bring them all, and we have none.
    """
    return _texts(instance.experiment, instance.language)


@lru_cache(maxsize=64)
def _texts(experiment: Experiment, language: str) -> Texts:
    given = experiment.config.get("texts", {})

    def text(name: str) -> Any:
        if name in given:
            return given[name]
        if name in Scene.__struct_fields__:
            return getattr(scene_of(language, experiment.name), name)
        return _own(language, name)

    return msgspec.convert({name: text(name) for name in Texts.__struct_fields__}, Texts)


def scene_of(language: str, experiment: str) -> Scene:
    """Our own texts of an experiment.

    Raises:
        PromptError: we have none.
    """
    scenes = scenes_of(language)
    if experiment not in scenes:
        raise PromptError(
            f"privateshared: there are no texts for the experiment {experiment!r} "
            f"(only for {', '.join(scenes)}); give it a field 'texts', "
            "and its instances an 'initial_prompt' and a 'tag'"
        )
    return scenes[experiment]


@cache
def scenes_of(language: str) -> dict[str, Scene]:
    """Our own texts by experiment."""
    return msgspec.convert(_own(language, "scenes"), dict[str, Scene])


def _own(language: str, name: str) -> Any:
    return msgspec.json.decode(language_file(__package__, language, f"{name}.json"))


def upstream_texts(resources: Path, experiment: str, language: str = "en") -> dict[str, Any]:
    """The field ``texts`` of an experiment, from the resources of a clembench checkout.

    Files that are not there are left out (docs/rules/privateshared.md, "Instances").
    """
    files = {
        "requests": resources / "texts" / experiment / "requests.json",
        "probing_questions": resources / "texts" / experiment / "probing_questions.json",
        "reprompts": resources / "texts" / "reprompts.json",
        "words": resources / f"{language}_words.json",
    }
    return {name: load_json(path) for name, path in files.items() if path.is_file()}
