"""Reading what a report is about: directories of runs and of trainings, damaged ones named."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from playpen.completeness import Coverage, coverage_of
from playpen.episode import Episode, Key, Said
from playpen.errors import PlaypenError
from playpen.provenance import InstanceSet, instance_sets
from playpen.recorded_versions import version_notes
from playpen.store import Run, RunConfig, run_directories
from playpen.trained_on import Exposure, exposures

Curve = list[tuple[int, float]]
"""Points of a learning curve: step and value."""


class RecordedRuns(NamedTuple):
    """A run as it was read.

    Attributes:
        name: what the report calls it.
        path: its directory.
        config: what was asked for.
        coverage: per game, how much of that was played.
        sets: per game, the instances and rules that its score is over.
        trained_on: instances that a player was trained on.
        versions: which rules or packs are others now than when it was played.
        attempts: all episodes, failed attempts included, without their tokens.
    """

    name: str
    path: Path
    config: RunConfig
    coverage: dict[str, Coverage]
    sets: dict[str, InstanceSet]
    trained_on: list[Exposure]
    versions: list[str]
    attempts: list[Episode]

    @property
    def episodes(self) -> list[Episode]:
        """One episode for each unit of work: the finished one, or else the last attempt."""
        units: dict[Key, Episode] = {}
        for episode in self.attempts:
            before = units.get(episode.key)
            if before is None or before.failure is not None:
                units[episode.key] = episode
        return list(units.values())


class Training(NamedTuple):
    """A training as it was read.

    Attributes:
        name: what the report calls it.
        path: its directory.
        trainer: name of the trainer.
        learner: spec string of the model that learned.
        curves: what was logged, by name.
    """

    name: str
    path: Path
    trainer: str
    learner: str
    curves: dict[str, Curve]


class Problem(msgspec.Struct, frozen=True):
    """A directory that could not be read, and why."""

    path: str
    message: str


class ReportSources(NamedTuple):
    """All that a report is made of."""

    runs: list[RecordedRuns]
    trainings: list[Training]
    problems: list[Problem]


def read_sources(paths: Sequence[Path]) -> ReportSources:
    """Read directories of runs, evaluations and trainings, each as what it is.

    The runs of an evaluation are read as one.  A directory that cannot be read becomes a `Problem`.
    """
    sources = ReportSources([], [], [])
    for name, path in zip(distinct_names(paths), paths, strict=True):
        try:
            if is_training(path):
                sources.trainings.append(read_training(path, name))
            else:
                sources.runs.append(read_runs(path, name))
        except PlaypenError as error:
            sources.problems.append(Problem(encodable(path), encodable(error)))
        except OSError as error:
            message = f"{error.filename or path}: {error.strerror}"
            sources.problems.append(Problem(encodable(path), encodable(message)))
    return sources


def read_runs(path: Path, name: str) -> RecordedRuns:
    """Read a run, or the runs of an evaluation together.

    Raises:
        RunError: there is none, or one is damaged.
    """
    runs = [Run.open(folder) for folder in run_directories(path) or [path]]
    config, *others = [run.config for run in runs]
    for other in others:
        config = msgspec.structs.replace(
            config,
            players=config.players | other.players,
            assignments=config.assignments | other.assignments,
            episodes=config.episodes | other.episodes,
            descriptions=config.descriptions | other.descriptions,
            rules=config.rules | other.rules,
        )
    coverage = {game: part for run in runs for game, part in coverage_of(run).items()}
    attempts = [without_tokens(e) for run in runs for e in run.episodes(failed=True)]
    sets = {game: one for run in runs for game, one in instance_sets(run).items()}
    versions = [note for run in runs for note in version_notes(run)]
    return RecordedRuns(name, path, config, coverage, sets, exposures(runs), versions, attempts)


def distinct_names(paths: Sequence[Path]) -> list[str]:
    """The shortest ends of the paths that tell them apart; a path named twice gets a number."""
    parts = [path.resolve().parts for path in paths]
    names: list[str] = []
    for own in parts:
        others = [other for other in parts if other != own]
        length = 1
        while length < len(own) and any(other[-length:] == own[-length:] for other in others):
            length += 1
        name = encodable("/".join(own[-length:]))
        seen = names.count(name)
        names.append(f"{name} ({seen + 1})" if seen else name)
    return names


def encodable(text: object) -> str:
    """What names a file, as a page can hold it: a name may have bytes that are no text."""
    return str(text).encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def without_tokens(episode: Episode) -> Episode:
    """The episode without the tokens of its replies, which take much room and are not shown."""
    episode.events = [
        msgspec.structs.replace(event, reply=msgspec.structs.replace(event.reply, tokens=None))
        if isinstance(event, Said) and event.reply.tokens is not None
        else event
        for event in episode.events
    ]
    return episode


# --- trainings -----------------------------------------------------------------------------------


class _Learner(msgspec.Struct, frozen=True):
    player: str = ""


class _Config(msgspec.Struct, frozen=True):
    learner: _Learner = msgspec.field(default_factory=_Learner)


class _TrainFile(msgspec.Struct, frozen=True):
    """The part of a ``train.json`` that a report tells."""

    trainer: str
    config: _Config


class TrainingError(PlaypenError):
    """The files of a training cannot be read.  The message names the file and the line."""


def is_training(path: Path) -> bool:
    """Whether a directory is that of a training: its ``train.json`` is there."""
    return (path / "train.json").is_file()


def read_training(path: Path, name: str) -> Training:
    """Read ``train.json`` and ``metrics.jsonl`` of a training.

    Raises:
        TrainingError: a file is damaged (a torn last line is not: it is still being written).
    """
    file = path / "train.json"
    try:
        told = msgspec.json.decode(file.read_bytes(), type=_TrainFile)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise TrainingError(f"{file}: damaged: {error}") from None
    curves: dict[str, Curve] = {}
    for step, values in _logged(path / "metrics.jsonl"):
        for key, value in values.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                curves.setdefault(key, []).append((step, float(value)))
    return Training(name, path, told.trainer, told.config.learner.player, curves)


def _logged(file: Path) -> Iterator[tuple[int, dict[str, object]]]:
    try:
        lines: Iterable[bytes] = file.read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return
    for number, line in enumerate(lines, 1):
        if not line.endswith(b"\n"):
            return
        try:
            values = msgspec.json.decode(line, type=dict[str, object])
            step = msgspec.convert(values.pop("step", None), int)
        except (msgspec.DecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
            raise TrainingError(f"{file}, line {number}: damaged: {error}") from None
        yield step, values
