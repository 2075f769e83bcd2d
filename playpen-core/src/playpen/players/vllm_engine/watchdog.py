"""Ends vLLM's processes with the program that started them, even if that is killed.

vLLM's own processes would go on for ever, and keep the accelerator's memory.  vLLM imports this
module in its workers before they load anything.
"""

from __future__ import annotations

import os
import select
import signal
import threading

OWNER = "PLAYPEN_VLLM_OWNER"
"""The environment variable that holds the number of the program's process."""


class Tether:
    """What vLLM's workers can do besides their work: nothing.  Its import is what matters."""


def _outlive(owner: int) -> None:
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


def _tie() -> None:
    owner = int(os.environ.get(OWNER, "0"))
    # Linux alone can wait for a process that is no child.
    if owner not in (0, os.getpid()) and hasattr(os, "pidfd_open"):
        threading.Thread(target=_outlive, args=(owner,), daemon=True).start()


_tie()
