"""A command and perhaps a plan (docs/rules/adventuregame.md, "The form of a reply")."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from playpen.moves import Violation
from playpen_clembench.adventuregame.language import Language

COMMAND_TAG = ">"
NO_COMMAND, NO_PLAN = "command_tag_missing", "next_actions_missing"


LONGEST_PLAN = 200
"""Commands of a plan that are tried out; any further one counts as failed."""


class Plan(NamedTuple):
    """The commands that a player intends to use, at most `LONGEST_PLAN`, and how many there are."""

    commands: list[str]
    length: int


class Turn(NamedTuple):
    """What a reply says: a command, and a plan if it has one."""

    command: str
    plan: Plan | None


def reader(language: Language, *, planning: bool) -> Callable[[str], Turn]:
    """What reads the replies, in the planning variant or the basic one."""
    plan_tag = f"\n{language.words.plan_tag}"

    def read(reply: str) -> Turn:
        if not reply.startswith(COMMAND_TAG):
            raise Violation(NO_COMMAND, f"the reply does not begin with {COMMAND_TAG!r}")
        if planning and plan_tag not in reply and language.words.done not in reply:
            raise Violation(NO_PLAN, f"the reply has no line that begins with {plan_tag[1:]!r}")
        command = reply[len(COMMAND_TAG) :].partition("\n")[0].strip()
        if not planning or plan_tag not in reply:
            return Turn(command, None)
        plan = reply.split(plan_tag, 2)[1]
        commands = [planned.strip() for planned in plan.split(",", LONGEST_PLAN)[:LONGEST_PLAN]]
        return Turn(command, Plan(commands, plan.count(",") + 1))

    return read
