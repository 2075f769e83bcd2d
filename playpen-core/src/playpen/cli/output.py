"""Writing the files that a command was asked for."""

from __future__ import annotations

from pathlib import Path

from playpen.errors import PlaypenError

RECORDS = frozenset({
    "run.json", "instances.jsonl", "episodes.jsonl", "recorded.jsonl", "train.json",
    "metrics.jsonl",
})  # fmt: skip
"""Names of files that runs and trainings are made of."""


def write_output(path: Path, content: bytes) -> None:
    """Write a file, with the folders above it.

    Raises:
        PlaypenError: it cannot be written; names it and the reason.
    """
    if path.name in RECORDS and path.exists():
        raise PlaypenError(f"{path} is part of a run or a training; choose another name")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except OSError as error:
        raise PlaypenError(f"{path} cannot be written: {error.strerror}") from None
