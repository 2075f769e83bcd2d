"""The log of a training, ``metrics.jsonl``: numbers by step."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from playpen.files import write_atomically
from playpen.observers import tell


class MetricsLog:
    """Numbers by step, in a file of JSON Lines; observers are told of each line.

    Args:
        path: the file; its directory is there when something is logged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def log(self, step: int, values: Mapping[str, Any]) -> None:
        """Record numbers; of several processes only the first one does."""
        if not leads():
            return
        line = msgspec.json.encode({"step": step, **values})
        with self._path.open("ab") as file:
            file.write(line + b"\n")
        tell("playpen_train_logged", step=step, values=dict(values))

    def forget_after(self, step: int) -> None:
        """Take back what was logged after a step: training goes on from there once more."""
        if not self._path.exists():
            return
        lines = self._path.read_bytes().splitlines(keepends=True)
        # A fresh start keeps nothing; step 0 was measured before the first step, and is done.
        kept = [x for x in lines if x.endswith(b"\n") and step and _step_of(x) <= step]
        write_atomically(self._path, kept)


def leads() -> bool:
    """Whether this process is the first, or only, one of a training (torchrun's `RANK`)."""
    return os.environ.get("RANK", "0") == "0"


class _Logged(msgspec.Struct):
    step: int


def _step_of(line: bytes) -> int:
    return msgspec.json.decode(line, type=_Logged).step
