"""Run directories: append-only episodes, crash-safe and resumable.

``run.json`` (what was asked for), ``instances.jsonl`` (what is played), ``episodes.jsonl`` (one
line per finished episode, failed attempts included) and ``scores.json``.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import msgspec

from playpen.episode import Episode, Key, identity
from playpen.errors import PlaypenError
from playpen.files import write_atomically
from playpen.instance import Experiment, Instance, content_hash
from playpen.rollout import NO_LIMITS, Limits, blank_episodes

FORMAT = "playpen-run/1"
MAX_ATTEMPTS = 3
"""An episode that failed this often is not tried again."""


class RunError(PlaypenError):
    """A run directory cannot be used.  The message names the file, the line and the remedy."""


class RunConfig(msgspec.Struct, kw_only=True):
    """Everything that makes a run what it is; the content of ``run.json``.

    Attributes:
        players: label to spec string.
        assignments: per game, the label of the player in each role.
        episodes: per game, how many episodes are planned.
        descriptions: label to what the player says about itself.
        prompts: per game, ``pack`` or ``imported``.
        rules: per game, the version of its rules.
        versions: Python, Playpen and the plug-ins' distributions.
        limits: of every episode.
        instances: hash over the hashes of all instances in order, set by `Run.create`.
    """

    format: str = FORMAT
    created: str = ""
    command: list[str] = []
    seed: int = 0
    concurrency: int = 64
    players: dict[str, str] = {}
    assignments: dict[str, dict[str, str]] = {}
    episodes: dict[str, int] = {}
    split: str | None = None
    source: str = ""
    descriptions: dict[str, dict[str, Any]] = {}
    prompts: dict[str, str] = {}
    rules: dict[str, str] = {}
    versions: dict[str, str] = {}
    limits: Limits = NO_LIMITS
    instances: str = ""


def planned_episodes(
    config: RunConfig, instances: Iterable[Instance], rules: Mapping[str, str]
) -> Iterator[tuple[int, Instance, Episode]]:
    """Everything that a run plans to play, in order.

    Args:
        config: of the run.
        instances: of the run, in order.
        rules: per game, the version of the rules to write down.

    Yields:
        The number of the instance in the run, the instance, and the empty record.
    """
    by_game: dict[str, list[tuple[int, Instance]]] = {}
    for number, instance in enumerate(instances):
        by_game.setdefault(instance.game, []).append((number, instance))
    for game, names in config.assignments.items():
        numbered = by_game.get(game)
        if numbered is None:
            continue
        planned = blank_episodes(
            [instance for _, instance in numbered],
            names,
            rules=rules.get(game, ""),
            episodes=config.episodes.get(game, 0),
            seed=config.seed,
        )
        for place, (instance, episode) in enumerate(planned):
            yield numbered[place % len(numbered)][0], instance, episode


class _Format(msgspec.Struct):
    format: str = FORMAT


class _ExperimentLine(msgspec.Struct, tag="experiment", tag_field="kind"):
    hash: str
    game: str
    name: str
    config: dict[str, Any]


class _InstanceLine(msgspec.Struct, tag="instance", tag_field="kind"):
    hash: str
    game: str
    experiment: str
    """Hash of the experiment's line."""
    experiment_name: str
    split: str | None
    data: dict[str, Any]


class EpisodeKey(msgspec.Struct):
    """The part of an episode's line that identifies it; decoding only this is fast."""

    game: str
    instance: str
    players: dict[str, str]
    seed: int = 0
    repeat: int = 0
    failure: dict[str, Any] | None = None
    attempts: int = 1

    @property
    def key(self) -> Key:
        """Identity: game, instance hash, role assignment, seed, repeat."""
        return identity(self.game, self.instance, self.players, self.seed, self.repeat)


class EpisodeName(EpisodeKey):
    """What identifies an episode, and the names that people know it by."""

    experiment: str = ""
    instance_id: int | str = ""

    @property
    def name(self) -> str:
        """What messages for people call it."""
        return f"{self.game}/{self.experiment}/{self.instance_id}"


_encoder = msgspec.json.Encoder()
_line_decoder: msgspec.json.Decoder[_ExperimentLine | _InstanceLine] = msgspec.json.Decoder(
    _ExperimentLine | _InstanceLine
)
_episode_decoder = msgspec.json.Decoder(Episode)
_key_decoder = msgspec.json.Decoder(EpisodeKey)
_name_decoder = msgspec.json.Decoder(EpisodeName)


