"""The rules of BIG-Bench Hard: an answer counts only if it is right to the letter."""

from __future__ import annotations

from playpen import Instance, Note, Play, ask
from playpen_clembench.static.single_turn import ANSWERER, SingleTurn, verdict


class Bbh(SingleTurn):
    """Answer a question exactly: a space, a full stop or a line end too many, and it is wrong."""

    name = "bbh"
    generator = "playpen_clembench.static.made_up.bbh:MADE_UP"
    oracles = {ANSWERER: "playpen_clembench.static.made_up.bbh:solve"}

    def play(self, instance: Instance) -> Play:
        """One question, one answer; every reply is valid."""
        answer = yield from ask(ANSWERER, self.templated(instance, "input"))
        yield Note("target", instance["target"])
        return verdict(answer == instance["target"])
