"""The tables of ``clem eval`` and ``playpen eval``.

See docs/rules/clemscore.md, "The tables of clem eval" and "The file val.json".
"""

from __future__ import annotations

import csv
import itertools
import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from playpen.episode import Episode
from playpen.game import Game
from playpen.interop.clemcore.layout import Placed, placed_episodes, safe_name
from playpen.plugins import get_game
from playpen.scoring import GameScore, RunScore, episode_scores, score_game, score_games
from playpen.store import Run, RunError

_OVERALL = "all"


class Scored(msgspec.Struct, frozen=True):
    """The scores of one episode under the names of its folders."""

    game: str
    model: str
    experiment: str
    episode: str
    scores: Mapping[str, Any]


def clemcore_scores(game: Game, episode: Episode) -> dict[str, Any] | None:
    """What clemcore's ``scores.json`` says of an episode; a missing number is `None`.

    There is none for an episode that failed, or that upstream fails to score: neither counts in
    any table.

    Raises:
        RunError: the game has a score ``Played``, which clemcore derives itself and refuses.
    """
    if episode.outcome is None or episode.outcome.unscored:
        return None
    scores = episode_scores(game, episode)
    _refuse_played(game.name, scores)
    return scores


def scored_episodes(run: Run, model: str | None = None) -> Iterator[Scored]:
    """The scores of a run, episode by episode.

    Args:
        run: a run whose games are installed.
        model: the name of its row; by default the players', as an export names their folder.

    Raises:
        PluginError: a game is not installed.
        RunError: the run is damaged.
    """
    for placed in placed_episodes(run, model):
        scores = clemcore_scores(get_game(placed.episode.game), placed.episode)
        if scores is not None:
            yield scored(placed, scores)


def scored(placed: Placed, scores: Mapping[str, Any]) -> Scored:
    """The scores of an episode with its place."""
    return Scored(placed.game, placed.model, placed.experiment, placed.folder, scores)


def write_tables(
    episodes: Iterable[Scored], folder: Path, *, std: bool = False
) -> dict[str, RunScore]:
    """Write ``raw.csv`` and ``results.csv`` as clemcore 3.7.2 does.

    Args:
        episodes: of any number of models, in the order of ``raw.csv``.
        folder: where the files go.
        std: with the columns of standard deviations, which were always there before 3.7.

    Returns:
        The scores of each model, by name: the rows of ``results.csv``.

    Raises:
        RunError: the files cannot be written, or a score is called ``Played``.
    """
    rows = list(episodes)
    for episode in rows:
        _refuse_played(episode.game, episode.scores)
    results = dict(sorted(_score_models(rows).items()))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write_csv(folder / "raw.csv", _raw_rows(rows))
        _write_csv(folder / "results.csv", _result_rows(results, std=std))
    except OSError as error:
        raise RunError(f"{error.filename} cannot be written: {error.strerror}") from None
    return results


def write_val(
    folder: Path,
    model: str,
    scores: Mapping[str, Any],
    *,
    evaluation: Mapping[str, Any] | None = None,
    missing: Mapping[str, Sequence[str]] | None = None,
    replaced: Collection[str] = (),
) -> Path:
    """Add scores to ``<model>.val.json``: ``clemscore``, ``statscore``, as suites are run.

    Args:
        folder: where the file is.
        model: the name it is given.
        scores: the two numbers, as far as there are any, or what stands in their place.
        evaluation: more about them, which upstream does not have; replaces what was there.
        missing: of each game that was scored now, the episodes that its score lacks; what an
            earlier file says of other games stays.
        replaced: keys that are not kept from an earlier file.

    Returns:
        The file, in which scores of other suites stay as they are.

    Raises:
        RunError: the file is damaged, or cannot be written.
    """
    file = folder / f"{safe_name(model)}.val.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        before = (
            msgspec.json.decode(file.read_bytes(), type=dict[str, Any]) if file.exists() else {}
        )
        added = {} if evaluation is None else {"evaluation": evaluation}
        kept = {key: value for key, value in before.items() if key not in replaced}
        if missing is not None:
            lacking = {**before.get("missing", {}), **missing}
            added = {"missing": {game: names for game, names in lacking.items() if names}} | added
        content = msgspec.json.encode({**kept, **scores, **added})
        file.write_bytes(msgspec.json.format(content, indent=2) + b"\n")
    except OSError as error:
        raise RunError(f"{file} cannot be written: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RunError(f"{file}: damaged: {error}") from None
    return file


def _refuse_played(game: str, scores: Mapping[str, Any]) -> None:
    if "Played" in scores:
        raise RunError(
            f"the game {game!r} has a score 'Played', which clemcore derives from 'Aborted'; "
            "give it another name in Game.metrics"
        )


def _score_models(episodes: Iterable[Scored]) -> dict[str, RunScore]:
    rows: dict[str, dict[str, list[dict[str, Any]]]] = {}
    missing = {"Aborted": 0, "Success": 0, "Lose": 0, "Main Score": None}
    for episode in episodes:
        of_model = rows.setdefault(episode.model, {})
        of_model.setdefault(episode.game, []).append({**missing, **episode.scores})
    return {
        model: score_games(score_game(game, scores) for game, scores in games.items())
        for model, games in rows.items()
    }


# --- raw.csv -------------------------------------------------------------------------------------


def _raw_rows(episodes: Iterable[Scored]) -> Iterator[list[Any]]:
    scores: list[list[Any]] = [
        [e.game, e.model, e.experiment, e.episode, metric, math.nan if value is None else value]
        for e in episodes
        for metric, value in e.scores.items()
    ]
    # Upstream's column becomes one of floats with the first float that it gets, and keeps each
    # value as it is from the first on that is no number.
    numbers = list(itertools.takewhile(_is_number, (row[-1] for row in scores)))
    if any(isinstance(value, float) for value in numbers):
        for row in scores[: len(numbers)]:
            row[-1] = float(row[-1])
    played = [
        [*names, "Played", 1 - value] for *names, metric, value in scores if metric == "Aborted"
    ]
    yield ["", "game", "model", "experiment", "episode", "metric", "value"]
    for number, (*names, value) in enumerate([*scores, *played]):
        yield [number, *names, _cell(value)]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float)


def _cell(value: Any) -> Any:
    return "" if value is None or (isinstance(value, float) and math.isnan(value)) else value


# --- results.csv ---------------------------------------------------------------------------------


def _result_rows(results: Mapping[str, RunScore], *, std: bool) -> Iterator[list[Any]]:
    rows = {model: _result_cells(score, std=std) for model, score in results.items()}
    columns = sorted({column for cells in rows.values() for column in cells})
    yield ["", "-, clemscore", *(", ".join(column) for column in columns)]
    for model, cells in rows.items():
        values = (results[model].clemscore, *(cells.get(column) for column in columns))
        yield [model, *map(_cell, values)]


def _result_cells(score: RunScore, *, std: bool) -> dict[tuple[str, str], float | None]:
    cells = {
        (_OVERALL, "Average % Played"): score.played,
        (_OVERALL, "Average Quality Score"): score.quality,
    }
    for game in score.games:
        cells |= _game_cells(game, std=std)
    return cells


def _game_cells(game: GameScore, *, std: bool) -> dict[tuple[str, str], float | None]:
    cells: dict[tuple[str, str], float | None] = {
        (game.game, "% Played"): game.played,
        (game.game, "Quality Score"): game.quality,
    }
    if std:
        cells[game.game, "Quality Score (std)"] = game.quality_std
    return cells


def _write_csv(file: Path, rows: Iterable[list[Any]]) -> None:
    with file.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows(rows)
