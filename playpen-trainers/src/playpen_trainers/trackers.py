"""Passes runs and trainings on to the trackers that transformers' ``report_to`` knows.

Off unless ``playpen.toml`` has ``[trackers] report_to`` or the environment ``PLAYPEN_REPORT_TO``.
What talks to a tracker are transformers' own callbacks; so each is set up by the variables and
files that its documentation names.  Nothing heavy is imported before one is asked for.
"""

from __future__ import annotations

import atexit
import os
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from playpen.errors import PlaypenError
from playpen.hookspecs import hookimpl
from playpen.settings import SettingsError
from playpen.settings import read_settings as read_project

if TYPE_CHECKING:
    from playpen.episode import Episode
    from playpen.scoring import Attempts
    from playpen.store import Run
    from playpen.training import TrainingRun

VARIABLE = "PLAYPEN_REPORT_TO"
POINTS = 100
"""A run is reported so often, evenly over its episodes, and at its end."""

_PROJECT_VARIABLES = ("WANDB_PROJECT", "MLFLOW_EXPERIMENT_NAME", "COMET_PROJECT_NAME")
"""Where transformers' callbacks look for a project, beside the training arguments."""


class TrackerError(PlaypenError):
    """A tracker cannot be used.  The message names it and what to do."""


class TrackerSettings(msgspec.Struct, forbid_unknown_fields=True):
    """The table ``[trackers]``.

    Attributes:
        report_to: the trackers, by transformers' names (``trackio``, ``tensorboard``, ...).
        project: what the runs are gathered under, where a tracker has projects.
        name: of the run; that of its directory if left out.
    """

    report_to: list[str] = []
    project: str = "playpen"
    name: str | None = None


def read_settings(directory: Path | None = None) -> TrackerSettings:
    """What the nearest ``playpen.toml``, upwards from a directory (the current one), asks for.

    The environment variable replaces its `report_to`; ``none`` switches all of them off.

    Raises:
        TrackerError: the file is not valid; names it.
    """
    try:
        project = read_project(directory)
        settings = msgspec.convert(project.table("trackers"), TrackerSettings)
    except SettingsError as error:
        raise TrackerError(str(error)) from None
    except msgspec.ValidationError as error:
        raise TrackerError(f"{project.path}: [trackers]: {error}") from None
    named = os.environ.get(VARIABLE)
    if named is not None:
        settings.report_to = [name for part in named.split(",") if (name := part.strip())]
    if settings.report_to == ["none"]:
        settings.report_to = []
    return settings


class Track:
    """One run or training in all trackers.

    What a tracker raises ends nothing: it is told once, and that tracker is switched off.
    """

    def __init__(
        self, settings: TrackerSettings, name: str, output: Path, told: Mapping[str, Any]
    ) -> None:
        """Set up the trackers and hand them the configuration.

        Args:
            settings: which ones.
            name: of the run.
            output: where those that write files do so.
            told: the configuration, shown as hyper-parameters.

        Raises:
            TrackerError: there is no such tracker, or it is not installed.
        """
        from transformers import TrainerControl, TrainerState, TrainingArguments

        class Arguments(TrainingArguments):
            """What callbacks want to know of a training, without touching any device."""

            def __post_init__(self) -> None:
                """Leave everything as it is."""

            def to_dict(self) -> dict[str, Any]:
                """The hyper-parameters."""
                return dict(told)

        self._callbacks = make_callbacks(settings.report_to)
        for variable in _PROJECT_VARIABLES:
            os.environ.setdefault(variable, settings.project)
        self._arguments = Arguments(
            output_dir=str(output), run_name=settings.name or name, project=settings.project
        )
        self._state = TrainerState()
        self._control = TrainerControl()
        self._call("on_train_begin")

    def log(self, step: int, values: Mapping[str, Any]) -> None:
        """Hand numbers on."""
        self._state.global_step = step
        self._call("on_log", logs=dict(values))

    def close(self) -> None:
        """Say that nothing more will come; a second time does nothing."""
        self._call("on_train_end")
        self._callbacks = {}

    def _call(self, event: str, **values: Any) -> None:
        for name, callback in list(self._callbacks.items()):
            handler: Callable[..., object] = getattr(callback, event)
            try:
                handler(self._arguments, self._state, self._control, model=None, **values)
            except Exception as error:  # of a server, a disk, a version: the game goes on
                del self._callbacks[name]
                warn_of(name, error)


def make_callbacks(names: list[str]) -> dict[str, Any]:
    """The callback that transformers has for each tracker.

    Raises:
        TrackerError: there is no such tracker, or it is not installed.
    """
    from transformers.integrations import get_reporting_integration_callbacks

    made = {}
    for name in names:
        try:
            [kind] = get_reporting_integration_callbacks([name])
        except ValueError as error:
            raise TrackerError(f"trackers.report_to: {error}") from None
        try:
            made[name] = kind()
        except (ImportError, RuntimeError) as error:
            raise TrackerError(
                f"trackers.report_to: {name!r} cannot be used ({error}); install it (pip install "
                f"{name}, as a rule), or leave it out"
            ) from None
    return made


