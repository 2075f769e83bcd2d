"""Playing for the checks: one episode at a time, watched, with a limit on the time of a reply."""

from __future__ import annotations

import random
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypeAlias

import msgspec

from playpen.conversation import Conversation, Reply
from playpen.episode import Episode, Said
from playpen.game import Game
from playpen.instance import Instance
from playpen.moves import Abort
from playpen.referee import Referee, new_episode
from playpen.testing.findings import excerpt, quoted, reason, spot

Speaker: TypeAlias = Callable[[Conversation], str]
"""Whoever answers: the text for the last message of a conversation."""

SECONDS = 30.0
"""How long a game may work on one reply, on any machine."""


class Stuck(BaseException):
    """Raised inside a game that works on one reply for too long; not for games to catch."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Interrupt the body after some seconds.

    Works in the main thread only, and not within a single call of compiled code that never looks
    for signals.

    Raises:
        Stuck: in the body, at the place where it was interrupted.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def strike(signum: int, frame: FrameType | None) -> None:
        raise Stuck(f"was still busy after {seconds:g} seconds")

    handler = signal.signal(signal.SIGALRM, strike)
    # Somebody else's alarm (a pytest plug-in's, say) goes on afterwards.
    others, _ = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, others)
        signal.signal(signal.SIGALRM, handler)


class OracleError(msgspec.Struct, frozen=True):
    """An oracle that did not answer: its role, what it was asked, and what came instead."""

    role: str
    asked: str
    cause: str


class PlayedEpisode(msgspec.Struct):
    """One episode as the kit played it.

    Attributes:
        instance: what was played.
        episode: the record, without outcome if the game did not get that far.
        asked: the conversations that were answered, in order; for the last one of an episode
            that raised, the reply is in the record too.
        raised: what came out of the game, if something did.
        stuck: where the game was when the time of a reply was up, if it was.
        oracle_errors: oracles that did not answer when they were asked; nothing was said for them.
    """

    instance: Instance
    episode: Episode
    asked: list[Conversation] = []
    raised: Exception | None = None
    stuck: Stuck | None = None
    oracle_errors: list[OracleError] = []

    @property
    def finished(self) -> bool:
        """Whether there is an outcome."""
        return self.episode.outcome is not None

    @property
    def cut_off(self) -> bool:
        """Whether Playpen ended the episode because the game asked too often."""
        outcome = self.episode.outcome
        return isinstance(outcome, Abort) and outcome.code == "reply_limit"

    def trouble(self) -> str | None:
        """Why there is no outcome, with the replies that led there."""
        if self.raised is not None:
            return f"play() raised {reason(self.raised)} {self.after()}"
        if self.stuck is not None:
            return f"play() {self.stuck}{spot(self.stuck)} {self.after()}"
        return None

    def after(self) -> str:
        """The latest replies, for people."""
        said = self.episode.replies()
        if not said:
            return "before any reply"
        shown = "\n".join(f"    {entry.role}: {quoted(entry.reply.text)}" for entry in said[-5:])
        more = f" (the last 5 of {len(said)})" if len(said) > 5 else ""
        return f"after the replies{more}\n{shown}"


def drive(
    game: Game,
    instance: Instance,
    speaker: Speaker,
    *,
    episode: Episode | None = None,
    seconds: float = SECONDS,
) -> PlayedEpisode:
    """Play one episode to its end, whatever that is."""
    played = PlayedEpisode(instance, episode or new_episode(game, instance, {}))
    referee: Referee | None = None
    reply: Reply | None = None
    while True:
        try:
            with time_limit(seconds):
                referee = referee or Referee(game, instance, played.episode)
                pending = referee.advance(reply)
        except Stuck as stuck:
            played.stuck = stuck
            return played
        except Exception as error:
            played.raised = error
            return played
        if pending is None:
            return played
        played.asked.append(pending)
        reply = Reply(speaker(pending))


def reciter(replies: Sequence[Said]) -> Speaker:
    """A speaker that says again what each role said, and nothing when a role has no more."""
    left: dict[str, list[str]] = {}
    for said in replies:
        left.setdefault(said.role, []).append(said.reply.text)

    def speak(conversation: Conversation) -> str:
        mine = left.get(conversation.role)
        return mine.pop(0) if mine else ""

    return speak


def lines_of(episode: Episode) -> list[str]:
    """Everything that happened in an episode, one JSON text per event; the outcome last."""
    return [
        msgspec.json.encode(event, enc_hook=repr).decode()
        for event in [*episode.events, episode.outcome]
    ]


def first_difference(one: Sequence[str], other: Sequence[str]) -> str | None:
    """Where two lists of lines part, in words; `None` if they are equal."""
    for number, (line, rival) in enumerate(zip(one, other, strict=False)):
        if line != rival:
            start = next(
                (i for i, (a, b) in enumerate(zip(line, rival, strict=False)) if a != b),
                min(len(line), len(rival)),
            )
            begin = max(0, start - 30)
            return (
                f"at number {number}, once {excerpt(line[begin:], 120)}, "
                f"once {excerpt(rival[begin:], 120)}"
            )
    if len(one) != len(other):
        return f"once there are {len(one)} of them, once {len(other)}"
    return None


@contextmanager
def global_chance(seed: int) -> Iterator[Callable[[], bool]]:
    """Seed Python's (and numpy's, if it is loaded) global generator of random numbers.

    Yields:
        A function that tells whether a generator was used since then.
    """
    numpy: Any = sys.modules.get("numpy")
    before = random.getstate(), numpy and numpy.random.get_state()
    random.seed(seed)
    if numpy:
        numpy.random.seed(seed)
    seeded = _states(numpy)
    try:
        yield lambda: _states(numpy) != seeded
    finally:
        random.setstate(before[0])
        if numpy:
            numpy.random.set_state(before[1])


def _states(numpy: Any) -> list[str]:
    return [str(hash(random.getstate())), str(numpy.random.get_state()[1:3]) if numpy else ""]
