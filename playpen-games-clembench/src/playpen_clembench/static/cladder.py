"""The rules of CLadder: a question about causes and effects, answered with yes or no."""

from __future__ import annotations

import string
from functools import partial

from playpen import Instance, Note, Play, Violation, ask
from playpen_clembench.static.single_turn import ANSWERER, SingleTurn, verdict

_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


class Cladder(SingleTurn):
    """Answer a question about causes and effects; the first word of the reply counts."""

    name = "cladder"
    generator = "playpen_clembench.static.made_up.cladder:MADE_UP"
    oracles = {ANSWERER: "playpen_clembench.static.made_up.cladder:solve"}

    def play(self, instance: Instance) -> Play:
        """One question, one word."""
        question = self.templated(instance, "prompt")
        word = yield from ask(ANSWERER, question, partial(read_word, instance))
        yield Note("parsed", word)
        yield Note("target", instance["target"])
        return verdict(word.lower() == instance["target"].lower())


def read_word(instance: Instance, reply: str) -> str:
    """The first word without ASCII punctuation, spelt as in the reply."""
    words = reply.split(maxsplit=1)
    if not words:
        raise Violation("no_answer", "the reply is empty")
    word = words[0].translate(_NO_PUNCTUATION)
    if word.lower() not in instance["choices"]:
        choices = " or ".join(instance["choices"])
        raise Violation("unknown_choice", f"the first word of the reply is not {choices}")
    return word
