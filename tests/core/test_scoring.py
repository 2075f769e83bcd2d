"""Scores, rounded and averaged as upstream does it (docs/rules/clemscore.md)."""

from __future__ import annotations

import csv
import gzip
import json
import math
import random
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.core.sample_games import EndlessGame, GuessingGame, guessing, instance_of

from playpen.episode import Episode, Failure
from playpen.game import Game, Metrics
from playpen.moves import Abort, Lose, Outcome, Success
from playpen.referee import new_episode
from playpen.scoring import (
    GameScore,
    RunScore,
    episode_scores,
    round2,
    score_episodes,
    score_game,
    score_games,
)

PARITY = Path(__file__).parents[2] / "../shared/parity"


def row(main: float | None, aborted: int = 0) -> dict[str, Any]:
    """The scores of one episode."""
    return {
        "Aborted": aborted,
        "Success": int(main == 100),
        "Lose": int(main is not None and main < 100),
        "Main Score": main,
    }


def scored(played: float, quality: float | None, name: str = "g", episodes: int = 1) -> GameScore:
    """The scores of one game."""
    return GameScore(name, episodes, played, quality, None, None, 0, 0, 0)


# --- rounding ------------------------------------------------------------------------------------


def test_the_example_of_the_rules_is_rounded_down() -> None:
    assert round2(99.265) == 99.26
    assert round(99.265, 2) == 99.27  # what the built-in makes of it
    assert score_games([scored(q, 1, str(i)) for i, q in enumerate([99.265] * 4)]).played == 99.26


def test_rounding_is_numpys_over_random_numbers() -> None:
    rng = random.Random(0)
    differ = 0
    for _ in range(20_000):
        # Means of few rounded numbers, where ties are frequent, and anything else.
        value = rng.choice(
            [
                rng.randint(0, 20_000) / 200,
                rng.uniform(-100, 100),
                sum(round(rng.uniform(0, 100), 2) for _ in range(4)) / 4,
            ]
        )
        assert round2(value) == float(np.round(value, 2))
        differ += round2(value) != round(value, 2)
    assert differ > 100  # the two rules were told apart


@given(st.floats(-1e6, 1e6))
def test_rounding_is_numpys(value: float) -> None:
    assert round2(value) == float(np.round(value, 2))


# --- one game ------------------------------------------------------------------------------------


def test_a_game_is_scored_over_all_its_episodes() -> None:
    score = score_game("g", [row(100), row(50), row(None, aborted=1), row(0)])
    assert score == GameScore(
        game="g",
        episodes=4,
        played=75.0,
        quality=50.0,
        quality_std=50.0,
        clemscore=37.5,
        aborted=1,
        success=1,
        lose=2,
    )


def test_an_abort_lowers_what_was_played_and_not_the_quality() -> None:
    score = score_game("g", [row(80), row(None, aborted=1), row(None, aborted=1)])
    assert (score.played, score.quality) == (33.33, 80.0)
    assert score.clemscore == 26.66  # from the rounded 33.33


def test_a_number_of_an_aborted_episode_counts_and_a_missing_one_of_a_played_does_not() -> None:
    score = score_game("g", [row(10, aborted=1), row(float("nan")), row(None), row(30)])
    assert (score.played, score.quality) == (75.0, 20.0)


@pytest.mark.parametrize(
    ("rows", "played", "quality", "std"),
    [
        ([row(None, 1)] * 3, 0.0, None, None),
        ([row(None, 1), row(40)], 50.0, 40.0, None),
        ([row(40), row(40)], 100.0, 40.0, 0.0),
        ([row(0)], 100.0, 0.0, None),
        ([], 0.0, None, None),
    ],
)
def test_cells_without_numbers_are_empty_and_not_zero(
    rows: list[dict[str, Any]], played: float, quality: float | None, std: float | None
) -> None:
    score = score_game("g", rows)
    assert (score.played, score.quality, score.quality_std) == (played, quality, std)
    assert score.clemscore == (None if quality is None else round2(played / 100 * quality))


