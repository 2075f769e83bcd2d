"""Playing a record again: replay compares, fork takes an episode up in its middle."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

import msgspec

from playpen.conversation import (
    Conversation,
    Reply,
)
from playpen.episode import Drawn, Episode, Event, Said
from playpen.game import Game
from playpen.instance import Instance
from playpen.referee import Referee, blank_copy


class Divergence(msgspec.Struct, frozen=True):
    """A place where a replay differs from the recording.

    `where` is the number of the event, or ``outcome``, or the name of a score.
    """

    where: int | str
    kind: Literal["move", "role", "outcome", "score", "missing", "unused"]
    recorded: Any
    replayed: Any

    def __str__(self) -> str:
        place = f"event {self.where}" if isinstance(self.where, int) else str(self.where)
        return f"{place}: recorded {_short(self.recorded)}, replayed {_short(self.replayed)}"


def _short(value: object) -> str:
    text = str(value) if not isinstance(value, str) else repr(value)
    return text if len(text) <= 160 else text[:157] + "..."


class Replay(msgspec.Struct, frozen=True):
    """Result of replaying a script of replies.

    Attributes:
        episode: the episode as the rules play it now.
        complete: whether it came to an outcome before the script ran out.
        unused: how many replies were left over.
        divergences: where it differs from the recording.
    """

    episode: Episode
    complete: bool
    unused: int
    divergences: list[Divergence] = []


def replay_script(
    game: Game,
    instance: Instance,
    script: Sequence[tuple[str | None, Reply]],
    *,
    draws: Iterable[list[Any]] = (),
    episode: Episode | None = None,
) -> Replay:
    """Play an instance with given replies: one queue over all roles.

    Args:
        game: the rules.
        instance: what to play.
        script: ``(role, reply)`` in order; a role of `None` fits any.
        draws: recorded results of the chance moves.
        episode: an empty record that carries identity and seeds.
    """
    referee = Referee(game, instance, episode, draws=draws)
    divergences: list[Divergence] = []
    pending = referee.advance()
    used = 0
    while pending is not None and used < len(script):
        role, reply = script[used]
        if role is not None and role != pending.role:
            divergences.append(Divergence(f"reply {used}", "role", role, pending.role))
        used += 1
        pending = referee.advance(reply)
    return Replay(referee.episode, pending is None, len(script) - used, divergences)


def replay(game: Game, instance: Instance, recorded: Episode) -> Replay:
    """Play a recorded episode again and compare every move and the outcome.

    A failed episode has no outcome; its replay is compared as far as it was played.
    """
    script = [(said.role, said.reply) for said in recorded.replies()]
    blank = blank_copy(game, instance, recorded)
    result = replay_script(game, instance, script, draws=recorded.draws(), episode=blank)
    for number, (old, new) in enumerate(zip(recorded.events, result.episode.events, strict=False)):
        if not _same(old, new):
            result.divergences.append(Divergence(number, "move", old, new))
    old_length, new_length = len(recorded.events), len(result.episode.events)
    if recorded.outcome is not None:
        if old_length != new_length:
            result.divergences.append(
                Divergence("number of events", "move", old_length, new_length)
            )
        if recorded.outcome != result.episode.outcome:
            result.divergences.append(
                Divergence("outcome", "outcome", recorded.outcome, result.episode.outcome)
            )
    return result


def _same(old: Event, new: Event) -> bool:
    """Compare as JSON: a game may note a tuple, a recording holds the list it became."""
    return old == new or msgspec.json.encode(old) == msgspec.json.encode(new)


def fork(
    game: Game,
    instance: Instance,
    recorded: Episode,
    turn: int,
    *,
    sampling_seed: int,
    episode: Episode | None = None,
) -> tuple[Referee, Conversation]:
    """Take an episode up again before its reply number `turn` (counted over all roles).

    The prefix of replies and its draws are kept; what follows is sampled with `sampling_seed`.
    The record is written into `episode`, an empty one with the same seed and repeat, if given.

    Returns:
        The referee and the conversation that waits for a new reply.

    Raises:
        ValueError: the episode has no such reply, or the rules now play the prefix differently.
    """
    said = recorded.replies()
    if not 0 <= turn < len(said):
        raise ValueError(f"{recorded.name} has {len(said)} replies; there is no reply {turn}")
    blank = episode or blank_copy(game, instance, recorded)
    draws = list(_draws_before(recorded, turn))
    referee = Referee(game, instance, blank, draws=draws, sampling_seed=sampling_seed)
    pending = referee.advance()
    for past in said[:turn]:
        if pending is None or pending.role != past.role:
            break
        pending = referee.advance(past.reply)
    prefix = zip(recorded.events, referee.episode.events, strict=False)
    same = all(_same(old, new) for old, new in prefix)
    if pending is None or pending.role != said[turn].role or not same:
        raise ValueError(f"{recorded.name} no longer plays as recorded; replay it to see where")
    return referee, pending


def _draws_before(recorded: Episode, turn: int) -> Iterator[list[Any]]:
    seen = 0
    for event in recorded.events:
        if isinstance(event, Said):
            if seen == turn:
                return
            seen += 1
        elif isinstance(event, Drawn):
            yield event.values
