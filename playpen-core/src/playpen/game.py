"""The game side: moves, outcomes, roles and the `Game` base class.

A game is a generator of moves.  It yields what it wants to ask or say to which role, is sent the
reply, and returns an outcome.  It does no input or output and owns no model, so an episode is a
pure function of (game, instance, replies).
"""

from __future__ import annotations

import importlib.resources
import re
from collections.abc import Callable, Generator, Mapping, Sequence
from functools import cache, lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeAlias, TypeVar, cast, overload

import msgspec

from playpen.errors import PlaypenError

if TYPE_CHECKING:
    from pathlib import Path

    from playpen.conversation import Conversation
    from playpen.episode import Episode
    from playpen.instance import Instance

T = TypeVar("T")


class Role(msgspec.Struct, frozen=True):
    """A seat that a player fills.  `summary` is one line for people."""

    name: str
    summary: str = ""


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


# --- metrics -------------------------------------------------------------------------------------


class Metrics(msgspec.Struct):
    """Further numbers of a finished episode, computed from its record.

    `episode` may hold the names ``Aborted``, ``Success``, ``Lose``, ``Main Score``: they then
    replace the flags that are exported.  `rounds` maps a round's key to its numbers.
    """

    episode: dict[str, Any] = {}
    rounds: dict[str, dict[str, Any]] = {}


class Program(Protocol):
    """A player as a function: it reads its own role's conversation and returns a reply."""

    def __call__(self, conversation: Conversation) -> str:
        """Return the reply to the last message of `conversation`."""
        ...


class PromptError(PlaypenError):
    """A prompt file is missing, or has a placeholder that no value fills."""


_PLACEHOLDER = re.compile(r"\$([A-Z][A-Z0-9_]*)\$")


def fill(template: str, values: Mapping[str, object]) -> str:
    """Replace every ``$NAME$`` of `template` by ``values["NAME"]``, in one pass.

    Names without a value stay as they are (texts that an instance brings may hold dollar signs).
    """
    literals, names = _parts(template)
    filled = [str(values[name]) if name in values else f"${name}$" for name in names]
    return "".join(chain.from_iterable(zip(literals, [*filled, ""], strict=True)))


@lru_cache(maxsize=1024)
def _parts(template: str) -> tuple[list[str], list[str]]:
    """The texts between the placeholders of a template, and the placeholders' names."""
    parts = _PLACEHOLDER.split(template)
    return parts[::2], parts[1::2]


def _resource(package: str, *parts: str) -> str | None:
    """Text of a file in a package, or `None` if there is no such file (or no such package)."""
    try:
        path = importlib.resources.files(package)
        for part in parts:  # one by one: a package without __init__.py takes no more at a time
            path = path / part
        return path.read_text(encoding="utf-8")
    except (OSError, ImportError):
        return None


@cache
def _read_prompt(package: str, language: str, name: str) -> tuple[str, frozenset[str]]:
    """A prompt file and the names of its placeholders."""
    text = _resource(package, "prompts", language, f"{name}.md")
    if text is None:
        raise PromptError(
            f"{package} has no prompt {name!r} for language {language!r}; "
            f"add the file prompts/{language}/{name}.md"
        )
    return text.rstrip("\n"), frozenset(_PLACEHOLDER.findall(text))