class Run:
    """A run directory.  Use `Run.create` or `Run.open`."""

    def __init__(self, path: Path, config: RunConfig) -> None:
        self.path = path
        self.config = config

    @classmethod
    def create(cls, path: str | Path, config: RunConfig, instances: Iterable[Instance]) -> Run:
        """Make a new run directory and write down what will be played.

        Of several processes that make one directory, one does and the others are told.  What a
        process left that was killed meanwhile is taken up.

        Raises:
            RunError: the directory already holds a run, another process is making one there, or it
                cannot be written.
        """
        folder = Path(path)
        _refuse_run(folder)
        instances = list(instances)
        config = msgspec.structs.replace(config, instances=_digest(instances))
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with _locked(folder / "episodes.jsonl") as episodes:
                _refuse_run(folder)  # again: another process may have made it before the lock
                if os.fstat(episodes).st_size:
                    raise RunError(
                        f"{folder} has an episodes.jsonl of another run; move it away, "
                        "or choose another directory with -o"
                    )
                write_atomically(folder / "instances.jsonl", b"".join(_instance_lines(instances)))
                # Last, because a directory is a run once run.json is there.
                content = msgspec.json.format(_encoder.encode(config), indent=2) + b"\n"
                write_atomically(folder / "run.json", content)
        except OSError as error:
            raise RunError(f"{folder} cannot be written: {error.strerror}") from None
        return cls(folder, config)

    @classmethod
    def open(cls, path: str | Path) -> Run:
        """Open a run directory.

        Raises:
            RunError: there is no run, or its ``run.json`` is damaged.
        """
        folder = Path(path)
        file = folder / "run.json"
        try:
            content = file.read_bytes()
            # First, because another format may have other fields.
            written = msgspec.json.decode(content, type=_Format).format
            if written != FORMAT:
                raise RunError(
                    f"{file}: format {written!r} is not {FORMAT!r}; "
                    "read it with the version of Playpen that wrote it"
                )
            return cls(folder, msgspec.json.decode(content, type=RunConfig))
        except OSError:
            inner = run_directories(folder)
            hint = f"; its runs are {', '.join(map(str, inner))}" if inner else ""
            raise RunError(f"{folder} is not a run directory: it has no run.json{hint}") from None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise RunError(f"{file}: damaged: {error}") from None

    def instances(self) -> list[Instance]:
        """What is played, in order.

        Raises:
            RunError: the file is missing or a line is damaged.
        """
        file = self.path / "instances.jsonl"
        experiments: dict[tuple[str, str, str], Experiment] = {}
        instances: list[Instance] = []
        if not file.exists():
            raise RunError(f"{file} is missing; the run cannot go on without it")
        for number, line in numbered_lines(file):
            try:
                record = _line_decoder.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise RunError(f"{file}, line {number}: damaged: {error}") from None
            if isinstance(record, _ExperimentLine):
                experiments[record.game, record.hash, record.name] = Experiment(
                    record.name, record.config
                )
                continue
            experiment = experiments.get((record.game, record.experiment, record.experiment_name))
            if experiment is None:
                raise RunError(
                    f"{file}, line {number}: the experiment {record.experiment_name!r} is missing"
                )
            instance = Instance(record.game, experiment, record.data, record.split)
            if instance.hash != record.hash:
                raise RunError(
                    f"{file}, line {number}: the content does not have the recorded hash; "
                    "the file was changed after the run began"
                )
            instances.append(instance)
        if self.config.instances not in ("", _digest(instances)):
            raise RunError(
                f"{file}: instances were added, removed or moved after the run began; "
                "restore the file, or start another run"
            )
        return instances

    def instances_by_game(self) -> dict[str, list[Instance]]:
        """What is played of each game that somebody plays, in order.

        Raises:
            RunError: the file is missing or a line is damaged.
        """
        by_game: dict[str, list[Instance]] = {game: [] for game in self.config.assignments}
        for instance in self.instances():
            by_game.setdefault(instance.game, []).append(instance)
        return by_game

    def episodes(self, *, failed: bool = False) -> Iterator[Episode]:
        """The finished episodes in the order in which they ended.

        Args:
            failed: also give attempts that failed.

        Raises:
            RunError: a line is damaged (a torn last line is not: it was never finished), or an
                episode is there twice.
        """
        file = self.path / "episodes.jsonl"
        finished: dict[int, int] = {}  # hashes of identities, since those are long
        for number, line in numbered_lines(file):
            try:
                episode = read_episode(line)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise self.line_error(number, f"damaged: {error}") from None
            if episode.failure is None:
                first = finished.setdefault(hash(episode.key), number)
                if first != number:
                    raise self.line_error(
                        number, f"{episode.name} is recorded in line {first} already"
                    )
            if failed or episode.failure is None:
                yield episode

    def names(self) -> Iterator[EpisodeName]:
        """What identifies each episode, failed attempts included; much faster than `episodes`.

        Raises:
            RunError: a line is damaged.
        """
        for number, line in numbered_lines(self.path / "episodes.jsonl"):
            try:
                yield read_name(line)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise self.line_error(number, f"damaged: {error}") from None

    def line_error(self, line: int, reason: str) -> RunError:
        """What is wrong with a line of the episodes, and what to do, as an error to raise."""
        return RunError(
            f"{self.path / 'episodes.jsonl'}, line {line}: {reason}; `playpen resume {self.path} "
            "--repair` moves such lines to episodes.damaged and plays what is missing then"
        )

    def progress(self) -> Progress:
        """Which units of work are done, and how often others failed.

        Raises:
            RunError: a line is damaged.
        """
        done: set[Key] = set()
        attempts: dict[Key, int] = {}
        file = self.path / "episodes.jsonl"
        for number, line in numbered_lines(file):
            try:
                entry = _key_decoder.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise self.line_error(number, f"damaged: {error}") from None
            if entry.failure is None:
                done.add(entry.key)
                attempts.pop(entry.key, None)
            else:
                attempts[entry.key] = max(entry.attempts, attempts.get(entry.key, 0))
        return Progress(done, attempts)

    def write_scores(self, scores: Mapping[str, Any]) -> Path:
        """Write ``scores.json`` and return its path."""
        file = self.path / "scores.json"
        write_atomically(file, msgspec.json.format(_encoder.encode(scores), indent=2) + b"\n")
        return file


