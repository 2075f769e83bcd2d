"""Reading the results trees of clemcore 2.x to 3.7.2 (docs/rules/formats.md, "Results trees")."""

from __future__ import annotations

import datetime
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from playpen.conversation import Reply
from playpen.errors import PlaypenError
from playpen.game import Game
from playpen.interop.clemcore.vocabulary import (
    DRAWN,
    ERROR,
    GET,
    INSTANCE,
    INTERACTIONS,
    PSEUDO,
    SCORES,
    players_of,
)

_EPOCH = re.compile(r"epoch_\d{5}")
_BRANCH = re.compile(r"branch_\d{5}")
_HALF_CHARACTER = re.compile(r"\\u[dD][89a-fA-F]")


class RecordingError(PlaypenError):
    """A results tree, or a file of it, cannot be used.  The message names the file."""


def read_json(path: Path) -> Any:
    """Decode a file that clemcore wrote: as JSON, but with NaN, which becomes `None`.

    Lone surrogates, which no UTF-8 file can hold, become U+FFFD.

    Raises:
        RecordingError: the file cannot be read, or is damaged.
    """
    try:
        text = path.read_bytes().decode("utf-8")
        value = json.loads(text, parse_constant=lambda token: None, parse_int=_integer)
        if _HALF_CHARACTER.search(text):
            raw = json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
            value = json.loads(raw.decode("utf-8", "replace"))
    except OSError as error:
        raise RecordingError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise RecordingError(f"{path}: not valid JSON: {error}") from None
    return value


def _integer(digits: str) -> int:
    value = int(digits)
    if not -(2**63) <= value < 2**64:
        raise ValueError("an integer of more than 64 bits")
    return value


def read_object(path: Path) -> dict[str, Any] | None:
    """The object in a file; `None` if there is no such file.

    Raises:
        RecordingError: the file cannot be read, is damaged, or holds something else.
    """
    if not path.is_file():
        return None
    value = read_json(path)
    if not isinstance(value, dict):
        raise RecordingError(f"{path}: expected an object")
    return value


# --- where episodes are --------------------------------------------------------------------------


class EpisodeFolder(NamedTuple):
    """A recorded episode: the folder of its interactions, and that of its instance.

    The two differ where clemcore branched off several episodes of one instance.
    """

    path: Path
    instance: Path

    @property
    def experiment(self) -> Path:
        """Folder of the experiment."""
        return self.instance.parent

    @property
    def game(self) -> str:
        """Name of the game, which no version changes in the folder's name."""
        return self.experiment.parent.name

    @property
    def model(self) -> Path:
        """Folder of the models, above that of the epoch where there are epochs."""
        above = self.experiment.parent.parent
        return above.parent if _EPOCH.fullmatch(above.name) else above


def find_episodes(root: Path) -> list[EpisodeFolder]:
    """All episodes under a folder, in the order of their names, numbers by their value.

    Hidden folders are skipped, links to folders are not followed.

    Raises:
        RecordingError: a folder cannot be read.
    """
    places = []
    for name, folders, files in os.walk(root.resolve(), onerror=_refuse):
        folders[:] = sorted((f for f in folders if not f.startswith(".")), key=_by_number)
        path = Path(name)
        if INTERACTIONS in files:
            branch = INSTANCE not in files and _BRANCH.fullmatch(path.name)
            places.append(EpisodeFolder(path, path.parent if branch else path))
        elif not {INSTANCE, ERROR}.isdisjoint(files) and not any(map(_BRANCH.fullmatch, folders)):
            places.append(EpisodeFolder(path, path))  # it crashed, perhaps before it began
    return places


def _refuse(error: OSError) -> None:
    raise RecordingError(f"{error.filename}: cannot be read: {error.strerror}")


def _by_number(name: str) -> list[str | int]:
    parts: list[str | int] = list(re.split(r"(\d+)", name))
    parts[1::2] = [int(digits) for digits in parts[1::2]]
    return parts


# --- what they hold ------------------------------------------------------------------------------


class _Event(msgspec.Struct, frozen=True):
    sender: str = msgspec.field(name="from")
    to: str
    action: dict[str, Any]
    timestamp: Any = None