@given(st.lists(st.floats(0, 100), min_size=2, max_size=30))
def test_mean_and_deviation_are_the_textbooks(values: list[float]) -> None:
    score = score_game("g", [row(value) for value in values])
    assert score.quality is not None and score.quality_std is not None
    assert math.isclose(score.quality, statistics.fmean(values), abs_tol=0.0051)
    assert math.isclose(score.quality_std, statistics.stdev(values), abs_tol=0.0051)


# --- over games ----------------------------------------------------------------------------------


def test_both_averages_are_over_games_and_not_over_episodes() -> None:
    run = score_games([scored(100, 80, "a", episodes=1000), scored(50, 20, "b", episodes=1)])
    assert (run.played, run.quality, run.clemscore) == (75.0, 50.0, 37.5)
    assert [game.game for game in run.games] == ["a", "b"]


def test_a_game_where_all_was_aborted_counts_in_the_first_average_only() -> None:
    run = score_games([scored(100, 60, "a"), scored(0, None, "b")])
    assert (run.played, run.quality, run.clemscore) == (50.0, 60.0, 30.0)


def test_without_any_quality_there_is_no_clemscore() -> None:
    run = score_games([scored(0, None, "a"), scored(0, None, "b")])
    assert (run.played, run.quality, run.clemscore) == (0.0, None, None)


def test_without_any_game_there_is_nothing() -> None:
    assert score_games([]) == RunScore([], None, None, None)


def test_averages_are_of_rounded_numbers_and_rounded_themselves() -> None:
    # Chosen so that leaving out a rounding shows: 49.16 without that of the games, 49.15 without
    # that of the averages.
    first = score_game("a", [row(None, 1), *map(row, (0, 0, 50, 67, 50, 67))])
    second = score_game("b", [row(None, 1), *map(row, (100, 50, 100))])
    run = score_games([first, second])
    assert (first.played, second.played) == (85.71, 75.0)
    assert (first.quality, second.quality) == (39.0, 83.33)
    assert (run.played, run.quality, run.clemscore) == (80.35, 61.16, 49.14)


def test_a_game_that_only_failed_is_listed_and_enters_no_average() -> None:
    run = score_games([scored(100, 50, "a"), score_game("b", [], failed=3)])
    assert (run.played, run.quality) == (100.0, 50.0)
    assert [(g.game, g.failed) for g in run.games] == [("a", 0), ("b", 3)]


def test_a_game_whose_episodes_are_all_unscored_is_listed_and_enters_no_average() -> None:
    run = score_games([scored(100, 50, "a"), score_game("b", [], unscored=3)])
    assert (run.played, run.quality) == (100.0, 50.0)
    assert [(g.game, g.unscored) for g in run.games] == [("a", 0), ("b", 3)]


def test_a_game_that_was_not_played_is_not_listed() -> None:
    assert score_games([score_game("a", [])]) == RunScore([], None, None, None)


# --- episodes ------------------------------------------------------------------------------------


def ended(
    outcome: Outcome | None, *, repeat: int = 0, game: Game | None = None, attempts: int = 1
) -> Episode:
    """An episode with an outcome, or a failed one."""
    game = game or GuessingGame()
    instance = guessing() if game.name == "guessing" else instance_of(game)
    episode = new_episode(game, instance, {"a": "x"}, repeat=repeat, attempts=attempts)
    episode.outcome = outcome
    if outcome is None:
        episode.failure = Failure("player", "down")
    return episode


GAMES: Mapping[str, Game] = {"guessing": GuessingGame(), "endless": EndlessGame()}


@pytest.mark.parametrize(
    ("outcome", "flags", "main"),
    [
        (Success(70), (0, 1, 0), 70),
        (Success(None), (0, 1, 0), None),
        (Lose(5, fault="a"), (0, 0, 1), 5),
        (Abort("x", "y"), (1, 0, 0), None),
    ],
)
def test_an_episode_has_its_scores_under_upstreams_names(
    outcome: Outcome, flags: tuple[int, int, int], main: float | None
) -> None:
    scores = episode_scores(GuessingGame(), ended(outcome))
    assert tuple(scores[name] for name in ("Aborted", "Success", "Lose")) == flags
    assert scores["Main Score"] == main
    assert scores["Requests"] == 0