def run_directories(path: Path) -> list[Path]:
    """The run that a directory is, or those of the evaluation that it is."""
    files = [path / "run.json", *sorted(path.glob("runs/*/run.json"))]
    return [file.parent for file in files if file.is_file()]


class Progress(msgspec.Struct):
    """What of a run is done: finished units, and the number of failed attempts of others."""

    done: set[Key]
    failed: dict[Key, int]


class EpisodeWriter:
    """Appends episodes to a run, one write call per line; only one process may do so.

    Opening it repairs a torn last line: complete JSON gets its line end, anything else is moved
    to ``episodes.torn``.
    """

    def __init__(self, run: Run) -> None:
        self._path = run.path / "episodes.jsonl"
        self._lock = ExitStack()
        self._file = -1

    def __enter__(self) -> EpisodeWriter:
        """Lock and repair the file.

        Raises:
            RunError: another process is writing to this run.
        """
        self._file = self._lock.enter_context(_locked(self._path))
        self._repair()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the file, which releases the lock."""
        self._lock.close()

    def append(self, episode: Episode) -> None:
        """Write one episode."""
        line = memoryview(_encoder.encode(episode) + b"\n")
        while line:
            line = line[os.write(self._file, line) :]

    def _repair(self) -> None:
        size = os.fstat(self._file).st_size
        tail = b""
        start = size
        while start > 0 and b"\n" not in tail:
            step = min(1 << 16, start)
            start -= step
            tail = os.pread(self._file, step, start) + tail
        torn = tail[tail.rfind(b"\n") + 1 :]
        if not torn:
            return
        try:
            _episode_decoder.decode(torn)
        except (msgspec.DecodeError, UnicodeDecodeError):
            with self._path.with_suffix(".torn").open("ab") as rescue:
                rescue.write(torn + b"\n")
            os.ftruncate(self._file, size - len(torn))
        else:
            os.write(self._file, b"\n")


@contextmanager
def _locked(file: Path) -> Iterator[int]:
    """The file of a run's episodes, open and locked: only its owner may change the run.

    Raises:
        RunError: another process has the lock.
        OSError: the file cannot be opened.
    """
    opened = os.open(file, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise RunError(f"another process is playing into {file.parent}") from None
        yield opened
    finally:
        os.close(opened)


def _refuse_run(folder: Path) -> None:
    if (folder / "run.json").exists():
        raise RunError(
            f"{folder} already holds a run; continue it with `playpen resume {folder}`, "
            "or choose another directory with -o"
        )


def read_episode(line: bytes) -> Episode:
    """The episode of a line.

    Raises:
        DecodeError, UnicodeDecodeError: the line is damaged.
    """
    return _episode_decoder.decode(line)


def read_name(line: bytes) -> EpisodeName:
    """What identifies the episode of a line.

    Raises:
        DecodeError, UnicodeDecodeError: the line is damaged.
    """
    return _name_decoder.decode(line)


def numbered_lines(file: Path) -> Iterator[tuple[int, bytes]]:
    """Complete lines of a file with their numbers; a missing file has none."""
    try:
        with file.open("rb") as stream:
            for number, line in enumerate(stream, 1):
                if line.endswith(b"\n"):
                    yield number, line
                else:
                    # Torn by a crash, unless the whole record was written.
                    try:
                        msgspec.json.decode(line)
                    except (msgspec.DecodeError, UnicodeDecodeError):
                        return
                    yield number, line
    except FileNotFoundError:
        return


def _digest(instances: Sequence[Instance]) -> str:
    return content_hash([[instance.game, instance.hash] for instance in instances])


def _instance_lines(instances: Iterable[Instance]) -> Iterator[bytes]:
    written: set[tuple[str, str, str]] = set()
    for instance in instances:
        experiment = instance.experiment
        key = (instance.game, experiment.hash, experiment.name)
        if key not in written:
            written.add(key)
            yield (
                _encoder.encode(
                    _ExperimentLine(
                        experiment.hash, instance.game, experiment.name, experiment.config
                    )
                )
                + b"\n"
            )
        yield (
            _encoder.encode(
                _InstanceLine(
                    instance.hash,
                    instance.game,
                    experiment.hash,
                    experiment.name,
                    instance.split,
                    dict(instance.data),
                )
            )
            + b"\n"
        )
