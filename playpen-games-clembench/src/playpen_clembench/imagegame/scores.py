"""Upstream's numbers of an episode (docs/rules/imagegame.md, "Scores")."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from playpen import Abort, Episode, Metrics, Note
from playpen_clembench.counts import plain_counts, request_counts
from playpen_clembench.imagegame.replies import first_line
from playpen_clembench.imagegame.roles import FOLLOWER, GIVER

COMPLETE_ROUND, DONE_ROUND = 6, 2
"""Events that upstream logs, and counts as requests, in a round."""
BROKEN_ROUND = {GIVER: 3, FOLLOWER: 6}
"""Events of a round in which that role broke the form, the violation included."""


def metrics(episode: Episode, *, header_is_event: bool) -> Metrics:
    """All scores; `None` stands for NaN.

    Only complete rounds have scores of their own; the last of them has those of the drawing.

    Args:
        episode: the record.
        header_is_event: count the follower's header as an event of its own.
    """
    notes = [event for event in episode.events if isinstance(event, Note)]
    ended_by = notes[-1].kind if notes else ""
    rounds = [
        _round_scores(said.reply.text, note.data)
        for said, note in zip(
            episode.replies(GIVER), (n for n in notes if n.kind == "drawing"), strict=False
        )
    ]
    events = [COMPLETE_ROUND] * len(rounds)
    if ended_by == "round limit":
        events[-1] += 1  # the message about the limit
    if ended_by == "done":
        events.append(DONE_ROUND)
    if isinstance(episode.outcome, Abort):
        events.append(BROKEN_ROUND[episode.outcome.fault or GIVER])
    if header_is_event and episode.replies(FOLLOWER):
        events[0] += 1
    for scores, count in zip(rounds, events, strict=False):
        scores |= plain_counts(count, 0)
    return Metrics(
        episode=_episode_scores(episode, rounds)
        | request_counts(sum(events), int(episode.aborted), digits=4),
        rounds={str(number): scores for number, scores in enumerate(rounds)},
    )


def _round_scores(reply: str, drawing: dict[str, Any]) -> dict[str, Any]:
    # Upstream removes a tag that its prompts no longer use, so the present one is counted.
    expression = first_line(reply).replace("Instruction:", "").strip()
    return {
        "Generated Expression Length": len(expression),
        "Generated Expression Number of Tokens": expression.count(" ") + 1,
        "Precision": drawing["precision"],
        "Recall": drawing["recall"],
        "F1": drawing["f1"],
        "Changed Cell Count": drawing["changed"],
    }


def _episode_scores(episode: Episode, rounds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    final: dict[str, Any] = dict.fromkeys(
        [
            "Precision",
            "Recall",
            "F1",
            "Main Score",
            "Average Changed Cell Count",
            "Average Generated Instruction Length",
            "Average Generated Expression Number of Tokens",
        ],
        # Done at once, before there is any drawing, is a zero.
        None if episode.aborted else 0,
    )
    if rounds and not episode.aborted:
        last = rounds[-1]
        final = {
            "Precision": last["Precision"],
            "Recall": last["Recall"],
            "F1": last["F1"],
            "Main Score": last["F1"],
            "Average Changed Cell Count": _mean(rounds, "Changed Cell Count"),
            "Average Generated Instruction Length": _mean(rounds, "Generated Expression Length"),
            "Average Generated Expression Number of Tokens": _mean(
                rounds, "Generated Expression Number of Tokens"
            ),
        }
    return {
        **final,
        "Success": int(episode.success),
        "Lose": int(episode.lose),
        "Aborted": int(episode.aborted),
    }


def _mean(rounds: Sequence[dict[str, Any]], key: str) -> float:
    total: float = sum(scores[key] for scores in rounds)
    return round(total / len(rounds), 4)
