"""Episodes as the page in the browser gets them: a row of the list, and a transcript."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from playpen.episode import Drawn, Episode, Said
from playpen.moves import (
    Abort,
    Ask,
    Draw,
    Exchange,
    Lose,
    Note,
    Reward,
    Round,
    Tell,
    Violated,
    own_scores,
)

LONGEST = 1000
"""Characters of a message in the list; the transcript has it whole."""


class Row(msgspec.Struct, frozen=True, array_like=True):
    """An episode in the list.

    Attributes:
        run: number of its run on the page.
        game, experiment, instance_id, instance, repeat: see `playpen.Episode`.
        outcome: ``success``, ``lose``, ``abort`` or ``error``.
        reason: the broken rule, or the kind of failure; empty for others.
        fault: the role at fault, if one is.
        message: the reason in words, or the beginning of them.
        score: the main score.
        replies: how many there are.
    """

    run: int
    game: str
    experiment: str
    instance_id: int | str
    instance: str
    repeat: int
    outcome: str
    reason: str
    fault: str
    message: str
    score: float | None
    replies: int


class Line(msgspec.Struct, omit_defaults=True, rename={"kind": "k", "role": "r", "text": "t"}):
    """A line of a transcript.

    Attributes:
        kind: what it is: ``ask``, ``side``, ``tell``, ``fixed``, ``answer`` (a fixed one),
            ``reply``, ``note``, ``violation``, ``reward``, ``round`` or ``drawn``.
        role: whom it is about.
        text: what was said, or a number.
        reasoning: what was thought before.
        raw: what was generated, where that is neither said nor thought.
        aside: what is to be added.
    """

    kind: str
    role: str = ""
    text: str = ""
    reasoning: str = ""
    raw: str = ""
    aside: str = ""


class Transcript(msgspec.Struct, frozen=True):
    """An episode to be shown."""

    name: str
    players: dict[str, str]
    rules: str
    seed: int
    split: str | None
    attempts: int
    seconds: float
    role_scores: dict[str, float]
    lines: list[Line]


def row_of(episode: Episode, run: int) -> Row:
    """The episode's row in the list."""
    outcome, reason, fault, message = _ending(episode)
    return Row(
        run,
        episode.game,
        episode.experiment,
        episode.instance_id,
        episode.instance,
        episode.repeat,
        outcome,
        reason,
        fault,
        message if len(message) <= LONGEST else f"{message[:LONGEST]}…",
        episode.main_score,
        len(episode.replies()),
    )


def _ending(episode: Episode) -> tuple[str, str, str, str]:
    if (failure := episode.failure) is not None:
        return "error", failure.kind, failure.role or "", failure.message
    match episode.outcome:
        case Abort(code, message, fault):
            return "abort", code, fault or "", message
        case Lose(_, fault):
            return "lose", "", fault or "", ""
        case None:
            return "error", "", "", "no outcome"
    return "success", "", "", ""


def transcript_of(episode: Episode) -> Transcript:
    """The episode as it is shown."""
    return Transcript(
        name=episode.name,
        players=episode.players,
        rules=episode.rules,
        seed=episode.seed,
        split=episode.split,
        attempts=episode.attempts,
        seconds=episode.seconds,
        role_scores=own_scores(episode.outcome),
        lines=list(_lines(episode)),
    )


def _lines(episode: Episode) -> Iterator[Line]:
    number = 1
    for event in episode.events:
        match event:
            case Ask(role, text, keep):
                yield Line("ask" if keep else "side", role, text)
            case Tell(role, text):
                yield Line("tell", role, text)
            case Exchange(role, text, answer):
                yield Line("fixed", role, text)
                yield Line("answer", role, answer)
            case Said(role, reply):
                said = reply.text if reply.raw is None else reply.raw.strip()
                hidden = said not in (reply.text, "") and not reply.reasoning
                yield Line(
                    "reply",
                    role,
                    reply.text,
                    reasoning=reply.reasoning or "",
                    raw=said if hidden else "",
                    aside=reply.stop_reason if reply.stop_reason not in (None, "stop") else "",
                )
            case Note(kind, data):
                yield Line("note", text=kind if data is None else f"{kind}: {_plain(data)}")
            case Violated(role, code, message, retried):
                yield Line("violation", role, message, aside=code + ("+" if retried else ""))
            case Reward(role, value):
                yield Line("reward", role, f"{value:g}")
            case Round():
                number += 1
                yield Line("round", text=str(number))
            case Drawn(values):
                yield Line("drawn", text=_plain(values))
            case Draw():
                pass


def _plain(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