class Game:
    """Base class of all games.

    A subclass sets `name` and `roles` and writes `play`.  A game of a pack lives in a package of
    its own, with `schema.json`, `prompts/<language>/*.md` and `generate.py` beside `game.py`.
    """

    name: ClassVar[str]
    roles: ClassVar[tuple[Role, ...]]
    rules: ClassVar[str] = "1.0"
    """Version of the rules; recorded in every run."""
    score_range: ClassVar[tuple[float, float]] = (0, 100)
    """The smallest and the largest main score."""
    oracle_wins: ClassVar[float] = 1.0
    """The share of episodes that oracles win with each other, for the conformance kit."""
    shared_fields: ClassVar[frozenset[str]] = frozenset()
    """Fields of an instance that more than one role is told, for the conformance kit."""
    unstable_scores: ClassVar[frozenset[str]] = frozenset()
    """Names of scores that versions of clemcore count differently: a replay leaves them out."""
    max_replies: ClassVar[int] = 500
    """A game that asks more often than this is ended with an abort (``reply_limit``)."""

    def play(self, instance: Instance) -> Play:
        """The rules as a generator: yield moves, return the outcome."""
        raise NotImplementedError(f"{type(self).__name__} must define play(instance)")

    def metrics(self, episode: Episode) -> Metrics:
        """Further numbers of a finished episode.  Pure: the record is all it reads."""
        return Metrics()

    def fingerprint(self, instance: Instance) -> str:
        """What makes two instances the same puzzle: the secret, not its wording.

        The default is the content hash.  Splits and the contamination guard compare fingerprints;
        variants of one family should share them.
        """
        return instance.hash

    def generate(
        self, split: str, *, seed: int = 0, level: str | None = None, n: int | None = None
    ) -> dict[str, Any]:
        """Make instances in the clembench form ``{"experiments": [...]}``.

        Args:
            split: only puzzles that belong to this split are made (see `split_of`).
            seed: the same arguments always give the same instances.
            level: name of one experiment (difficulty level); all regular ones if `None`.
            n: instances per experiment; the game's own number if `None`.
        """
        raise NotImplementedError(f"the game {self.name!r} has no instance generator")

    def levels(self) -> tuple[str, ...]:
        """Names of the experiments that `generate` can make, the regular ones first."""
        return ()

    def oracle(self, role: str) -> Program:
        """A program that plays `role` perfectly, or decently where that cannot be computed."""
        raise LookupError(f"the game {self.name!r} has no oracle for the role {role!r}")

    # -- resources of the game's package ------------------------------------------------------

    @classmethod
    def package(cls) -> str:
        """Import name of the package that holds the game's prompts and schema."""
        return cls.__module__.rpartition(".")[0] or cls.__module__

    @classmethod
    def schema(cls) -> dict[str, Any] | None:
        """JSON Schema with the definitions ``experiment`` and ``instance``; `None` if none."""
        text = _resource(cls.package(), "schema.json")
        return None if text is None else cast("dict[str, Any]", msgspec.json.decode(text))

    def prompt(
        self, name: str, instance: Instance, given: str | None = None, /, **values: object
    ) -> str:
        """A prompt with its ``$NAME$`` placeholders filled.

        Args:
            name: file name in ``prompts/<language>/`` without its ending.
            instance: gives the language (its ``lang``, English by default).
            given: the text that the instance brings; it replaces the file.
            values: the values of the placeholders.

        Raises:
            PromptError: no such file, or one of our own prompts has an unfilled placeholder.
        """
        if given is not None:
            return fill(given, values)
        text, names = _read_prompt(self.package(), instance.language, name)
        if missing := names - values.keys():
            raise PromptError(
                f"prompt {name!r} of {self.name!r} has no value for {', '.join(sorted(missing))}"
            )
        return fill(text, values)

    def recorded_draws(self, events: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
        """What the chance moves gave in a clemcore recording, in order.

        Args:
            events: the recorded events of the episode, each with ``type`` and ``content``.
        """
        return []

    def complete_import(self, document: dict[str, Any], folder: Path) -> dict[str, Any]:
        """Add to an imported instances file what clembench keeps outside of it.

        Args:
            document: the file's content, ``{"experiments": [...]}``; may be changed.
            folder: the game's folder in the checkout (it holds ``in`` and ``resources``).
        """
        return document

    @classmethod
    def role_names(cls) -> tuple[str, ...]:
        """The names of the roles, in order."""
        return tuple(role.name for role in cls.roles)
