"""The metrics, computed from the record of an episode."""

from __future__ import annotations

from playpen import Ask, Episode, Metrics, Note, Round, Violated
from playpen_clembench.counts import plain_counts
from playpen_clembench.matchit_ascii.replies import UNKNOWN_DECISION


def metrics(episode: Episode) -> Metrics:
    """Upstream's numbers; `None` stands for NaN."""
    requests, violated = [0], [0]
    right = 0
    for event in episode.events:
        match event:
            case Round():
                requests.append(0)
                violated.append(0)
            case Ask():
                requests[-1] += 1
            case Violated(code=code):
                # Upstream checks a decision twice, and counts both checks.
                requests[-1] += code == UNKNOWN_DECISION
                violated[-1] += 1
            case Note("decision", data):
                right += data["right"]
    score = None if episode.aborted else 50 * right
    return Metrics(
        {"Player Score": score, **plain_counts(sum(requests), sum(violated))},
        {
            str(number): plain_counts(*of_round)
            for number, of_round in enumerate(zip(requests, violated, strict=True))
        },
    )
