"""What recorded episodes were played on: their instances, and their experiments' settings."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from playpen.instance import Experiment
from playpen.interop.clemcore.reading import (
    EpisodeFolder,
    RecordingError,
    read_json,
    read_object,
    read_recorded,
)
from playpen.interop.clemcore.vocabulary import EXPERIMENT, INSTANCE

_POSITION = re.compile(r"\d+_")
_INSTANCE_FOLDER = re.compile(r"instance_(\d+)")
_BOOKKEEPING = frozenset({"timestamp", "player_models", "duration", "dialogue_partners"})
"""What clemcore adds to an experiment when it records it (the core leaves out names itself)."""


class UnknownInstance(RecordingError):
    """A recording does not tell what was played, and no instances file does."""


class PlayedInstance(NamedTuple):
    """The settings of an experiment and the fields of one of its instances."""

    experiment: Experiment
    instance: dict[str, Any]


class InstancesFiles:
    """Instances files that are used where a recording left out what was played."""

    def __init__(self, paths: Sequence[Path]) -> None:
        """Read them.

        Raises:
            RecordingError: one cannot be read, or does not have the form of an instances file.
        """
        self.given = bool(paths)
        self._by_name: dict[tuple[str, str], list[PlayedInstance]] = {}
        for path in paths:
            try:
                file = msgspec.convert(read_json(path), _File)
                for entry in file.experiments:
                    experiment = Experiment(msgspec.convert(entry.get("name"), str), entry)
                    items = msgspec.convert(entry.get("game_instances"), list[dict[str, Any]])
                    for item in items:
                        _check_id(item, path)
                        key = (experiment.name, str(item.get("game_id")))
                        self._by_name.setdefault(key, []).append(PlayedInstance(experiment, item))
            except msgspec.ValidationError as error:
                raise RecordingError(f"{path}: not an instances file: {error}") from None

    def find(
        self, experiment: str, game_id: object, instance: dict[str, Any] | None
    ) -> PlayedInstance | None:
        """What an experiment's instance was, by its id and, if it was recorded, its content."""
        for played in self._by_name.get((experiment, str(game_id)), ()):
            if instance in (None, played.instance):
                return played
        return None


class _File(msgspec.Struct, frozen=True):
    experiments: list[dict[str, Any]]


class PlayedInstances:
    """Finds what the episodes of a tree were played on; reads each experiment once."""

    def __init__(self, root: Path, files: InstancesFiles) -> None:
        self._root = root
        self._files = files
        self._experiments: dict[Path, Experiment | None] = {}

    def find(self, place: EpisodeFolder) -> PlayedInstance:
        """The instance of an episode and its experiment's settings.

        Raises:
            UnknownInstance: they are neither recorded nor in an instances file.
            RecordingError: they are damaged.
        """
        experiment = self._experiment(place.experiment)
        instance = read_object(place.instance / INSTANCE)
        if instance is not None:
            _check_id(instance, place.instance / INSTANCE)
        if experiment is not None and instance is not None:
            return PlayedInstance(experiment, instance)
        meta = read_recorded(place, self._root).meta
        game_id = _possible_id(meta, place) if instance is None else instance.get("game_id")
        for name in _possible_names(meta, experiment, place):
            if played := self._files.find(name, game_id, instance):
                return PlayedInstance(experiment or played.experiment, played.instance)
        lacking = (
            f"{place.experiment} has no {EXPERIMENT}"
            if experiment is None
            else f"{place.instance} has no {INSTANCE}"
        )
        if self._files.given:
            raise UnknownInstance(
                f"{lacking}, and no instances file has what was played in {place.path} "
                f"(instance {game_id}); add the right one with --instances FILE"
            )
        raise UnknownInstance(
            f"{lacking}, so it is not known what was played; "
            "add the instances file of the game with --instances FILE"
        )

    def _experiment(self, folder: Path) -> Experiment | None:
        if folder not in self._experiments:
            config = read_object(folder / EXPERIMENT)
            self._experiments[folder] = None if config is None else _experiment_of(config, folder)
        return self._experiments[folder]


def _possible_id(meta: dict[str, Any], place: EpisodeFolder) -> object:
    """An id that was not recorded; from 3.3 on the folder is named after it."""
    if "game_id" in meta:
        return meta["game_id"]
    folder = _INSTANCE_FOLDER.fullmatch(place.instance.name)
    return int(folder[1]) if folder else None


def _check_id(instance: dict[str, Any], file: Path) -> None:
    value = instance.get("game_id", "")
    if not isinstance(value, int | str) or isinstance(value, bool):
        raise RecordingError(f"{file}: the game_id is not a number or a text")


def _experiment_of(config: dict[str, Any], folder: Path) -> Experiment:
    names = (config.get(key) for key in ("name", "experiment_name"))
    name = next((name for name in names if isinstance(name, str)), folder.name)
    return Experiment(name, {k: v for k, v in config.items() if k not in _BOOKKEEPING})


def _possible_names(
    meta: dict[str, Any], experiment: Experiment | None, place: EpisodeFolder
) -> list[str]:
    """What an experiment may be called; up to 3.2 its folder begins with a position."""
    if experiment is not None:
        return [experiment.name]
    if isinstance(meta.get("experiment_name"), str):
        return [meta["experiment_name"]]
    folder = place.experiment.name
    return [folder, _POSITION.sub("", folder, count=1)]
