"""Whether a request that failed is sent again, and when."""

from __future__ import annotations

import email.utils
import math
import random
import time
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

LONGEST_BACKOFF = 60.0
"""Seconds that a retry waits at most of its own accord."""
LONGEST_WAIT = 600.0
"""Seconds that a server may ask to wait; it is given up where it asks for more."""
_TEMPORARY = frozenset({408, 409, 425, 429})
"""Statuses below 500 that may go away: time-out, conflict, too early, too many requests."""


class Fault(Exception):
    """An attempt failed, and another one may succeed.

    Attributes:
        kind: what to count it as.
        cause: what exactly happened.
        wait: seconds that the server asked to wait.
        final: another attempt would not succeed after all.
        reason: the error that the body of a good answer holds, with its codes.
    """

    def __init__(
        self,
        kind: str,
        cause: str = "",
        wait: float | None = None,
        *,
        final: bool = False,
        reason: str | None = None,
    ) -> None:
        super().__init__(cause)
        self.kind = kind
        self.cause = f"{kind}: {cause}" if cause else kind
        self.wait = wait
        self.final = final
        self.reason = reason


class RetryPolicy(NamedTuple):
    """How long a request is tried.

    Attributes:
        timeout: seconds that one attempt may take, from the first byte sent to the last one read.
        retries: attempts after the first one.
        delay: seconds; retry number i waits between 0 and ``delay * 2**i``, drawn evenly.
    """

    timeout: float
    retries: int
    delay: float

    def wait_after(self, fault: Fault, attempts: int, rng: random.Random) -> float | None:
        """Seconds until the next attempt; `None` if there is none.

        Args:
            fault: what happened to the last attempt.
            attempts: how many have failed, the last one included.
            rng: draws the wait.
        """
        if fault.final or attempts > self.retries or (fault.wait or 0) > LONGEST_WAIT:
            return None
        longest = min(self.delay * 2 ** min(attempts - 1, 16), LONGEST_BACKOFF)
        # Many requests fail together; with the same wait they would do so again.
        jitter = rng.uniform(0, longest if fault.wait is None else self.delay)
        return (fault.wait or 0) + jitter


def is_temporary(status: int, codes: Collection[Any]) -> bool:
    """Whether a server that refused a request with a status may answer it later.

    Args:
        status: of HTTP.
        codes: what the server's own description of the error has as its code and type.
    """
    return status >= 500 or (status in _TEMPORARY and "insufficient_quota" not in codes)


def requested_wait(headers: Mapping[str, str]) -> float | None:
    """Seconds that the server asks to wait (RFC 9110, section 10.2.3), `None` if it does not."""
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        try:
            seconds = float(headers[name]) / unit
        except (KeyError, ValueError):
            continue
        if math.isfinite(seconds):
            return max(seconds, 0.0)
    date = email.utils.parsedate_tz(headers.get("retry-after", ""))
    if date is None:
        return None
    try:
        return max(email.utils.mktime_tz(date) - time.time(), 0.0)
    except (ValueError, OverflowError):  # a date that does not exist
        return None


def describe_attempts(faults: Counter[str], last: Fault) -> str:
    """For people: how many attempts failed, and how.

    Args:
        faults: how often each kind of fault occurred.
        last: the last of them.
    """
    attempts = faults.total()
    counts = ", ".join(f"{count} x {kind}" for kind, count in faults.most_common())
    tried = "its one attempt" if attempts == 1 else f"{attempts} attempts"
    tally = "" if attempts == 1 else f" ({counts})"
    asked = ""
    if last.wait is not None and last.wait > LONGEST_WAIT:
        asked = f" (it asks to wait {last.wait:.0f} s)"
    return f"{tried}{tally}; the last: {last.cause}{asked}"
