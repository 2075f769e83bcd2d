"""The request counters that most games report, under upstream's names."""

from __future__ import annotations

from typing import Any


def request_counts(requests: int, violated: int, *, digits: int | None = None) -> dict[str, Any]:
    """The three counters and their ratio.

    Args:
        requests: how many replies (or rounds, where a game counts those) were asked for.
        violated: how many of them broke the rules.
        digits: decimals of the ratio; unrounded if `None`.
    """
    counts = plain_counts(requests, violated)
    ratio = counts["Parsed Request Count"] / requests if requests else None
    return {
        **counts,
        "Request Success Ratio": (
            ratio if digits is None or ratio is None else round(ratio, digits)
        ),
    }


def plain_counts(requests: int, violated: int) -> dict[str, int]:
    """The counters alone, as most games report them of a round."""
    return {
        "Request Count": requests,
        "Parsed Request Count": requests - violated,
        "Violated Request Count": violated,
    }
