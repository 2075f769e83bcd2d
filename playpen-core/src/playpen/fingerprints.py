"""What tells instances apart without showing what is in them, and lists of it.

A puzzle is known by its fingerprint (its secret, not its wording), so that the same word, map or
question is found again in another file, another level, or another game of the family.  Lists say
what must not be trained on, and what a checkpoint was trained on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from playpen.game import Game
from playpen.instance import Instance, InstanceError, content_hash

TRAINED_ON = "trained_on.tsv"
"""The hash list in a training's directory, and in its checkpoint: what was learned from."""
_COLUMNS = 4
_PARENTS = 3


class Mark(NamedTuple):
    """What tells a held-out instance from others without showing what is in it.

    Attributes:
        game: name of its game.
        instance: its content hash.
        puzzle: hash of its fingerprint.
        name: how people call it.
    """

    game: str
    instance: str
    puzzle: str
    name: str


def mark_of(game: Game, instance: Instance) -> Mark:
    """The mark of an instance."""
    name = f"{instance.experiment.name}/{instance.id}"
    return Mark(game.name, instance.hash, content_hash(game.fingerprint(instance)), name)


def hash_list(marks: Iterable[Mark]) -> str:
    """The text of a hash list: a line for each instance, with tabs between its parts."""
    lines = ["# game\tinstance\tpuzzle\tname"]
    for mark in marks:
        lines.append("\t".join("".join(" " if c in "\t\n\r" else c for c in part) for part in mark))
    return "\n".join(lines) + "\n"


def read_hash_list(path: Path) -> Iterator[Mark]:
    """The marks of a hash list.

    Raises:
        InstanceError: the file cannot be read, or a line is not one of such a list.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InstanceError(f"{path}: the hash list cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise InstanceError(f"{path}: not a hash list: {error}") from None
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip() or line.startswith("#"):
            continue
        parts = line.rstrip("\r").split("\t")
        if len(parts) != _COLUMNS or not all(parts[:3]):
            raise InstanceError(
                f"{path}, line {number}: not a line of a hash list (game, instance, puzzle and "
                "name with tabs between them); `playpen instances hashes` writes such lists"
            )
        yield Mark(*parts)


def training_folder(checkpoint: Path) -> Path | None:
    """Where the training that made a checkpoint left its files.

    It is the directory itself, or up to three above, that holds ``trained_on.tsv``, or the
    ``train.json`` of a version that wrote no such list; `None` if there is none.
    """
    for folder in (checkpoint, *checkpoint.absolute().parents[:_PARENTS]):
        if (folder / TRAINED_ON).is_file() or (folder / "train.json").is_file():
            return folder
    return None


def trained_on_file(checkpoint: Path) -> Path | None:
    """The list of what a checkpoint was trained on, if its training has left one."""
    folder = training_folder(checkpoint)
    return folder / TRAINED_ON if folder and (folder / TRAINED_ON).is_file() else None
