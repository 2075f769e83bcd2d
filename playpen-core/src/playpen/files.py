"""Files and folders that are written whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


def write_atomically(path: Path, content: bytes | Iterable[bytes]) -> None:
    """Write a file, or replace it: whoever opens `path` reads the old content or the new one.

    The content goes to ``<name>.part`` in the same directory, which then takes the name.  Where
    writing fails or the process is killed before that, `path` is as it was, and the ``.part``
    file stays until the next write.  Nothing is synchronised to the disk (`os.fsync`), so this
    does not hold for a machine that loses power.  Two processes must not write the same path at
    the same time.

    Args:
        path: of the file; its directory exists.
        content: the whole of it, or its pieces in order.

    Raises:
        OSError: it cannot be written.
    """
    unfinished = path.with_name(f"{path.name}.part")
    with unfinished.open("wb") as file:
        file.writelines([content] if isinstance(content, bytes) else content)
    unfinished.replace(path)


@contextmanager
def write_folder_atomically(path: Path) -> Iterator[Path]:
    """A new folder to write into, which gets the name `path` at the end of the block.

    Until then it is ``.<name>.<process id>.part`` beside it.  It is removed where the block
    raises; only a process that is killed leaves it behind.  Nothing is synchronised to the disk.

    Args:
        path: of the folder, which must not be there, or be empty; its parents are made.

    Raises:
        OSError: it cannot be written, or `path` is there and not empty.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        unfinished.mkdir(parents=True)
        yield unfinished
        unfinished.rename(path)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
