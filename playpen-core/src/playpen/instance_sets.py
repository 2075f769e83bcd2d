"""Sets of instances: read from files, checked against a schema, ready-made for each split."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from playpen.instance import SPLITS, Experiment, Instance, InstanceError

if TYPE_CHECKING:
    from playpen.game import Game

READY_SEED = 20_25
"""Seed of the splits that a pack ships ready-made."""


class Checker:
    """Validates the experiments and instances of one game against its JSON Schema."""

    def __init__(self, game: Game) -> None:
        self._validators: dict[str, Any] = {}
        schema = game.schema()
        if schema is not None:
            import jsonschema

            for part in ("experiment", "instance"):
                if part in schema.get("$defs", {}):
                    validator = jsonschema.Draft202012Validator(
                        {"$ref": f"#/$defs/{part}", "$defs": schema["$defs"]}
                    )
                    validator.check_schema(schema["$defs"][part])
                    self._validators[part] = validator

    def errors(self, part: str, value: Mapping[str, Any]) -> list[str]:
        """What is wrong with one ``experiment`` or ``instance``, one line per fault."""
        validator = self._validators.get(part)
        if validator is None:
            return []
        lines = []
        for error in sorted(
            validator.iter_errors(dict(value)), key=lambda e: list(map(str, e.path))
        ):
            field = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in error.path)
            where = f"field {field.lstrip('.')!r}: " if field else ""
            message = error.message
            lines.append(where + (message if len(message) < 200 else message[:197] + "..."))
        return lines


def parse_instances(
    document: object, game: Game, *, source: str = "instances", split: str | None = None
) -> list[Instance]:
    """All instances of a clembench document ``{"experiments": [...]}``, in order.

    Raises:
        InstanceError: the form is wrong or the schema is broken; names source, experiment,
            instance and field, and lists up to twenty faults.
    """
    if not isinstance(document, Mapping) or not isinstance(document.get("experiments"), list):
        raise InstanceError(f"{source}: expected an object with a list 'experiments'")
    checker = Checker(game)
    faults: list[str] = []
    instances: list[Instance] = []
    names: set[str] = set()
    for position, entry in enumerate(document["experiments"]):
        if not isinstance(entry, Mapping) or not isinstance(entry.get("name"), str):
            faults.append(f"experiment number {position}: expected an object with a 'name'")
            continue
        name = entry["name"]
        if name in names:
            faults.append(f"experiment {name!r}: the name is used twice")
        names.add(name)
        items = entry.get("game_instances")
        if not isinstance(items, list):
            faults.append(f"experiment {name!r}: field 'game_instances' must be a list")
            continue
        experiment = Experiment(name, entry)
        faults += [
            f"experiment {name!r}: {e}" for e in checker.errors("experiment", experiment.config)
        ]
        for index, item in enumerate(items):
            if not isinstance(item, Mapping):
                faults.append(f"experiment {name!r}, instance number {index}: expected an object")
                continue
            label = item.get("game_id", f"number {index}")
            faults += [
                f"experiment {name!r}, instance {label}: {e}"
                for e in checker.errors("instance", item)
            ]
            instances.append(Instance(game.name, experiment, item, split))
    if faults:
        shown = "\n  ".join(faults[:20])
        more = f"\n  ... and {len(faults) - 20} more" if len(faults) > 20 else ""
        raise InstanceError(f"{source}: not valid for the game {game.name!r}:\n  {shown}{more}")
    return instances


def read_instances(path: str | Path, game: Game, *, split: str | None = None) -> list[Instance]:
    """Read a clembench ``instances.json``, unchanged.

    Raises:
        InstanceError: the file is missing, is not JSON, or is not valid for the game.
    """
    return parse_instances(load_json(path), game, source=str(path), split=split)


def load_json(path: str | Path) -> Any:
    """Decode a JSON file.

    Raises:
        InstanceError: naming the file and what is wrong with it.
    """
    try:
        return msgspec.json.decode(Path(path).read_bytes())
    except OSError as error:
        raise InstanceError(f"{path}: cannot be read: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InstanceError(f"{path}: not valid JSON: {error}") from None


def ready_instances(game: Game, split: str, level: str | None = None) -> list[Instance]:
    """The instances that a game's pack provides for a split (made from a fixed seed).

    Args:
        game: the game.
        split: the split.
        level: name of one level, of which there are none if the game does not have it; all
            regular levels if `None`.

    Raises:
        InstanceError: unknown split, or the generator broke the game's own schema.
    """
    if split not in SPLITS:
        raise InstanceError(f"unknown split {split!r}; choose one of {', '.join(SPLITS)}")
    if level is None or not game.levels_stand_alone:
        document = game.generate(split, seed=READY_SEED)
        source = f"{game.name} ({split} split)"
        regular = parse_instances(document, game, source=source, split=split)
        if level is None:
            return regular
        if of_level := [i for i in regular if i.experiment.name == level]:
            return of_level
    if level not in game.levels():
        return []
    document = game.generate(split, seed=READY_SEED, level=level)
    return parse_instances(document, game, source=f"{game.name} ({level})", split=split)


def document_of(instances: Iterable[Instance]) -> dict[str, Any]:
    """The clembench document ``{"experiments": [...]}`` of instances; inverse of parsing."""
    experiments: dict[tuple[str, str], dict[str, Any]] = {}
    for instance in instances:
        key = (instance.experiment.name, instance.experiment.hash)
        entry = experiments.setdefault(
            key,
            {"name": instance.experiment.name, **instance.experiment.config, "game_instances": []},
        )
        entry["game_instances"].append(dict(instance.data))
    return {"experiments": list(experiments.values())}
