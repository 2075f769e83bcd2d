"""All that the rules of a game can say: moves, outcomes, violations, and `ask`.

A game is a generator of moves.  It yields what it wants to ask or say to which role, is sent the
reply, and returns an outcome.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, overload

import msgspec

if TYPE_CHECKING:
    pass

T = TypeVar("T")


# --- moves ---------------------------------------------------------------------------------------


class Ask(msgspec.Struct, frozen=True, tag="ask"):
    """A user message to `role`; the generator is sent the `Reply`.

    `keep=False` makes it a side question: it sees the role's history but leaves no trace in it.
    """

    role: str
    text: str
    keep: bool = True
    max_new_tokens: int | None = None


class Tell(msgspec.Struct, frozen=True, tag="tell"):
    """Text joined, after a blank line, with the role's next user message."""

    role: str
    text: str


class Exchange(msgspec.Struct, frozen=True, tag="exchange"):
    """A fixed question and answer put into the role's history; nobody is asked."""

    role: str
    text: str
    reply: str


class Note(msgspec.Struct, frozen=True, tag="note"):
    """A game-master event, for transcripts and metrics; no role sees it."""

    kind: str
    data: Any = None


class Reward(msgspec.Struct, frozen=True, tag="reward"):
    """A turn-level reward, credited to the role's latest reply."""

    role: str
    value: float


class Round(msgspec.Struct, frozen=True, tag="round"):
    """A new round begins.  The first round is there from the start."""


class Draw(msgspec.Struct, frozen=True, tag="draw"):
    """A chance move: the generator is sent a list of `k` distinct elements of `options`.

    Options must be JSON values.  The referee draws and records; a replay sends what was recorded.
    """

    options: list[Any]
    k: int = 1


class Violated(msgspec.Struct, frozen=True, tag="violation"):
    """The role's latest reply broke a rule.  `retried` tells whether the role is asked again."""

    role: str
    code: str
    message: str
    retried: bool = False


Move: TypeAlias = Ask | Tell | Exchange | Note | Reward | Round | Draw | Violated


# --- outcomes ------------------------------------------------------------------------------------


class Success(msgspec.Struct, frozen=True, tag="success"):
    """The players reached the goal.  `score` is the main score (usually 0 to 100)."""

    score: float | None = 100
    role_scores: dict[str, float] | None = None
    unscored: bool = False


class Lose(msgspec.Struct, frozen=True, tag="lose"):
    """The game was played to its end and lost.  `fault` names the role that lost it, if one did."""

    score: float | None = 0
    fault: str | None = None
    role_scores: dict[str, float] | None = None
    unscored: bool = False


class Abort(msgspec.Struct, frozen=True, tag="abort"):
    """A rule was broken and the episode cannot go on.  The main score of an abort is `None`."""

    code: str
    message: str
    fault: str | None = None
    unscored: bool = False

    @property
    def score(self) -> None:
        """Always `None`: an aborted episode has no main score."""
        return None


Outcome: TypeAlias = Success | Lose | Abort


def own_scores(outcome: Outcome | None) -> dict[str, float]:
    """The scores of the roles that have one of their own."""
    if outcome is None or isinstance(outcome, Abort):
        return {}
    return outcome.role_scores or {}


Play: TypeAlias = Generator[Move, Any, Outcome]


class Violation(Exception):
    """Raised by a parser whose reply breaks a rule.

    Args:
        code: short machine-readable name of the rule, e.g. ``"missing_tag"``.
        message: what was wrong, for people.
        retry: the text with which the role is asked again; without it the episode aborts.
    """

    def __init__(self, code: str, message: str, retry: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retry = retry
        self.role: str | None = None


@overload
def ask(
    role: str,
    text: str,
    parse: None = None,
    *,
    retries: int = 0,
    keep: bool = True,
    max_new_tokens: int | None = None,
) -> Generator[Move, Any, str]: ...


@overload
def ask(
    role: str,
    text: str,
    parse: Callable[[str], T],
    *,
    retries: int = 0,
    keep: bool = True,
    max_new_tokens: int | None = None,
) -> Generator[Move, Any, T]: ...


def ask(
    role: str,
    text: str,
    parse: Callable[[str], Any] | None = None,
    *,
    retries: int = 0,
    keep: bool = True,
    max_new_tokens: int | None = None,
) -> Generator[Move, Any, Any]:
    """Put a question to a role and parse the reply.

    Inside `Game.play`: ``value = yield from ask("guesser", text, parse)``.

    A parser raises `Violation`.  Each one is recorded.  If it carries a `retry` text and fewer
    than `retries` re-prompts were used, the role is asked again with that text; otherwise the
    violation goes on to the game, and if the game does not catch it the episode aborts with the
    role at fault.  Without `parse` the reply's text is returned.

    Raises:
        Violation: for a reply that breaks a rule and is not (or no longer) asked again.
    """
    for attempt in range(retries + 1):
        reply = yield Ask(role, text, keep, max_new_tokens)
        if parse is None:
            return reply.text
        try:
            return parse(reply.text)
        except Violation as violation:
            violation.role = role
            retry = violation.retry if attempt < retries else None
            yield Violated(role, violation.code, violation.message, retry is not None)
            if retry is None:
                raise
            text = retry
    raise AssertionError("unreachable")
