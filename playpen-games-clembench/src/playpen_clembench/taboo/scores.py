"""The metrics, computed from the record of an episode."""

from __future__ import annotations

from typing import Any

from playpen import Episode, Metrics, Round
from playpen_clembench.counts import plain_counts, request_counts


def metrics(episode: Episode) -> Metrics:
    """Upstream's numbers; requests are rounds, not replies."""
    rounds = 1 + sum(isinstance(event, Round) for event in episode.events)
    per_round: dict[str, dict[str, Any]] = {}
    for number in range(rounds):
        last = number == rounds - 1
        per_round[str(number)] = {
            "Accuracy": int(last and episode.success),
            **plain_counts(1, int(last and episode.aborted)),
        }
    return Metrics(
        episode={
            **request_counts(rounds, int(episode.aborted)),
            # Always 0 upstream, which looks for events that the game never writes.
            "Repetition-Guesser": 0,
            "Repetition-Describer": 0,
        },
        rounds=per_round,
    )
