"""So many per minute: a token bucket."""

from __future__ import annotations

import asyncio
import time

_LONGEST_SLEEP = 0.5
"""Seconds after which a waiter looks again: what was given back may let it go earlier."""

_SHORTEST_SLEEP = 1e-6
"""Seconds; what is less is an error of rounding."""


class RateLimiter:
    """Lets so many units per minute pass, evenly, in the order in which they are asked for.

    The bucket holds what one second brings (at least one unit), so that a pause is not followed
    by a burst.  It may be used from several event loops, one after the other or in threads.
    """

    def __init__(self) -> None:
        self.per_minute: float | None = None
        """The limit; `None` lets everything pass."""

        self._level = float("inf")
        self._read = 0.0

    async def take(self, amount: int, turn: asyncio.Lock) -> None:
        """Wait until `amount` units may pass, and let them.

        More units than the bucket holds pass when it is full; its level is then below zero.

        Args:
            amount: units.
            turn: held while waiting; it keeps the order among those who use the same one.
        """
        if self.per_minute is None:
            return
        async with turn:
            while (wait := self._wait(amount)) > _SHORTEST_SLEEP:
                await asyncio.sleep(min(wait, _LONGEST_SLEEP))
            self._level -= amount

    def give_back(self, amount: int) -> None:
        """Return units that were taken and not used; a negative amount takes more."""
        self._level += amount

    def _wait(self, amount: int) -> float:
        """Seconds until `amount` units may pass."""
        if self.per_minute is None:
            return 0.0
        rate = self.per_minute / 60
        holds = max(1.0, rate)
        now = time.monotonic()
        self._level = min(holds, self._level + (now - self._read) * rate)
        self._read = now
        return (min(amount, holds) - self._level) / rate
