"""Playing on validation instances while a model is trained."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.trainers.online_kit import config, logged, register_games, tiny_base, weights_hash

from playpen import get_game, make_player, play
from playpen.episode import Episode, Failure
from playpen.instance_sets import ready_instances
from playpen.players.program import FunctionPlayer
from playpen.training import (
    ConfigError,
    EvalTable,
    GamesTable,
    LearnerTable,
    TeacherTable,
    TrainConfig,
    TrainingRun,
    train,
)
from playpen_trainers.validation import Validation, measures


@pytest.fixture(autouse=True)
def games(monkeypatch: pytest.MonkeyPatch) -> None:
    register_games(monkeypatch)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_base(tmp_path_factory.mktemp("models") / "base")


def evaluations(output: Path) -> list[dict[str, Any]]:
    return [line for line in logged(output) if "eval/success" in line]


# --- what is played ------------------------------------------------------------------------------


def held_out(names: list[str], levels: list[str] | None, episodes: int) -> dict[str, list[Any]]:
    settings = TrainConfig(
        learner=LearnerTable(player="hf:nobody"),
        games=GamesTable(names=names, levels=levels, per_level=3),
        eval=EvalTable(every=1, episodes=episodes),
    )
    return TrainingRun("grpo", settings, "nowhere").validation_instances()


def test_instances_are_of_the_validation_split_and_of_the_trained_levels():
    names, levels = ["taboo", "referencegame"], ["mini", "letter_grids"]
    found = held_out(names, levels, 10)
    assert list(found) == names
    for name, instances in found.items():
        game = get_game(name)
        assert len(instances) == 10
        assert {instance.split for instance in instances} == {"validation"}
        assert {i.experiment.name for i in instances} == set(levels) & set(game.levels())
        trained = {game.fingerprint(i) for i in ready_instances(game, "train")}
        assert not trained & {game.fingerprint(i) for i in instances}


def every_one(instances: list[Any], level: str) -> list[Any]:
    return [instance for instance in instances if instance.experiment.name == level]


@pytest.mark.parametrize("episodes", [4, 10, 21, 31, 60])
def test_instances_are_spread_over_the_levels(episodes: int):
    levels = ["letter_grids", "number_grids", "line_grids_rows", "line_grids_columns"]
    all_of_them = held_out(["referencegame"], levels, 10**6)["referencegame"]
    there = Counter(instance.experiment.name for instance in all_of_them)
    assert episodes < len(all_of_them)
    [instances] = held_out(["referencegame"], levels, episodes).values()
    assert len(instances) == episodes
    assert len({instance.hash for instance in instances}) == episodes
    found = Counter(instance.experiment.name for instance in instances)
    most = max(found.values())
    assert all(found[level] in (most, most - 1, count) for level, count in there.items())
    # From all over a level, not its first ones.
    for level, count in found.items():
        places = [n for n, i in enumerate(every_one(all_of_them, level)) if i in instances]
        assert places[-1] - places[0] >= (there[level] - 1) * (count - 1) // count


# --- what it changes, and what not ---------------------------------------------------------------


def test_evaluation_does_not_change_the_training(base: Path, tmp_path: Path):
    """Dropout and the order of rows are drawn from the same source as ever."""
    options: dict[str, Any] = {"max_steps": 4, "lora_r": 4, "lora_dropout": 0.3}
    teacher = TeacherTable(snapshot_every=1, partner_share=0.5)
    with_it = EvalTable(every=1, episodes=4, temperature=1.0, keep_best=False)
    finals = [
        train("grpo", config(base, teacher=teacher, evaluation=table, **options), tmp_path / name)
        for name, table in (("with", with_it), ("without", EvalTable()))
    ]
    assert weights_hash(finals[0]) == weights_hash(finals[1])
    assert [line["step"] for line in evaluations(tmp_path / "with")] == [0, 1, 2, 3, 4]
    assert not evaluations(tmp_path / "without")


def test_several_games_are_logged_each(base: Path, tmp_path: Path):
    settings = config(base, evaluation=EvalTable(every=1, episodes=3), max_steps=1)
    settings.games.names.append("plaincolours")
    train("grpo", settings, tmp_path)
    for line in evaluations(tmp_path):
        assert line["eval/episodes/colours"] + line["eval/episodes/plaincolours"] == 6
        for key in ("success", "played", "score"):
            mean = (line[f"eval/{key}/colours"] + line[f"eval/{key}/plaincolours"]) / 2
            assert line[f"eval/{key}"] == pytest.approx(mean)


def scripted(monkeypatch: pytest.MonkeyPatch, *results: float) -> list[float]:
    """Evaluations with these results for ``success``, one after the other."""
    left = list(results)

    def values(self: Validation, model: Any) -> dict[str, float]:
        return {"success": left.pop(0), "played": 1.0, "score": 0.0, "episodes": 1}

    monkeypatch.setattr(Validation, "values", values)
    return left


def test_the_best_checkpoint_is_kept_and_returned(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    scripted(monkeypatch, 0.1, 0.2, 0.5, 0.3, 0.5)
    settings = config(
        base, evaluation=EvalTable(every=1), max_steps=4, save_steps=1, save_total_limit=9
    )
    result = train("grpo", settings, tmp_path)
    assert result == tmp_path / "best"
    # The first of equals, which trained the shortest.
    assert weights_hash(result) == weights_hash(tmp_path / "checkpoints" / "checkpoint-2")
    assert weights_hash(result) != weights_hash(tmp_path / "final")
    assert [line["eval/success"] for line in evaluations(tmp_path)] == [0.1, 0.2, 0.5, 0.3, 0.5]
    game = get_game("colours")
    [instance, *_] = ready_instances(game, "validation")
    [episode] = play(game, make_player(f"hf:{result}?max_new_tokens=4"), [instance])
    assert episode.failure is None


def test_without_keep_best_the_last_one_is_returned(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    scripted(monkeypatch, 0.9, 0.2)
    settings = config(base, evaluation=EvalTable(every=1, keep_best=False), max_steps=1)
    assert train("grpo", settings, tmp_path) == tmp_path / "final"
    assert not (tmp_path / "best").exists()


def test_training_stops_early(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    left = scripted(monkeypatch, 0.1, 0.1, 0.4, 0.4, 0.3, 0.9)
    settings = config(base, evaluation=EvalTable(every=2, patience=2), max_steps=20)
    train("grpo", settings, tmp_path)
    assert left == [0.9]
    assert [line["step"] for line in evaluations(tmp_path)] == [0, 2, 4, 6, 8]
    assert max(line["step"] for line in logged(tmp_path)) == 8


# --- kept with the checkpoint --------------------------------------------------------------------


class Nobody:
    """A seating that is not asked for anything."""


def validation(base: Path, output: Path) -> Validation:
    settings = config(base, evaluation=EvalTable(every=1, patience=3))
    anybody: Any = Nobody()
    return Validation(TrainingRun("grpo", settings, output), anybody, anybody)


def test_its_state_is_kept(base: Path, tmp_path: Path):
    (tmp_path / "best").mkdir()
    first = validation(base, tmp_path)
    first.restore({"best": 0.5, "step": 4, "worse": 2})
    second = validation(base, tmp_path)
    second.restore(first.state())
    assert second.state() == {"best": 0.5, "step": 4, "worse": 2}
    assert second.result(tmp_path / "final") == tmp_path / "best"


def test_a_best_checkpoint_that_is_not_there_is_not_returned(base: Path, tmp_path: Path):
    """The process may die while a better one takes its place."""
    found = validation(base, tmp_path)
    found.restore({"best": 0.5, "step": 4, "worse": 2})
    assert found.result(tmp_path / "final") == tmp_path / "final"


# --- measures ------------------------------------------------------------------------------------


def said(reply: str) -> Episode:
    """An episode in which both roles say this whenever they are asked."""
    game = get_game("colours")
    wanted = [i for i in ready_instances(game, "train") if i["wanted"] == "warm"]
    [episode] = play(game, FunctionPlayer(lambda conversation: reply), wanted[:1])
    return episode


def test_measures_leave_out_what_failed():
    won, broken = said("red"), said("grey")
    assert (won.success, broken.aborted) == (True, True)
    failed = said("red")
    failed.failure = Failure("player", "out of memory")
    found = measures([won, broken, failed])
    assert found == {"success": 0.5, "played": 0.5, "score": 50.0, "episodes": 2}
    with pytest.raises(ConfigError, match="every episode failed: out of memory"):
        measures([failed])
