"""Ends vLLM's processes with the program that started them, even if that is killed.

vLLM's own processes would go on for ever, and keep the accelerator's memory.  vLLM imports this
module in its workers.
"""

from __future__ import annotations

import os
import select
import signal
import threading


class Tether:
    """What vLLM's workers can do besides their work."""

    def end_with(self, owner: int) -> None:
        """End this worker, and the engine that it belongs to, when the process `owner` ends."""
        if hasattr(os, "pidfd_open"):  # of Linux
            threading.Thread(target=_outlive, args=(owner,), daemon=True).start()


def _outlive(owner: int) -> None:
    engine = os.getppid()  # the owner itself where the worker has no process of its own
    try:
        waiting = select.poll()
        waiting.register(os.pidfd_open(owner), select.POLLIN)
        waiting.poll()
    except ProcessLookupError:
        pass  # it has ended already
    if engine != owner:
        os.kill(engine, signal.SIGKILL)
    os._exit(1)
