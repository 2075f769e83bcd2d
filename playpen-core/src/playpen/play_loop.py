"""The event loop in which everything of one program is played."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from types import FrameType
from typing import Any, TypeVar

ResultT = TypeVar("ResultT")


class PlayLoop:
    """One event loop for all that is played, so that connections outlive a roll-out.

    In a notebook, whose thread has a loop running, it lives in a thread of its own.

    Attributes:
        leave: if set, ends the process at the second interrupt.  The first one cancels what is
            played, which a player that blocks the loop, or a thread, does not notice.
    """

    leave: Callable[[], None] | None = None

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            self._thread = None
        else:
            self._thread = ThreadPoolExecutor(1)

    def run(self, work: Coroutine[Any, Any, ResultT]) -> ResultT:
        """Run to the end and return the result."""
        if self._thread is None:
            return self._runner.run(self._interruptible(work))
        return self._thread.submit(self._runner.run, work).result()

    async def _interruptible(self, work: Coroutine[Any, Any, ResultT]) -> ResultT:
        """Do the work; after the first interrupt and until the process ends the next one leaves."""
        leave, cancel = self.leave, signal.getsignal(signal.SIGINT)
        if leave is None or not callable(cancel):
            return await work

        def interrupted(number: int, frame: FrameType | None) -> None:
            signal.signal(signal.SIGINT, lambda number, frame: leave())
            cancel(number, frame)

        signal.signal(signal.SIGINT, interrupted)
        try:
            return await work
        finally:
            if signal.getsignal(signal.SIGINT) is interrupted:
                signal.signal(signal.SIGINT, cancel)

    def close(self) -> None:
        """Close the loop."""
        if self._thread is None:
            self._runner.close()
        else:
            self._thread.submit(self._runner.close).result()
            self._thread.shutdown()

    def __enter__(self) -> PlayLoop:
        """The loop, which is closed at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