def test_a_games_metrics_may_replace_what_is_exported() -> None:
    class Odd(GuessingGame):
        def metrics(self, episode: Episode) -> Metrics:
            return Metrics(episode={"Lose": 0, "Main Score": 12.5})

    episode = ended(Lose(5))
    assert episode_scores(Odd(), episode)["Main Score"] == 12.5
    run = score_episodes([episode], {"guessing": Odd()})
    assert (run.quality, run.games[0].lose) == (12.5, 0)
    assert episode.outcome == Lose(5)


def test_unscored_episodes_are_counted_apart() -> None:
    episodes = [ended(Success(60)), ended(Lose(0, unscored=True), repeat=1)]
    (game,) = score_episodes(episodes, GAMES).games
    assert (game.episodes, game.unscored, game.quality, game.played) == (1, 1, 60.0, 100.0)


def test_an_unscored_abort_does_not_lower_what_was_played() -> None:
    episodes = [ended(Success(60)), ended(Abort("x", "y", unscored=True), repeat=1)]
    (game,) = score_episodes(episodes, GAMES).games
    assert (game.played, game.aborted, game.unscored) == (100.0, 0, 1)


def test_episodes_that_only_failed_are_counted_once_each_and_enter_no_mean() -> None:
    episodes = [
        ended(Success(60)),
        ended(None, repeat=1),
        ended(None, repeat=1, attempts=2),
        ended(None, repeat=2),
        ended(None, game=EndlessGame()),
    ]
    run = score_episodes(episodes, GAMES)
    assert [(g.game, g.episodes, g.failed) for g in run.games] == [
        ("endless", 0, 1),
        ("guessing", 1, 2),
    ]
    assert (run.played, run.quality) == (100.0, 60.0)


@pytest.mark.parametrize("first_failed", [True, False])
def test_a_finished_attempt_outweighs_the_failed_ones(first_failed: bool) -> None:
    episodes = [ended(None), ended(Success(60), attempts=2)]
    (game,) = score_episodes(episodes if first_failed else episodes[::-1], GAMES).games
    assert (game.episodes, game.failed, game.quality) == (1, 0, 60.0)


def test_no_episodes_have_no_scores() -> None:
    assert score_episodes([], GAMES) == RunScore([], None, None, None)


# --- parity with a recorded evaluation -----------------------------------------------------------

recorded = pytest.mark.skipif(not PARITY.is_dir(), reason="the parity sample is not here")


def recorded_scores(file: Path) -> list[dict[str, Any]]:
    """The scores of the episodes of one game; a flag that was not recorded is false."""
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line)["episode_scores"] for line in lines]
    return [{"Success": 0, "Lose": 0, **scores} for scores in rows]


def table_of(run: RunScore) -> dict[str, str]:
    """The cells of upstream's results table."""

    def cell(value: float | None) -> str:
        return "" if value is None else str(value)

    cells = {
        "-, clemscore": cell(run.clemscore),
        "all, Average % Played": cell(run.played),
        "all, Average Quality Score": cell(run.quality),
    }
    for game in run.games:
        cells[f"{game.game}, % Played"] = cell(game.played)
        cells[f"{game.game}, Quality Score"] = cell(game.quality)
        cells[f"{game.game}, Quality Score (std)"] = cell(game.quality_std)
    return cells


@recorded
@pytest.mark.parametrize(
    ("suite", "key", "value", "games"),
    [("clem", "clemscore", 29.28, 14), ("static", "statscore", 56.46, 4)],
)
def test_every_cell_of_a_recorded_evaluation_comes_out_the_same(
    suite: str, key: str, value: float, games: int
) -> None:
    files: Sequence[Path] = sorted((PARITY / suite).glob("*.jsonl.gz"))
    assert len(files) == games
    run = score_games(
        score_game(file.name.removesuffix(".jsonl.gz"), recorded_scores(file)) for file in files
    )
    with (PARITY / f"results_{suite}.csv").open(encoding="utf-8", newline="") as file:
        (published,) = csv.DictReader(file)
    published.pop("")
    assert table_of(run) == published
    assert run.clemscore == value
    assert json.loads((PARITY / "val.json").read_text(encoding="utf-8"))[key] == value
