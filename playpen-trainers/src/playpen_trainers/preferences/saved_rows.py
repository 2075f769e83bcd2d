"""Rows kept with a training, which resumes with the same ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import msgspec
import transformers

from playpen.files import write_atomically
from playpen_trainers.preferences.rows import RowT

Numbers: TypeAlias = dict[str, float]


def saved_rows(
    path: Path,
    kind: type[RowT],
    args: transformers.TrainingArguments,
    make: Callable[[], tuple[Numbers, list[RowT]]],
) -> tuple[Numbers, list[RowT]]:
    """Rows that are made once in a training, so that it resumes with the same ones.

    Args:
        path: a file of JSON Lines; the first line tells what was played, the others are rows.
        kind: of the rows.
        args: only the first process plays, the others wait for it.
        make: plays, and gives both.
    """
    with args.main_process_first(local=False):
        if not path.exists():
            _write(path, *make())
    lines = path.read_bytes().splitlines()
    decoder = msgspec.json.Decoder(kind)
    return msgspec.json.decode(lines[0], type=Numbers), [decoder.decode(x) for x in lines[1:]]


def _write(path: Path, numbers: Numbers, rows: Sequence[msgspec.Struct]) -> None:
    lines = [msgspec.json.encode(numbers), *(msgspec.json.encode(row) for row in rows)]
    write_atomically(path, b"\n".join(lines) + b"\n")
