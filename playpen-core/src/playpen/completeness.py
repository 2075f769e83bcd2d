"""Whether a run is whole: what of it was played, what is missing, and which lines are no good."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import msgspec

from playpen.episode import Key
from playpen.files import write_atomically
from playpen.store import (
    EpisodeName,
    EpisodeWriter,
    Progress,
    Run,
    RunError,
    numbered_lines,
    planned_episodes,
    read_episode,
    read_name,
)

_SHOWN = 5
_FAULTS_SHOWN = 10


class Fault(NamedTuple):
    """A line of ``episodes.jsonl`` that cannot be counted, and why."""

    line: int
    reason: str


class Coverage(msgspec.Struct):
    """How much of what was planned for a game was played.

    Attributes:
        planned: episodes.
        played: episodes that ended, aborted ones included.
        errored: episodes that only failed (infrastructure).
        missing: episodes that nobody has tried.
        absent: names of the errored and the missing ones.
    """

    planned: int = 0
    played: int = 0
    errored: int = 0
    missing: int = 0
    absent: list[str] = []

    @property
    def complete(self) -> bool:
        """Whether everything was played."""
        return self.played >= self.planned

    def __add__(self, other: Coverage) -> Coverage:
        """Both together."""
        return Coverage(
            self.planned + other.planned,
            self.played + other.played,
            self.errored + other.errored,
            self.missing + other.missing,
            self.absent + other.absent,
        )

    def in_words(self) -> str:
        """One line: the counts, and the first few episodes that are absent."""
        parts = [f"{self.played} of {self.planned} episodes are played"]
        if self.errored:
            parts.append(f"{self.errored} failed")
        if self.missing:
            parts.append(f"{self.missing} are missing")
        names = ", ".join(self.absent[:_SHOWN]) + (", ..." if len(self.absent) > _SHOWN else "")
        return ", ".join(parts) + (f" ({names})" if names else "")


def coverage_of(run: Run, progress: Progress | None = None) -> dict[str, Coverage]:
    """Per game of a run, how much of the plan was played.

    Args:
        run: its plan is looked at.
        progress: what was played, if it is known already.

    Raises:
        RunError: the run is damaged, or a line of it cannot be counted.
    """
    progress = progress or counted_progress(run)
    coverages = {name: Coverage(planned=planned) for name, planned in run.config.episodes.items()}
    finished: dict[str, int] = {}
    for key in progress.done:
        finished[key[0]] = finished.get(key[0], 0) + 1
    for name, coverage in coverages.items():
        coverage.played = finished.get(name, 0)
    if all(coverage.complete for coverage in coverages.values()):
        return coverages
    for _, _, episode in planned_episodes(run.config, run.instances(), run.config.rules):
        key = episode.key
        coverage = coverages[episode.game]
        # Imported runs may have episodes of other players than those that stand for the game.
        if key in progress.done or coverage.played + len(coverage.absent) >= coverage.planned:
            continue
        coverage.absent.append(episode.name)
        coverage.errored += key in progress.failed
    for coverage in coverages.values():
        coverage.missing = max(coverage.planned - coverage.played - coverage.errored, 0)
    return coverages


class LineScan(NamedTuple):
    """What is in the file of a run's episodes: lines that cannot be counted, and progress."""

    faults: list[Fault]
    progress: Progress