def warn_of(name: str, error: Exception) -> None:
    """Tell that a tracker is switched off, and why."""
    cause = f"{type(error).__name__}: {error}"
    warnings.warn(f"the tracker {name} is switched off: {cause}", stacklevel=3)


class RunTrack:
    """A run as the trackers see it: running scores per game, over the number of episodes."""

    def __init__(self, settings: TrackerSettings, run: Run) -> None:
        """Set up the trackers; what was played before is counted.

        Raises:
            TrackerError: there is no such tracker, or it is not installed.
        """
        config = run.config
        told: dict[str, Any] = {
            "run": str(run.path), "games": ", ".join(config.assignments), "seed": config.seed,
            "split": config.split, "concurrency": config.concurrency,
        }  # fmt: skip
        for game, assignment in config.assignments.items():
            told[f"episodes/{game}"] = config.episodes.get(game)
            told |= {f"player/{game}/{role}": label for role, label in assignment.items()}
        self._track = Track(settings, run.path.resolve().name, run.path, told)
        self._every = max(1, sum(config.episodes.values()) // POINTS)
        self._games: dict[str, Attempts] = {}
        self._episodes = self._failed = self._tokens = 0
        self._reported = -1
        for episode in run.episodes(failed=True):
            self._count(episode)

    def add(self, episode: Episode) -> None:
        """Count an episode, and report if it is time."""
        self._count(episode)
        if self._episodes % self._every == 0:
            self._report()

    def close(self) -> None:
        """Report what was counted since, and stop."""
        self._report()
        self._track.close()

    def _count(self, episode: Episode) -> None:
        from playpen.plugins import get_game
        from playpen.scoring import Attempts, episode_scores, tokens_of

        self._tokens += tokens_of(episode)
        if episode.outcome is None:
            self._failed += 1
            return
        self._episodes += 1
        if not episode.outcome.unscored:
            before = self._games.get(episode.game, Attempts(0, 0, 0, 0, 0))
            scores = episode_scores(get_game(episode.game), episode)
            self._games[episode.game] = before.with_another(scores)

    def _report(self) -> None:
        if self._episodes == self._reported:
            return
        self._reported = self._episodes
        values: dict[str, float] = {
            "episodes": self._episodes, "failed": self._failed, "tokens": self._tokens,
        }  # fmt: skip
        for name, counts in self._games.items():
            values[f"{name}/played"] = 100 * counts.played / counts.episodes
            values[f"{name}/success"] = 100 * counts.won / counts.episodes
            if counts.scored:
                values[f"{name}/score"] = counts.total / counts.scored
        self._track.log(self._episodes, values)


_runs: dict[Path, RunTrack] = {}
"""The runs that are being played and tracked."""

_trainings: list[Track] = []
"""The training that goes on, if it is tracked."""


def _wanted() -> TrackerSettings | None:
    """What is asked for; `None` if nothing is, or if another process tells it already."""
    settings = read_settings()
    if not settings.report_to:
        return None
    from playpen.training import leads

    return settings if leads() else None


@hookimpl
def playpen_run_started(run: Run) -> None:
    """Set up the trackers, unless a tracked training plays the run for itself.

    Raises:
        TrackerError: one of them is unknown or not installed.
    """
    if _trainings or (settings := _wanted()) is None:
        return
    try:
        _runs[run.path] = RunTrack(settings, run)
    except PlaypenError:
        raise
    except Exception as error:
        warn_of("of this run", error)


@hookimpl
def playpen_episode_finished(run: Run | None, episode: Episode) -> None:
    """Count an episode."""
    if run is not None and (track := _runs.get(run.path)) is not None:
        try:
            track.add(episode)
        except Exception as error:  # a game's scores, say: the run goes on all the same
            del _runs[run.path]
            warn_of("of this run", error)


@hookimpl
def playpen_run_finished(run: Run) -> None:
    """Report the rest."""
    if (track := _runs.pop(run.path, None)) is not None:
        track.close()


@hookimpl
def playpen_train_started(run: TrainingRun) -> None:
    """Set up the trackers.

    Raises:
        TrackerError: one of them is unknown or not installed.
    """
    if settings := _wanted():
        told = {"trainer": run.trainer, **_flat(msgspec.to_builtins(run.config))}
        _trainings[:] = [Track(settings, run.output.resolve().name, run.output, told)]


@hookimpl
def playpen_train_logged(step: int, values: dict[str, Any]) -> None:
    """Hand on what a trainer logged."""
    if not _trainings and (settings := _wanted()):
        # Nobody said that a training begins, so nobody will say that it ends.
        _trainings.append(Track(settings, "training", Path("trackers"), {}))
        atexit.register(playpen_train_finished)
    for track in _trainings:
        track.log(step, values)


@hookimpl
def playpen_train_finished() -> None:
    """Say that nothing more will come."""
    while _trainings:
        _trainings.pop().close()


def _flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A table of tables as one table with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
