"""The planning variant: plans are tried out after each command.

See docs/rules/adventuregame.md, "Plans".
"""

from __future__ import annotations

from typing import Any, NamedTuple

from playpen_clembench.adventuregame.interpreter import Interpreter
from playpen_clembench.adventuregame.replies import Plan


class Trial(NamedTuple):
    """How far a plan can be carried out.

    Attributes:
        length: its number of commands.
        successes: how many of them succeeded before the first that failed.
        followed: whether this turn's command is the first one of the plan before; `None` if there
            was none.
    """

    length: int
    successes: int
    followed: bool | None

    @property
    def viability(self) -> float:
        """The share of the plan that can be carried out; 0 if no plan was ever made."""
        return self.successes / self.length if self.length else 0

    def record(self) -> dict[str, Any]:
        """What the scores and a reader of the transcript need to know of it."""
        return {**self._asdict(), "viability": self.viability}


class Planner:
    """The plans that a player has made.  In a turn without a plan the latest one counts."""

    def __init__(self) -> None:
        self._plans: list[Plan] = []

    def turn(self, command: str, plan: Plan | None, interpreter: Interpreter) -> Trial:
        """Take a new plan, if there is one, and try out the latest; the world stays as it is."""
        if plan is not None:
            self._plans = [*self._plans[-1:], plan]
        latest = self._plans[-1] if self._plans else Plan([], 0)
        followed = self._plans[-2].commands[0] == command if len(self._plans) > 1 else None
        return Trial(latest.length, self._try_out(latest, interpreter), followed)

    def _try_out(self, plan: Plan, interpreter: Interpreter) -> int:
        before = interpreter.world
        interpreter.world = before.copy()
        successes = 0
        for command in plan.commands:
            if not interpreter.execute(command).succeeded:
                break
            successes += 1
        interpreter.world = before
        interpreter.exploration.forget(successes)
        return successes
