"""The event loop in which everything of one program is played."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

ResultT = TypeVar("ResultT")


class PlayLoop:
    """One event loop for all that is played, so that connections outlive a roll-out.

    In a notebook, whose thread has a loop running, it lives in a thread of its own.
    """

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
            return self._runner.run(work)
        return self._thread.submit(self._runner.run, work).result()

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
