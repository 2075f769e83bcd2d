"""Ends vLLM's processes with the program that started them, even if that is killed.

Without it vLLM's processes would run for ever, and keep the accelerator's memory.  vLLM imports
this module in its workers before they load anything.
"""

from __future__ import annotations

import os
import select
import signal
import threading

OWNER = "PLAYPEN_VLLM_OWNER"
"""The environment variable that holds the number of the program's process."""


class Watchdog:
    """Adds nothing to vLLM's workers: they import it, and with it this module."""


def _end_with(owner: int) -> None:
    """End this worker, and the engine that it belongs to, when the process `owner` has ended."""
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


def _watch_owner() -> None:
    owner = int(os.environ.get(OWNER, "0"))
    # Linux alone can wait for a process that is no child.
    if owner not in (0, os.getpid()) and hasattr(os, "pidfd_open"):
        threading.Thread(target=_end_with, args=(owner,), daemon=True).start()


_watch_owner()
