"""Replay of recorded clemcore episodes, one JSON object per line (optionally gzipped)."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from playpen.conversation import Reply
from playpen.episode import Episode
from playpen.game import Game
from playpen.instance import Experiment, Instance, InstanceError
from playpen.replay import Divergence, Replay, replay_script
from playpen.scoring import episode_scores

TOLERANCE = 1e-6


class Response(msgspec.Struct, frozen=True):
    """What one player said."""

    player: str
    content: str


class Recording(msgspec.Struct, frozen=True):
    """One recorded episode.  Only responses, instance and experiment settings are relied on."""

    id: str
    game: str
    responses: list[Response]
    instance: dict[str, Any]
    experiment_config: dict[str, Any] = {}
    experiment: str = ""
    game_id: int | str | None = None
    players: dict[str, dict[str, Any]] = {}
    turns: list[list[dict[str, Any]]] = []
    episode_scores: dict[str, Any] = {}


class Result(msgspec.Struct):
    """What the rules make of a recording; the line that ``playpen replay --out`` writes.

    Flags and scores are `None` if the responses ran out before the game ended, or if `error`
    tells why the instance could not be played.
    """

    id: str
    game: str
    experiment: str
    game_id: int | str | None
    aborted: bool | None = None
    success: bool | None = None
    lose: bool | None = None
    main_score: float | None = None
    episode_scores: dict[str, Any] | None = None
    unused_responses: int = 0
    incomplete: bool = False
    error: str | None = None


def read_recordings(path: Path) -> Iterator[Recording]:
    """The episodes of a ``.jsonl`` or ``.jsonl.gz`` file.

    Raises:
        InstanceError: the file cannot be read, or a line is not a recording (names the line).
    """
    decoder = msgspec.json.Decoder(Recording)
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                try:
                    yield decoder.decode(line)
                except (msgspec.DecodeError, UnicodeDecodeError) as error:
                    raise InstanceError(
                        f"{path}, line {number}: not a recording: {error}"
                    ) from None
    except (OSError, EOFError, zlib.error) as error:
        raise InstanceError(f"{path}: cannot be read: {error}") from None


def instance_of(recording: Recording) -> Instance:
    """The recorded instance with its experiment's settings."""
    config = recording.experiment_config
    name = recording.experiment or str(config.get("name", ""))
    return Instance(recording.game, Experiment(name, config), recording.instance)


def script_of(
    game: Game, recording: Recording
) -> tuple[list[tuple[str | None, Reply]], list[dict[str, Any]]]:
    """What was said, each with its role, and the recorded events."""
    roles = {f"Player {n}": role for n, role in enumerate(game.role_names(), 1)}
    script = [(roles.get(said.player), Reply(said.content)) for said in recording.responses]
    return script, [event for round_ in recording.turns for event in round_]


def replay_recording(game: Game, recording: Recording) -> tuple[Result, list[Divergence]]:
    """Play a recording again.

    Returns:
        The result, and where it differs from the recorded scores (if there are any).
    """
    instance = instance_of(recording)
    script, events = script_of(game, recording)
    number = instance.id if recording.game_id is None else recording.game_id
    try:
        again = replay_script(game, instance, script, draws=game.recorded_draws(events))
    except Exception as error:  # an instance that breaks the game must not hide the others
        cause = f"{type(error).__name__}: {error}"
        broken = Result(recording.id, recording.game, instance.experiment.name, number)
        broken.error = cause
        return broken, [Divergence("episode", "missing", "an outcome", cause)]
    result = result_of(game, recording.id, again)
    result.game_id = number
    differences = list(again.divergences)
    if not again.complete:
        differences.append(
            Divergence("responses", "missing", f"{len(script)}", "one more is asked for")
        )
        return result, differences
    if again.unused:
        differences.append(Divergence("responses", "unused", 0, f"{again.unused} left over"))
    scores = result.episode_scores or {}
    return result, differences + compare_scores(game, recording, again.episode, scores)


def result_of(game: Game, name: str, replayed: Replay) -> Result:
    """The line of a replayed episode; its flags are `None` if it did not come to an end."""
    episode = replayed.episode
    result = Result(name, episode.game, episode.experiment, episode.instance_id)
    result.unused_responses = replayed.unused
    result.incomplete = not replayed.complete
    if replayed.complete:
        result.aborted, result.success, result.lose = (
            episode.aborted,
            episode.success,
            episode.lose,
        )
        result.main_score = episode.main_score
        result.episode_scores = episode_scores(game, episode)
    return result


def compare_scores(
    game: Game, recording: Recording, episode: Episode, replayed: Mapping[str, Any]
) -> list[Divergence]:
    """Where flags and scores differ from the recorded ones.

    A flag without a recorded value is not compared, nor what is not stable from play to play.
    """
    flags = {"Aborted": episode.aborted, "Success": episode.success, "Lose": episode.lose}
    differences = []
    for name, old in recording.episode_scores.items():
        if name in game.unstable_scores:
            continue
        if name in flags:
            if old is not None and bool(old) != flags[name]:
                differences.append(Divergence(name, "score", old, int(flags[name])))
        elif name not in replayed:
            differences.append(Divergence(name, "score", old, "nothing"))
        elif not _agree(old, replayed[name]):
            differences.append(Divergence(name, "score", old, replayed[name]))
    return differences


def _agree(old: Any, new: Any) -> bool:
    if isinstance(old, int | float) and isinstance(new, int | float):
        return abs(old - new) <= TOLERANCE
    return bool(old == new)