def scan_lines(run: Run, *, thorough: bool = False) -> LineScan:
    """Look at every line of a run.

    Lines are at fault that are damaged, recorded twice, or of another run: an episode is of this
    one if the whole of its identity is planned.

    Args:
        run: whose lines.
        thorough: decode lines as a whole, and not only what identifies them: that takes several
            times as long, and finds damage of any kind.

    Raises:
        RunError: ``instances.jsonl`` is damaged.
    """
    foreign = _foreign_to(run)
    first: dict[Key, int] = {}
    failed: dict[Key, int] = {}
    faults = []
    for number, line in numbered_lines(run.path / "episodes.jsonl"):
        try:
            entry = read_name(line)
            if thorough:
                read_episode(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            faults.append(Fault(number, f"damaged: {error}"))
            continue
        key, name = entry.key, entry.name
        if reason := foreign(entry):
            faults.append(Fault(number, f"{name} {reason}"))
        elif entry.failure is not None:
            failed[key] = max(entry.attempts, failed.get(key, 0))
        elif first.setdefault(key, number) != number:
            faults.append(Fault(number, f"{name} is recorded in line {first[key]} already"))
    failed = {key: attempts for key, attempts in failed.items() if key not in first}
    return LineScan(faults, Progress(set(first), failed))


def _foreign_to(run: Run) -> Callable[[EpisodeName], str]:
    """What tells why an episode is none of those that the run planned, "" if it is one."""
    config = run.config
    instances = run.instances()
    known = {(instance.game, instance.hash) for instance in instances}
    imported = bool(config.players) and all(
        spec.startswith("replay:") for spec in config.players.values()
    )

    def unit(key: Key) -> int:
        """What tells planned episodes apart, as a hash since a run may be long."""
        # An import keeps the recorded players, who may change from episode to episode.
        return hash((*key[:2], *key[3:]) if imported else key)

    planned = {unit(e.key) for _, _, e in planned_episodes(config, instances, config.rules)}

    def reason(entry: EpisodeName) -> str:
        if (entry.game, entry.instance) not in known:
            return "is none of the instances of this run"
        if unit(entry.key) in planned:
            return ""
        if entry.seed != config.seed:
            return f"is of seed {entry.seed}, and this run is of seed {config.seed}"
        if not imported and entry.players != config.assignments.get(entry.game):
            return "is of other players than those of this run"
        return f"is repeat {entry.repeat}, which this run has not planned"

    return reason


def counted_progress(run: Run) -> Progress:
    """What was played, if all lines can be counted.

    Raises:
        RunError: a line cannot; the first such line is named.
    """
    faults, progress = scan_lines(run)
    if faults:
        raise run.line_error(*faults[0])
    return progress


def refuse_faults(run: Run) -> Progress:
    """Say all that is wrong with the lines of a run at once.

    A line that can be identified and is damaged nevertheless is found only if another one is at
    fault; who reads such a line whole calls `tell_faults`.

    Returns:
        What was played.

    Raises:
        RunError: a line cannot be counted.
    """
    faults, progress = scan_lines(run)
    if not faults:
        return progress
    raise tell_faults(run)


def tell_faults(run: Run) -> RunError:
    """All lines of a run that cannot be counted, as an error to raise."""
    faults = scan_lines(run, thorough=True).faults
    lines = "".join(f"\n  line {line}: {reason}" for line, reason in faults[:_FAULTS_SHOWN])
    if len(faults) > _FAULTS_SHOWN:
        lines += f"\n  ... and {len(faults) - _FAULTS_SHOWN} more"
    return RunError(
        f"{run.path / 'episodes.jsonl'} cannot be counted as it is:{lines}\n"
        f"`playpen resume {run.path} --repair` moves such lines to episodes.damaged and plays what "
        "is missing then"
    )


def quarantine(run: Run, faults: Iterable[Fault]) -> None:
    """Move lines of ``episodes.jsonl`` to ``episodes.damaged``; nothing is lost.

    What an import recorded beside them (``recorded.jsonl``) goes with them.

    Raises:
        RunError: another process is playing into the run.
    """
    wanted = {fault.line for fault in faults}
    with EpisodeWriter(run):  # nobody may write meanwhile
        for name in ("recorded.jsonl", "episodes.jsonl"):
            file = run.path / name
            if not file.exists():
                continue
            lines = list(numbered_lines(file))
            with file.with_suffix(".damaged").open("ab") as moved:
                moved.writelines(line for number, line in lines if number in wanted)
            write_atomically(file, (line for number, line in lines if number not in wanted))
