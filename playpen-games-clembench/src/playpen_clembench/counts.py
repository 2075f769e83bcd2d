"""The request counters that most games report, under upstream's names."""

from __future__ import annotations

from typing import Any


def request_counts(requests: int, violated: int, *, digits: int | None = None) -> dict[str, Any]:
    """The four counters.

    Args:
        requests: how many replies (or rounds, where a game counts those) were asked for.
        violated: how many of them broke the rules.
        digits: decimals of the ratio; unrounded if `None`.
    """
    parsed = requests - violated
    ratio = parsed / requests if requests else None
    return {
        "Request Count": requests,
        "Parsed Request Count": parsed,
        "Violated Request Count": violated,
        "Request Success Ratio": (
            ratio if digits is None or ratio is None else round(ratio, digits)
        ),
    }
