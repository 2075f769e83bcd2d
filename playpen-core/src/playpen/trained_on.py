"""Which instances of a run its players were trained on: such a score measures memory, too."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from playpen.errors import PlaypenError
from playpen.fingerprints import mark_of, read_hash_list, trained_on_file, training_folder
from playpen.instance import Instance
from playpen.player import parse_spec
from playpen.plugins import get_game
from playpen.store import Run


class Exposure(msgspec.Struct, frozen=True):
    """How many instances of a game a player was trained on, or on another one of the same puzzle.

    Attributes:
        player: its label in the run.
        game: name of the game.
        instances: of the game in the run.
        trained_on: so many of them; `None` if the checkpoint does not tell (a training of a
            version before 0.2).
    """

    player: str
    game: str
    instances: int
    trained_on: int | None

    def __str__(self) -> str:
        if self.trained_on is None:
            return (
                f"{self.player}: its training did not record what it learned from; it may have "
                f"seen the {self.instances} instances of {self.game}"
            )
        return (
            f"{self.player} was trained on {self.trained_on} of the {self.instances} instances of "
            f"{self.game}"
        )


def exposures(runs: Iterable[Run]) -> list[Exposure]:
    """What the players of some runs were trained on; nothing for those that were on nothing.

    Raises:
        InstanceError: a checkpoint's list is damaged.
        RunError: a run is damaged.
    """
    told = []
    for run in runs:
        lists = {label: _trained_on(spec) for label, spec in run.config.players.items()}
        if all(known == frozenset() for known in lists.values()):
            continue
        by_game = run.instances_by_game()
        for game, names in run.config.assignments.items():
            for label in dict.fromkeys(names.values()):
                exposure = _exposure(label, game, by_game[game], lists.get(label))
                if exposure.trained_on != 0:
                    told.append(exposure)
    return told


def _exposure(
    label: str, game: str, instances: list[Instance], known: frozenset[str] | None
) -> Exposure:
    if known is None:
        return Exposure(label, game, len(instances), None)
    if not known:
        return Exposure(label, game, len(instances), 0)
    marks = [mark_of(get_game(game), instance) for instance in instances]
    seen = sum(mark.instance in known or mark.puzzle in known for mark in marks)
    return Exposure(label, game, len(instances), seen)


def _trained_on(spec: str) -> frozenset[str] | None:
    """Instances and puzzles that a player was trained on; `None` if that is unknown.

    A player that is no checkpoint of a training was trained on nothing, as far as we know.
    """
    try:
        target = parse_spec(spec).target
    except PlaypenError:  # the name of a model that was imported
        return frozenset()
    folder = Path(target).expanduser()
    if not target or not folder.is_dir():
        return frozenset()
    file = trained_on_file(folder)
    if file is not None:
        return frozenset(part for mark in read_hash_list(file) for part in mark[1:3])
    checkpoint = (folder / "config.json").is_file() or (folder / "adapter_config.json").is_file()
    return None if checkpoint and training_folder(folder) else frozenset()
