"""Runs and trainings below a directory, read on while they are being played."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import msgspec

from playpen.episode import Episode, Key
from playpen.errors import PlaypenError
from playpen.report.records import Row, Transcript, row_of, transcript_of
from playpen.report.sources import TrainingError, encodable, is_training, read_training
from playpen.report.summary import TrainingSummary, training_summary
from playpen.store import Run, RunConfig

_DEEPEST = 8
_PASSED_OVER = frozenset({"checkpoints", "node_modules", "__pycache__"})
_decoder = msgspec.json.Decoder(Episode)


class Counts(msgspec.Struct):
    """What became of the planned episodes; `failed` counts those that only failed."""

    planned: int = 0
    finished: int = 0
    failed: int = 0
    success: int = 0
    lose: int = 0
    abort: int = 0
    mean: float | None = None


class Ended(NamedTuple):
    """An episode as far as it is counted; the score is `None` where it enters no mean."""

    game: str
    outcome: str
    score: float | None


class LiveRun:
    """A run directory whose episodes are read once each, as they are written.

    Attributes:
        id: stands for the run in addresses.
        name: its place below the directory that is viewed.
        path: its directory.
        config: what was asked for; `None` if it cannot be read.
        problem: what cannot be read; empty if all can.
        generation: changes when another file takes the place of the one read so far.
        rows: the episodes in the order in which they ended, failed attempts included.
        written: when the last episode was, in seconds since 1970; 0 if none was.
    """

    def __init__(self, path: Path, name: str) -> None:
        self.id = identifier(name)
        self.name = encodable(name)
        self.path = path
        self.config: RunConfig | None = None
        self.problem = ""
        self.generation = 0
        self.rows: list[Row] = []
        self.written = 0.0
        self._places: list[tuple[int, int]] = []
        self._units: dict[Key, Ended] = {}
        self._read = 0
        self._lines = 0
        self._file = path / "episodes.jsonl"
        self._inode = 0
        self._damage = ""
        self._lock = threading.Lock()

    def refresh(self) -> None:
        """Read what was written since the last time."""
        with self._lock:
            try:
                self.config = Run.open(self.path).config
                self._read_on()
                self.problem = self._damage
            except PlaypenError as error:
                self.problem = encodable(error)
            except OSError as error:
                self.problem = encodable(f"{error.filename or self.path}: {error.strerror}")

    def _read_on(self) -> None:
        try:
            status = self._file.stat()
        except FileNotFoundError:
            return
        if status.st_size < self._read or self._inode not in (0, status.st_ino):
            self._forget()
        self._inode = status.st_ino
        self.written = status.st_mtime
        if status.st_size == self._read:
            return
        with self._file.open("rb") as stream:
            stream.seek(self._read)
            for line in stream:
                if not line.endswith(b"\n"):
                    break  # it is still being written
                self._lines += 1
                self._add(line)
                self._read += len(line)

    def _forget(self) -> None:
        self.generation += 1
        self._damage = ""
        self.rows, self._places, self._units = [], [], {}
        self._read = self._lines = 0

    def _add(self, line: bytes) -> None:
        try:
            episode = _decoder.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            self._damage = self._damage or encodable(
                f"{self._file}, line {self._lines}: damaged: {error}"
            )
            return
        row = row_of(episode, 0)
        self.rows.append(row)
        self._places.append((self._read, len(line)))
        unscored = episode.outcome is None or episode.outcome.unscored
        before = self._units.get(episode.key)
        if before is not None and before.outcome != "error" and row.outcome != "error":
            self._damage = self._damage or encodable(
                f"{self._file}, line {self._lines}: {episode.name} is recorded twice"
            )
        if before is None or before.outcome == "error":
            score = None if unscored else (row.score or 0.0)
            self._units[episode.key] = Ended(episode.game, row.outcome, score)

    def games(self) -> dict[str, Counts]:
        """Per game, the counts so far."""
        planned = self.config.episodes if self.config else {}
        with self._lock:
            ended = list(self._units.values())
        names = sorted(planned.keys() | {one.game for one in ended})
        return {
            name: _counted((one for one in ended if one.game == name), planned.get(name, 0))
            for name in names
        }

    def total(self) -> Counts:
        """The counts over all games."""
        planned = self.config.episodes if self.config else {}
        with self._lock:
            return _counted(list(self._units.values()), sum(planned.values()))

    def transcript(self, number: int) -> Transcript:
        """The transcript of an episode, read from the file.

        Raises:
            IndexError: there is no such episode.
            OSError, ValueError: the file is gone, or is another one by now.
        """
        return transcript_of(self._episode(number))

    def _episode(self, number: int) -> Episode:
        if number < 0:
            raise IndexError(number)
        with self._lock:
            place, length = self._places[number]
        with self._file.open("rb") as stream:
            stream.seek(place)
            return _decoder.decode(stream.read(length))

    def search(self, text: str) -> list[int]:
        """The numbers of the episodes whose transcripts hold a text, in whatever case."""
        wanted = text.lower()
        return [
            number
            for number in range(len(self._places))
            if any(
                wanted in part.lower()
                for line in self.transcript(number).lines
                for part in (line.text, line.reasoning, line.raw)
            )
        ]


def _counted(ended: Iterable[Ended], planned: int) -> Counts:
    counts = Counts()
    scores = []
    for one in ended:
        if one.outcome == "error":
            counts.failed += 1
            continue
        counts.finished += 1
        setattr(counts, one.outcome, getattr(counts, one.outcome) + 1)
        if one.score is not None:
            scores.append(one.score)
    counts.planned = max(planned, counts.finished + counts.failed)
    counts.mean = sum(scores) / len(scores) if scores else None
    return counts


class LiveTraining:
    """A training directory; its logs are read again when they are asked for."""

    def __init__(self, path: Path, name: str) -> None:
        self.id = identifier(name)
        self.name = encodable(name)
        self.path = path

    def summary(self) -> TrainingSummary:
        """What was logged so far.

        Raises:
            TrainingError: a file is damaged or gone.
        """
        try:
            return training_summary(read_training(self.path, self.name))
        except OSError as error:
            raise TrainingError(f"{error.filename}: {error.strerror}") from None

    def going_on(self) -> bool:
        """Whether something was logged in the last ten minutes."""
        try:
            return time.time() - (self.path / "metrics.jsonl").stat().st_mtime < 600
        except OSError:
            return False


class Library:
    """The runs and trainings below a directory, by their identifiers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runs: dict[str, LiveRun] = {}
        self.trainings: dict[str, LiveTraining] = {}
        self._lock = threading.Lock()

    def scan(self) -> None:
        """Find what has come, and forget what is gone; symbolic links are not followed."""
        with self._lock:
            runs: dict[str, LiveRun] = {}
            trainings: dict[str, LiveTraining] = {}
            for path in _folders(self.folder):
                name = str(path.relative_to(self.folder))
                name = self.folder.resolve().name if name == "." else name
                if (path / "run.json").is_file():
                    run = self.runs.get(identifier(name)) or LiveRun(path, name)
                    runs[run.id] = run
                if is_training(path):
                    training = LiveTraining(path, name)
                    trainings[training.id] = training
            self.runs, self.trainings = runs, trainings


def _folders(top: Path) -> Iterable[Path]:
    for folder, names, _ in os.walk(top):
        path = Path(folder)
        deep = len(path.relative_to(top).parts) >= _DEEPEST
        names[:] = sorted(
            name
            for name in names
            if not deep and name not in _PASSED_OVER and not name.startswith(".")
        )
        yield path


def identifier(name: str) -> str:
    """A short name that needs no escaping in an address."""
    encoded = name.encode("utf-8", "surrogateescape")
    return hashlib.blake2b(encoded, digest_size=6).hexdigest()
