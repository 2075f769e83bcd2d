"""Lists of instances by name, such as the official validation split.

See docs/rules/formats.md, "Lists of instances".
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from playpen.instance import Instance, InstanceError

_SHOWN = 10


class _Row(NamedTuple):
    """A line of a list: where it stands, and what it names."""

    place: str
    game: str
    experiment: str
    number: str

    def __str__(self) -> str:
        return f"{self.place}: {self.game}, {self.experiment}, {self.number}"


def select_instances(path: Path, available: Sequence[Instance]) -> list[Instance]:
    """The instances that a list names, in its order, each once.

    The list is a CSV file, a JSON file with a list of objects, or JSON Lines; it has the columns
    ``game``, ``experiment``, and ``task_id`` or ``game_id``.  Rows for games of which no instance
    is available are passed over: an official list is about many games.

    Args:
        path: the list.
        available: what can be chosen.

    Raises:
        InstanceError: the file cannot be read or lacks a column, nothing is selected, or a row
            names an instance that is not available; names the rows.
    """
    by_name: dict[tuple[str, str, str], list[Instance]] = {}
    for instance in available:
        key = (instance.game, instance.experiment.name, _number(instance.id))
        by_name.setdefault(key, []).append(instance)
    games = {instance.game for instance in available}
    chosen: dict[tuple[str, str, str], list[Instance]] = {}
    unknown = []
    for row in _rows(path):
        key = (row.game, row.experiment, row.number)
        if key in by_name:
            chosen[key] = by_name[key]
        elif row.game in games:
            unknown.append(str(row))
    if unknown:
        shown = "\n  ".join(unknown[:_SHOWN])
        more = f"\n  ... and {len(unknown) - _SHOWN} more" if len(unknown) > _SHOWN else ""
        raise InstanceError(f"{path}: no such instances:\n  {shown}{more}")
    if not chosen:
        raise InstanceError(f"{path}: selects nothing of {', '.join(sorted(games)) or 'nothing'}")
    return [instance for instances in chosen.values() for instance in instances]


def _rows(path: Path) -> Iterator[_Row]:
    readers = {".csv": _csv, ".json": _json, ".jsonl": _json_lines}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise InstanceError(f"{path}: a list of instances is a .csv, .json or .jsonl file")
    try:
        text = path.read_bytes().decode("utf-8-sig")
        for place, record in reader(text):
            yield _row(path, place, record)
    except OSError as error:
        raise InstanceError(f"{path}: cannot be read: {error.strerror}") from None
    except (csv.Error, UnicodeDecodeError, msgspec.DecodeError) as error:
        raise InstanceError(f"{path}: damaged: {error}") from None


def _csv(text: str) -> Iterator[tuple[str, Any]]:
    reader = csv.DictReader(io.StringIO(text, newline=""))
    for record in reader:
        yield f"line {reader.line_num}", record


def _json(text: str) -> Iterator[tuple[str, Any]]:
    for number, record in enumerate(msgspec.json.decode(text, type=list[Any]), 1):
        yield f"row {number}", record


def _json_lines(text: str) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield f"line {number}", msgspec.json.decode(line)


def _row(path: Path, place: str, record: object) -> _Row:
    if not isinstance(record, Mapping):
        raise InstanceError(f"{path}, {place}: expected an object")
    values = {
        "game": record.get("game"),
        "experiment": record.get("experiment"),
        "task_id or game_id": record.get("task_id", record.get("game_id")),
    }
    for name, value in values.items():
        if not isinstance(value, str | int) or isinstance(value, bool):
            raise InstanceError(f"{path}, {place}: needs a value for {name}, not {value!r}")
    game, experiment, number = values.values()
    return _Row(place, str(game), str(experiment), _number(number))


def _number(value: object) -> str:
    """A game id as clembench means it: the text ``"7"`` is the number 7."""
    text = str(value).strip()
    return str(int(text)) if text.isdecimal() and len(text) < 20 else text
