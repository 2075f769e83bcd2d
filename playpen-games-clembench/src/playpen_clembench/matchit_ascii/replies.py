"""What the players of match it have to write (docs/rules/matchit_ascii.md, "Reply format")."""

from __future__ import annotations

from collections.abc import Callable

from playpen import Violation

UNKNOWN_DECISION = "unknown_decision"
"""Code of the violation that the flag of a decision is right and the rest is not."""


def flagged(flag: str) -> Callable[[str], str]:
    """Parser of a reply whose first word must be `flag`: gives all of it, stripped.

    Words end at a space or a line feed, so the flag must not be followed by anything else.
    """

    def read(reply: str) -> str:
        text = reply.strip()
        if not text:
            raise Violation("empty_reply", "the reply is empty")
        first_line, _, _ = text.partition("\n")
        if first_line.partition(" ")[0] != flag:
            raise Violation("missing_flag", f"the first word of the reply is not {flag!r}")
        return text

    return read


def decision_reader(flag: str, solution: str, wrong_solution: str) -> Callable[[str], bool]:
    """Parser of a decision: gives whether it is right.

    The wording is compared without regard to case, full stops and line feeds around it, but with
    regard to any other white space.
    """
    read_flagged = flagged(flag)
    decisions = {
        f"{flag} {phrase}".lower(): phrase == solution for phrase in (solution, wrong_solution)
    }

    def read(reply: str) -> bool:
        read_flagged(reply)
        right = decisions.get(reply.lower().strip(".\n"))
        if right is None:
            raise Violation(UNKNOWN_DECISION, "the decision is not worded as asked for")
        return right

    return read