class RecordedEpisode(msgspec.Struct, frozen=True):
    """What clemcore wrote about one episode, NaN being null.

    Attributes:
        folder: where it was, from the root of the tree.
        interactions: ``interactions.json``; `None` for an episode that crashed.
        scores: ``scores.json``; `None` if there is none.
        error: ``error.json``, of an episode that crashed in 3.7.
        damaged: per file that could not be read, why.
    """

    folder: str
    interactions: dict[str, Any] | None = None
    scores: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    damaged: dict[str, str] = {}

    @property
    def meta(self) -> dict[str, Any]:
        """Names, ids and the version of clemcore."""
        meta = (self.interactions or {}).get("meta")
        return meta if isinstance(meta, dict) else {}

    @property
    def episode_scores(self) -> dict[str, Any] | None:
        """The scores of the episode, `None` if it was not scored."""
        scores = (self.scores or {}).get("episode scores")
        return scores if isinstance(scores, dict) else None

    def models(self, game: Game) -> dict[str, str]:
        """The recorded name of the model in each role, as far as it is known."""
        players = (self.interactions or {}).get("players")
        known = {}
        if isinstance(players, dict):
            for role, player in players_of(game).items():
                # Before 2.4 a player is described by a text.
                entry = players.get(player)
                if isinstance(entry, dict) and isinstance(entry.get("model_name"), str):
                    known[role] = entry["model_name"]
        return known

    def events(self) -> list[dict[str, Any]]:
        """The events of all rounds: ``from``, ``to``, and the fields of the action.

        Raises:
            RecordingError: they do not have the form of events.
        """
        try:
            rounds = msgspec.convert((self.interactions or {}).get("turns"), list[list[_Event]])
        except msgspec.ValidationError as error:
            raise RecordingError(f"{INTERACTIONS}: the turns are damaged: {error}") from None
        return [
            {
                "type": "",
                "content": None,
                **event.action,
                "from": event.sender,
                "to": event.to,
                "timestamp": event.timestamp,
            }
            for events in rounds
            for event in events
        ]


def read_recorded(place: EpisodeFolder, root: Path) -> RecordedEpisode:
    """What is in the folder of an episode; damaged files are named in `RecordedEpisode.damaged`."""
    documents: dict[str, dict[str, Any] | None] = {}
    damaged = {}
    for name in (INTERACTIONS, SCORES, ERROR):
        try:
            documents[name] = read_object(place.path / name)
        except RecordingError as error:
            damaged[name] = str(error)
    return RecordedEpisode(
        os.path.relpath(place.path, root.resolve()),
        documents.get(INTERACTIONS),
        documents.get(SCORES),
        documents.get(ERROR),
        damaged,
    )


def script_of(game: Game, events: Sequence[dict[str, Any]]) -> list[tuple[str | None, Reply]]:
    """What the players of a game's roles said, in order, as they said it.

    Players beyond the roles, and pseudo exchanges, are part of the game.

    Raises:
        RecordingError: a message is not a text.
    """
    roles = {player: role for role, player in players_of(game).items()}
    script: list[tuple[str | None, Reply]] = []
    for event in events:
        said = event["type"] == GET and event["from"] in roles and event.get("label") != PSEUDO
        if said and not isinstance(event["content"], str):
            raise RecordingError(f"{INTERACTIONS}: a message of {event['from']} is not a text")
        if said:
            script.append((roles[event["from"]], Reply(event["content"])))
    return script


def draws_of(game: Game, events: Sequence[dict[str, Any]]) -> list[list[Any]]:
    """What the chance moves gave: as an export of ours keeps it, else as the game finds it."""
    exported = [event["content"] for event in events if event["type"] == DRAWN]
    return exported or game.recorded_draws(events)


def time_of(event: dict[str, Any]) -> float | None:
    """Seconds since 1970.  Recordings do not name their time zone: it is taken for UTC."""
    try:
        stamp = datetime.datetime.fromisoformat(event["timestamp"])
    except (TypeError, ValueError):
        return None
    return stamp.replace(tzinfo=stamp.tzinfo or datetime.UTC).timestamp()
