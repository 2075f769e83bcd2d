"""The rules of IFEval: follow instructions that a program can check, every one of them."""

from __future__ import annotations

from playpen import Instance, Note, Play, ask
from playpen_clembench.static.instructions import follows, require_checkers
from playpen_clembench.static.single_turn import ANSWERER, SingleTurn, verdict


class IfEval(SingleTurn):
    """Write a text that keeps to all the instructions that come with the task."""

    name = "ifeval"
    generator = "playpen_clembench.static.made_up.ifeval:MADE_UP"
    oracles = {ANSWERER: "playpen_clembench.static.made_up.ifeval:solve"}

    def play(self, instance: Instance) -> Play:
        """One task, one text; every reply is valid."""
        require_checkers()  # before anybody is asked
        reply = yield from ask(
            ANSWERER, instance["input"], max_new_tokens=most_new_tokens(instance)
        )
        followed = {
            instruction: follows(reply, instruction, arguments)
            for instruction, arguments in instance["target"].items()
        }
        yield Note("followed", followed)
        return verdict(all(followed.values()))


def most_new_tokens(instance: Instance) -> int | None:
    """How long an answer the experiment asks for, in tokens; `None`: no more than others."""
    settings = instance.get("meta", {}).get("generation_kwargs", {})
    limit: int | None = settings.get("max_gen_toks")
    return limit
