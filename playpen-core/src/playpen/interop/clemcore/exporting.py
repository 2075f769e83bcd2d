"""Writing runs as results trees of clemcore 3.7.2.

The trees are described in docs/rules/formats.md, "Results trees" and "What an export writes".

The tree has what ``clem eval`` and ``clem transcribe`` read; request files, which hold what a
backend sent and got, are left out.  When an episode began is known, but not when each of its
events was: all of them bear the beginning, in UTC.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

from playpen.episode import Episode
from playpen.game import Game
from playpen.interop.clemcore.events import EpisodeEvents
from playpen.interop.clemcore.layout import Placed, model_folder, placed_episodes
from playpen.interop.clemcore.tables import clemcore_scores
from playpen.interop.clemcore.vocabulary import (
    COMPLETED,
    ERROR,
    EXPERIMENT,
    INSTANCE,
    INTERACTIONS,
    MASTER,
    SCORES,
    players_of,
)
from playpen.plugins import CORE, get_game
from playpen.store import Run, RunError

CLEM_VERSION = "3.7.2"
"""The version whose files these are."""


class Exported(msgspec.Struct):
    """What was written: the model folder, and how many episodes (`failed` of them crashed)."""

    path: Path
    episodes: int = 0
    failed: int = 0


def export_run(run: Run, root: Path) -> Exported:
    """Write a run into a results tree, as a model folder named after its players.

    Args:
        run: what to write.
        root: the tree; it may hold other models.

    Raises:
        RunError: the tree holds this model already, or cannot be written; the run is damaged.
        PluginError: a game of the run is not installed.
    """
    games = {name: get_game(name) for name in run.config.assignments}
    models = _player_models(run)
    written = Exported(root / model_folder(list(run.config.players)))
    clocks: dict[str, _Clock] = {}
    try:
        try:
            written.path.mkdir(parents=True)
        except FileExistsError:
            raise RunError(f"{written.path} is there already; export to another place") from None
        for placed in placed_episodes(run):
            _write_episode(placed, games[placed.episode.game], models, root)
            written.episodes += 1
            written.failed += placed.episode.failure is not None
            clocks.setdefault(placed.episode.game, _Clock()).add(placed.episode)
        information = {
            **_written_by(),
            "created": run.config.created,
            "player_models": models,
            "games": {
                name: {"game_path": games[name].package(), **clock.described()}
                for name, clock in clocks.items()
            },
        }
        _write(written.path / "run.json", information)
    except OSError as error:
        raise RunError(f"{error.filename} cannot be written: {error.strerror}") from None
    return written


def _write_episode(placed: Placed, game: Game, models: Mapping[str, Any], root: Path) -> None:
    episode, instance = placed.episode, placed.instance
    folder = root / placed.path
    folder.mkdir(parents=True)
    settings = folder.parent / EXPERIMENT
    if not settings.exists():
        experiment = {
            "name": episode.experiment,
            **instance.experiment.config,
            "timestamp": _timestamp(episode.started),
            "game_name": episode.game,
            "player_models": models,
        }
        _write(settings, experiment)
    # Instances with the same content are one to us, but each episode knows its own id.
    number = {"game_id": episode.instance_id} if "game_id" in instance.data else {}
    _write(folder / INSTANCE, {**instance.data, **number})

    ended = _timestamp(episode.started + episode.seconds)
    if episode.failure is not None:
        kind, message = f"{episode.failure.kind.capitalize()}Error", episode.failure.message
        _write(folder / ERROR, {"timestamp": ended, "error": kind, "message": message})
        return
    interactions = _interactions(placed, game, models)
    _write(folder / INTERACTIONS, interactions)
    scores = clemcore_scores(game, episode)
    if scores is not None:
        rounds = game.metrics(episode).rounds
        document = {
            **{key: interactions[key] for key in ("meta", "players", "player_models")},
            "round scores": {key: _with_nan(row) for key, row in rounds.items()},
            "episode scores": _with_nan(scores),
        }
        _write(folder / SCORES, document)
    _write(folder / COMPLETED, {"timestamp": ended})


def _interactions(placed: Placed, game: Game, models: Mapping[str, Any]) -> dict[str, Any]:
    episode = placed.episode
    events = EpisodeEvents(game, episode, _timestamp(episode.started))
    players = {
        player: {"game_role": role, "model_name": episode.players[role]}
        for role, player in players_of(game).items()
    }
    return {
        "meta": {
            "game_name": episode.game,
            "experiment_name": episode.experiment,
            "game_id": episode.instance_id,
            "results_folder": placed.model,
            **_written_by(),
            "round_count": len(events.rounds),
            "completed": True,
        },
        "player_models": models,
        "players": {
            MASTER: {"game_role": "Game Master", "model_name": "programmatic"},
            **players,
        },
        "turns": events.rounds,
        "Request Count": events.requests,
        "Parsed Request Count": [
            requests - violated
            for requests, violated in zip(events.requests, events.violated, strict=True)
        ],
        "Violated Request Count": events.violated,
        "Aborted": int(episode.aborted),
        "Lose": int(episode.lose),
        "Success": int(episode.success),
    }


def _player_models(run: Run) -> dict[str, dict[str, Any]]:
    """The players by their position, as clemcore describes models."""
    models = {}
    for position, (label, spec) in enumerate(run.config.players.items()):
        described = run.config.descriptions.get(label, {})
        given = {
            "temperature": described.get("temperature"),
            "max_tokens": described.get("max_new_tokens"),
        }
        models[str(position)] = {
            "model_spec": described.get("specification")
            or {"model_name": label, "backend": spec.partition(":")[0]},
            "gen_args": {name: value for name, value in given.items() if value is not None},
        }
    return models


class _Clock:
    """When the episodes of a game were played."""

    def __init__(self) -> None:
        self._spans: list[tuple[float, float]] = []

    def add(self, episode: Episode) -> None:
        self._spans.append((episode.started, episode.started + episode.seconds))

    def described(self) -> dict[str, Any]:
        start = min(started for started, _ in self._spans)
        end = max(ended for _, ended in self._spans)
        return {
            "benchmark_start": _timestamp(start),
            "benchmark_end": _timestamp(end),
            "duration": str(datetime.timedelta(seconds=end - start)),
            "duration_seconds": end - start,
            "num_instances": len(self._spans),
        }


def _written_by() -> dict[str, str]:
    return {"clem_version": CLEM_VERSION, "written_by": f"{CORE} {version(CORE)}"}


def _timestamp(seconds: float) -> str:
    """A time in UTC; clemcore's have no zone."""
    stamp = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return stamp.replace(tzinfo=None).isoformat(timespec="microseconds")


def _with_nan(scores: Mapping[str, Any]) -> dict[str, Any]:
    return {name: float("nan") if value is None else value for name, value in scores.items()}


def _write(file: Path, document: Mapping[str, Any]) -> None:
    """Write as clemcore does: indented, characters as they are, a missing number as NaN."""
    text = json.dumps(document, ensure_ascii=False, indent=2)
    file.write_text(text + "\n", encoding="utf-8", newline="\n")
