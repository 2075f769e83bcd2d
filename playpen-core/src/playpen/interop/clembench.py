"""Making clembench's instances files playable by name."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from playpen.game import Game
from playpen.instance import Instance, InstanceError
from playpen.instance_sets import document_of, load_json, parse_instances, read_instances
from playpen.plugins import get_game, registry


def data_home() -> Path:
    """Where imported instances live: ``$PLAYPEN_HOME``, else the user's data directory."""
    if home := os.environ.get("PLAYPEN_HOME"):
        return Path(home)
    base = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(base) / "playpen"


class Imported(msgspec.Struct, frozen=True):
    """One file that was imported: game, number of instances, and where they now are.

    `replaced` tells that the set had instances of the game before.
    """

    game: str
    instances: int
    path: Path
    replaced: bool = False


def import_instances(
    path: Path, *, name: str | None = None, game: str | None = None
) -> list[Imported]:
    """Import an instances file, or all known games of a clembench checkout.

    Args:
        path: an instances file, or a folder with ``clemgame.json`` files in it.
        name: name of the set; the name of the folder or file by default.
        game: the game of a single file, where its path does not tell.

    Raises:
        InstanceError: nothing to import, or a file is not valid for its game.
        PluginError: the game is not installed.
    """
    if path.is_file():
        chosen = game or _game_of_path(path)
        if chosen is None:
            raise InstanceError(f"{path}: cannot tell which game this is; add --game NAME")
        sources = [(chosen, path)]
        label = name or (path.stem if path.stem != "instances" else chosen)
    else:
        sources = [entry for entry in _checkout(path) if game in (None, entry[0])]
        label = name or path.resolve().name
    if not sources:
        raise InstanceError(
            f"{path}: no instances found; expected an instances file, or a clembench checkout "
            "with clemgame.json files of installed games"
        )
    if label != Path(label).name or label == "..":
        raise InstanceError(f"{label!r} cannot name a set; choose a --name without slashes")
    sets = [(get_game(g), _read_completed(get_game(g), source)) for g, source in sources]
    folder = data_home() / "instances" / label
    imported = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for rules, instances in sets:
            target = folder / f"{rules.name}.json"
            replaced = target.exists()
            target.write_bytes(msgspec.json.encode(document_of(instances)))
            imported.append(Imported(rules.name, len(instances), target, replaced))
    except OSError as error:
        raise InstanceError(
            f"{folder} cannot be written: {error.strerror}; PLAYPEN_HOME names another place"
        ) from None
    return imported


def _read_completed(game: Game, source: Path) -> list[Instance]:
    """The instances of a file, with the texts that a checkout keeps beside it."""
    document = load_json(source)
    if source.parent.name == "in" and isinstance(document, dict) and "experiments" in document:
        document = game.complete_import(document, source.parent.parent)
    return parse_instances(document, game, source=str(source))


def find_instances(source: str, game: Game) -> list[Instance]:
    """The instances of a game in a file, or in an imported set of that name.

    Raises:
        InstanceError: no such file or set, or the set has nothing for the game.
    """
    path = Path(source)
    if path.is_file():
        return read_instances(path, game)
    home = data_home() / "instances"
    file = home / source / f"{game.name}.json"
    if file.is_file():
        return parse_instances(load_json(file), game, source=str(file))
    known = sorted(folder.name for folder in home.glob("*") if folder.is_dir())
    if source in known:
        raise InstanceError(f"the imported set {source!r} has no instances of {game.name!r}")
    sets = f"imported sets: {', '.join(known)}" if known else "no sets are imported"
    raise InstanceError(
        f"{source!r} is neither a file nor an imported set ({sets}); "
        "import one with `playpen instances import PATH`"
    )


def _game_of_path(path: Path) -> str | None:
    """``.../wordle/in/instances_withclue.json`` is the game that its clemgame.json says it is."""
    folder = path.resolve().parent
    if folder.name == "in":
        for name, source in _registered(folder.parent / "clemgame.json"):
            if source.resolve() == path.resolve():
                return name
        folder = folder.parent
    return folder.name if folder.name in registry().games else None


def _checkout(root: Path) -> Iterator[tuple[str, Path]]:
    for file in sorted(root.rglob("clemgame.json")):
        hidden = any(part.startswith(".") for part in file.relative_to(root).parts)
        if not hidden:
            for name, source in _registered(file):
                if name in registry().games and source.is_file():
                    yield name, source


def _registered(file: Path) -> Iterator[tuple[str, Path]]:
    """Games of a file and their instances files (docs/rules/formats.md, "clemgame.json")."""
    if not file.is_file():
        return
    document = load_json(file)
    for entry in document if isinstance(document, list) else [document]:
        if isinstance(entry, dict) and isinstance(entry.get("game_name"), str):
            _check_rules(entry, file)
            stem = entry.get("instances", "instances")
            yield entry["game_name"], file.parent / "in" / f"{stem}.json"


def _check_rules(entry: dict[str, Any], file: Path) -> None:
    """Refuse instances that were made for other versions of the rules than the pack's.

    A game's entry names the versions of the benchmark that it belongs to, such as ``3.0``; tags of
    another form (``static_1.0``) say nothing about the rules.
    """
    name = entry["game_name"]
    tags = entry.get("benchmark")
    versions = (
        [tag for tag in tags if isinstance(tag, str) and re.fullmatch(r"\d+\.\d+", tag)]
        if isinstance(tags, list)
        else []
    )
    if name in registry().games and versions and get_game(name).rules not in versions:
        raise InstanceError(
            f"{file}: these instances of {name!r} are for the rules {', '.join(versions)}; the "
            f"installed pack plays {get_game(name).rules}.  Import a checkout of that version."
        )
