"""The rules of MMLU-Pro: a question with up to ten options, answered in a fixed sentence."""

from __future__ import annotations

import re
from functools import partial
from itertools import islice

from playpen import Instance, Note, Play, Violation, ask
from playpen_clembench.static.single_turn import ANSWERER, SingleTurn, verdict


class MmluPro(SingleTurn):
    """Choose the right option; the sentence that names it must occur exactly once."""

    name = "mmlu_pro"
    generator = "playpen_clembench.static.made_up.mmlu_pro:MADE_UP"
    oracles = {ANSWERER: "playpen_clembench.static.made_up.mmlu_pro:solve"}

    def play(self, instance: Instance) -> Play:
        """One question, one letter."""
        question = self.templated(instance, "input")
        letter = yield from ask(ANSWERER, question, partial(read_letter, instance))
        yield Note("parsed", letter)
        yield Note("target", instance["target"])
        return verdict(letter == instance["target"])


def read_letter(instance: Instance, reply: str) -> str:
    """The letter that the experiment's pattern captures.

    The choices are the experiment's: a letter that the question does not offer is wrong, but no
    violation.
    """
    matches = list(islice(re.finditer(instance["regex_pattern"], reply), 2))
    if not matches:
        raise Violation("no_answer", "the reply has no answer in the form that was asked for")
    if len(matches) > 1:
        raise Violation("several_answers", "the reply states an answer more than once")
    letter = matches[0][1]
    if letter not in instance["choices"]:
        raise Violation("unknown_choice", f"{letter!r} is none of the choices")
    return letter
