"""The metrics, computed from the record of an episode."""

from __future__ import annotations

from playpen import Abort, Episode, Metrics
from playpen_clembench.counts import plain_counts, request_counts
from playpen_clembench.referencegame.roles import FOLLOWER, GIVER


def metrics(episode: Episode) -> Metrics:
    """Upstream's numbers; `None` stands for NaN."""
    replies, aborted = episode.replies(), episode.aborted
    fault = episode.outcome.fault if isinstance(episode.outcome, Abort) else None
    described = replies[0].reply.text if replies and fault != GIVER else None
    both = {
        "Generated Expression Length": None if described is None else len(described),
        "Generated Expression Number of Tokens": (
            None if described is None else described.count(" ") + 1
        ),
        **plain_counts(len(replies), int(aborted)),
    }
    flags = {
        "Aborted at Player 1": int(fault == GIVER),
        "Aborted at Player 2": int(fault == FOLLOWER),
        # Unlike in other games, these are missing after an abort, not 0.
        "Success": None if aborted else int(episode.success),
        "Lose": None if aborted else int(episode.lose),
        **request_counts(len(replies), int(aborted), digits=4),
    }
    return Metrics({**both, **flags}, {"0": {**both, "Success": int(episode.success)}})
