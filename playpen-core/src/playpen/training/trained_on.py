"""What a training has learned from: a list that its checkpoints carry."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from playpen.files import write_atomically
from playpen.fingerprints import Mark, hash_list, mark_of, read_hash_list, trained_on_file
from playpen.instance import Instance, InstanceError
from playpen.plugins import get_game, resolve_spec
from playpen.training.config import ConfigError
from playpen.training.metrics_log import leads


class TrainedOn:
    """The marks of all instances that a training has learned from, and its learner before it."""

    def __init__(self, path: Path) -> None:
        """Nothing yet.

        Args:
            path: the hash list to write, once `record` was called.
        """
        self._path = path
        self._marks: dict[tuple[str, str], Mark] = {}
        self._recording = False

    def add(self, instances: Iterable[Instance]) -> None:
        """Note instances that are learned from."""
        before = len(self._marks)
        for instance in instances:
            key = (instance.game, instance.hash)
            if key not in self._marks:
                self._marks[key] = mark_of(get_game(instance.game), instance)
        if self._recording and len(self._marks) > before:
            self._write()

    def record(self, learner: str) -> None:
        """Write the list from now on.

        Args:
            learner: spec of the model that learns; what it was trained on before counts, too.

        Raises:
            ConfigError: an earlier list is damaged.
        """
        files = [self._path if self._path.is_file() else None]
        spec = resolve_spec(learner)
        files.append(trained_on_file(Path(spec.target).expanduser()) if spec.target else None)
        for file in files:
            try:
                for mark in read_hash_list(file) if file is not None else ():
                    self._marks.setdefault((mark.game, mark.instance), mark)
            except InstanceError as error:
                raise ConfigError(str(error)) from None
        self._recording = True
        self._write()

    def _write(self) -> None:
        if leads():
            write_atomically(self._path, hash_list(self._marks.values()).encode())
