"""The metrics, computed from the record of an episode."""

from __future__ import annotations

from typing import Any

from playpen import Abort, Episode, Metrics, Round
from playpen_clembench.counts import plain_counts, request_counts
from playpen_clembench.guesswhat.replies import FORBIDDEN
from playpen_clembench.guesswhat.roles import ANSWERER, GUESSER


def metrics(episode: Episode) -> Metrics:
    """Upstream's numbers; requests are rounds, not replies."""
    rounds = 1 + sum(isinstance(event, Round) for event in episode.events)
    aborted = int(episode.aborted)
    scores: dict[str, Any] = {
        **request_counts(rounds, aborted),
        "Aborted": aborted,
        "Main Score": episode.main_score,
        # Unlike in other games, these are missing after an abort, not 0.
        "Success": None if aborted else int(episode.success),
        "Lose": None if aborted else int(episode.lose),
    }
    if episode.success:
        scores["Speed"] = episode.main_score
    return Metrics(
        episode=scores | _violations(episode),
        rounds={
            str(number): _round_scores(episode, last=number == rounds - 1)
            for number in range(rounds)
        },
    )


def _violations(episode: Episode) -> dict[str, int]:
    outcome = episode.outcome
    kind = None
    if isinstance(outcome, Abort):
        kind = (outcome.fault, "content" if outcome.code == FORBIDDEN else "format")
    return {
        f"Invalid {what} {role} response": int(kind == (role, what))
        for what in ("format", "content")
        for role in (GUESSER, ANSWERER)
    }


def _round_scores(episode: Episode, *, last: bool) -> dict[str, Any]:
    return {
        "Accuracy": int(last and episode.success),
        **plain_counts(1, int(last and episode.aborted)),
    }
