"""Trackers: what TensorBoard is told of runs and trainings, and what happens if one breaks."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tests.core.command_line import HERE, good, playpen
from transformers import TrainerCallback
from transformers.integrations import integration_utils

from playpen.plugins import registry
from playpen.store import Run
from playpen.training import TrainConfig, TrainingRun
from playpen.training.config import LearnerTable
from playpen_trainers import trackers
from playpen_trainers.trackers import TrackerError, read_settings

pytestmark = pytest.mark.usefixtures("folder")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working directory, and no tracker but those that a test asks for."""
    monkeypatch.chdir(tmp_path)
    for variable in (trackers.VARIABLE, "TENSORBOARD_LOGGING_DIR", *trackers._PROJECT_VARIABLES):
        # Set first: so it is taken away again if the trackers set it.
        monkeypatch.setenv(variable, "")
        monkeypatch.delenv(variable)
    yield tmp_path
    trackers.playpen_train_finished()


@pytest.fixture
def training(tmp_path: Path) -> TrainingRun:
    config = TrainConfig(learner=LearnerTable(player="hf:model"))
    return TrainingRun("sft", config, tmp_path / "out")


def ask_for(*names: str, **further: str) -> None:
    lines = [f"report_to = {json.dumps(names)}"]
    lines += [f"{key} = {json.dumps(value)}" for key, value in further.items()]
    Path("playpen.toml").write_text("[trackers]\n" + "\n".join(lines), encoding="utf-8")


def told(folder: str | Path) -> tuple[dict[str, list[tuple[int, float]]], dict[str, Any]]:
    """What the only event file below a folder holds: (step, value) per name, and the settings."""
    [file] = Path(folder).rglob("events.out.tfevents.*")
    events = EventAccumulator(str(file), {"scalars": 0, "tensors": 0})
    events.Reload()
    scalars = {
        name: [(e.step, e.value) for e in events.Scalars(name)] for name in events.Tags()["scalars"]
    }
    [settings] = events.Tensors("args/text_summary")
    return scalars, json.loads(settings.tensor_proto.string_val[0])


class Spy(TrainerCallback):
    """Keeps what it is told, and raises at one event."""

    raises: str | None = None
    seen: list[tuple[str, Any]] = []

    def _note(self, event: str, what: Any = None) -> None:
        self.seen.append((event, what))
        if event == self.raises:
            raise OSError("the server is down")

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._note("begin", (args.run_name, args.project, args.to_dict()))

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        self._note("log", (state.global_step, logs))

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._note("end")


@pytest.fixture
def spy(monkeypatch: pytest.MonkeyPatch) -> type[Spy]:
    """A tracker of the name ``spy``."""
    monkeypatch.setitem(integration_utils.INTEGRATION_TO_CALLBACK, "spy", Spy)
    monkeypatch.setattr(Spy, "seen", [])
    monkeypatch.setattr(Spy, "raises", None)
    return Spy


# --- runs ----------------------------------------------------------------------------------------


def test_a_run_ends_in_tensorboard_with_the_scores_that_playpen_shows() -> None:
    ask_for("tensorboard")
    players = ("-p", f"guesser={HERE}:wrong", "-p", "program:oracle")
    good("play", "taboo", *players, "-n", "5", "--seed", "3", "-o", "run")
    scalars, settings = told("run")
    scores = json.loads(Path("run/scores.json").read_text(encoding="utf-8"))["games"][0]
    assert scores["quality"] == 0.0
    assert {name: values[-1] for name, values in scalars.items()} == {
        "train/episodes": (5, 5.0),
        "train/failed": (5, 0.0),
        "train/tokens": (5, 0.0),
        "train/taboo/played": (5, scores["played"]),
        "train/taboo/success": (5, 0.0),
        "train/taboo/score": (5, scores["quality"]),
    }
    assert [step for step, _ in scalars["train/episodes"]] == [1, 2, 3, 4, 5]
    assert (settings["seed"], settings["games"], settings["episodes/taboo"]) == (3, "taboo", 5)
    assert settings["player/taboo/guesser"] == f"{HERE}:wrong"
    assert settings["player/taboo/describer"] == "program:oracle"


def test_a_long_run_is_reported_a_hundred_times(spy: type[Spy]) -> None:
    ask_for("spy")
    good("play", "taboo", "-p", "program:oracle", "-n", "350", "-o", "run")
    steps = [what[0] for event, what in spy.seen if event == "log"]
    assert steps == [*range(3, 350, 3), 350]
    assert [event for event, _ in spy.seen if event != "log"] == ["begin", "end"]


def test_a_resumed_run_counts_what_was_played_before(spy: type[Spy]) -> None:
    good("play", "taboo", "-p", "program:oracle", "-n", "4", "-o", "run")
    assert spy.seen == []
    file = Path("run/episodes.jsonl")
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:-1]))
    ask_for("spy")
    good("resume", "run")
    [(step, values)] = [what for event, what in spy.seen if event == "log"]
    assert (step, values["episodes"], values["taboo/played"]) == (4, 4, 100.0)


def test_another_process_of_the_same_training_tells_nothing(
    spy: type[Spy], monkeypatch: pytest.MonkeyPatch, training: TrainingRun
) -> None:
    ask_for("spy")
    monkeypatch.setenv("RANK", "1")
    good("play", "taboo", "-p", "program:oracle", "-n", "1", "-o", "run")
    trackers.playpen_train_started(training)
    trackers.playpen_train_logged(1, {"loss": 1.0})
    assert spy.seen == []


# --- trainings -----------------------------------------------------------------------------------


def test_a_training_is_told_value_by_value(training: TrainingRun) -> None:
    ask_for("tensorboard")
    training.output.mkdir()
    trackers.playpen_train_started(training)
    # As trainers log, through the hook.
    for step, values in ((0, {"rows": 12}), (5, {"loss": 0.5, "eval_success": 0.25})):
        training.log(step, values)
    trackers.playpen_train_finished()
    scalars, settings = told("out")
    assert scalars == {
        "train/rows": [(0, 12.0)], "train/loss": [(5, 0.5)], "eval/success": [(5, 0.25)],
    }  # fmt: skip
    assert settings["trainer"] == "sft"
    assert settings["learner.player"] == "hf:model"


def test_a_training_that_nobody_announced_is_told_all_the_same(training: TrainingRun) -> None:
    ask_for("tensorboard")
    training.output.mkdir()
    training.log(1, {"loss": 0.5})
    trackers.playpen_train_finished()
    assert told("trackers")[0] == {"train/loss": [(1, 0.5)]}


def test_what_a_training_plays_for_itself_is_part_of_it(
    spy: type[Spy], training: TrainingRun
) -> None:
    ask_for("spy")
    trackers.playpen_train_started(training)
    good("play", "taboo", "-p", "program:oracle", "-n", "2", "-o", "run")
    trackers.playpen_train_logged(1, {"loss": 1.0})
    assert [event for event, _ in spy.seen] == ["begin", "log"]


# --- settings ------------------------------------------------------------------------------------


def test_nothing_is_told_unless_it_is_asked_for(
    spy: type[Spy], monkeypatch: pytest.MonkeyPatch, training: TrainingRun
) -> None:
    def nothing() -> None:
        good("play", "taboo", "-p", "program:oracle", "-n", "1", "-o", f"run-{len(list(here()))}")
        trackers.playpen_train_started(training)
        trackers.playpen_train_logged(1, {"loss": 1.0})

    def here() -> Iterator[Path]:
        return Path().glob("run-*")

    nothing()
    ask_for()
    nothing()
    ask_for("spy")
    monkeypatch.setenv(trackers.VARIABLE, "none")
    nothing()
    monkeypatch.setenv(trackers.VARIABLE, "")
    nothing()
    assert spy.seen == []
    assert len(list(here())) == 4


def test_settings_come_from_the_nearest_file_and_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ask_for("tensorboard", project="games", name="mine")
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    settings = read_settings(inner)
    assert (settings.report_to, settings.project, settings.name) == (
        ["tensorboard"], "games", "mine",
    )  # fmt: skip
    monkeypatch.setenv(trackers.VARIABLE, "wandb, trackio")
    assert read_settings(inner).report_to == ["wandb", "trackio"]
    (inner / "playpen.toml").write_text("[players.x]\nspec = 'program:oracle'\n", encoding="utf-8")
    assert read_settings(inner).project == "playpen"


def test_name_and_project_reach_the_tracker(spy: type[Spy], training: TrainingRun) -> None:
    ask_for("spy", project="games", name="mine")
    good("play", "taboo", "-p", "program:oracle", "-n", "1", "-o", "run")
    Path("playpen.toml").unlink()
    ask_for("spy")
    trackers.playpen_train_started(training)
    begun = [what[:2] for event, what in spy.seen if event == "begin"]
    assert begun == [("mine", "games"), ("out", "playpen")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[trackers]\nreport_to = 'tensorboard'", "[trackers]: Expected `array`, got `str`"),
        ("[trackers]\nreport = ['tensorboard']", "[trackers]: Object contains unknown field"),
        ("trackers = 5", "trackers must be a table: [trackers]"),
        ("[trackers", "not valid TOML"),
    ],
)
def test_wrong_settings_are_told_before_anything_is_played(text: str, message: str) -> None:
    Path("playpen.toml").write_text(text, encoding="utf-8")
    called = playpen("play", "taboo", "-p", "program:oracle", "-n", "1", "-o", "run")
    assert called.code == 2
    assert message in called.err and "playpen.toml" in called.err
    assert list(Run.open("run").episodes()) == []


def test_an_unknown_or_missing_tracker_is_told_before_anything_is_played(
    monkeypatch: pytest.MonkeyPatch, training: TrainingRun
) -> None:
    monkeypatch.setattr(integration_utils, "is_trackio_available", lambda: False)
    for name, message in (
        ("tensorbord", "tensorbord is not supported, only"),
        ("trackio", "pip install trackio"),
    ):
        ask_for(name)
        called = playpen("play", "taboo", "-p", "program:oracle", "-n", "1", "-o", f"run-{name}")
        assert called.code == 2
        assert message in called.err and "Traceback" not in called.err
        assert list(Run.open(f"run-{name}").episodes()) == []
        with pytest.raises(TrackerError, match=message):
            trackers.playpen_train_started(training)


# --- trackers that break -------------------------------------------------------------------------


@pytest.mark.parametrize("event", ["begin", "log", "end"])
def test_a_tracker_that_raises_is_switched_off_and_the_run_goes_on(
    spy: type[Spy], monkeypatch: pytest.MonkeyPatch, event: str
) -> None:
    monkeypatch.setattr(spy, "raises", event)
    ask_for("spy", "tensorboard")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        good("play", "taboo", "-p", "program:oracle", "-n", "3", "-o", "run")
    ours = [str(w.message) for w in caught if "tracker" in str(w.message)]
    assert ours == ["the tracker spy is switched off: OSError: the server is down"]
    assert [name for name, _ in spy.seen].count(event) == 1
    assert len(list(Run.open("run").episodes())) == 3
    # The other one knows nothing of it.
    assert told("run")[0]["train/episodes"][-1] == (3, 3.0)


def test_a_tracker_that_raises_does_not_end_a_training(
    spy: type[Spy], monkeypatch: pytest.MonkeyPatch, training: TrainingRun
) -> None:
    monkeypatch.setattr(spy, "raises", "log")
    ask_for("spy")
    training.output.mkdir()
    trackers.playpen_train_started(training)
    with pytest.warns(UserWarning, match="the tracker spy is switched off"):
        training.log(1, {"loss": 1.0})
    training.log(2, {"loss": 1.0})
    assert [what[0] for event, what in spy.seen if event == "log"] == [1]


def test_scores_that_cannot_be_told_do_not_end_a_run(
    spy: type[Spy], monkeypatch: pytest.MonkeyPatch
) -> None:
    ask_for("spy")

    def broken(*args: Any) -> None:
        raise ZeroDivisionError("a bug in the metrics")

    monkeypatch.setattr("playpen.scoring.tokens_of", broken)
    with pytest.warns(UserWarning, match="a bug in the metrics"):
        good("play", "taboo", "-p", "program:oracle", "-n", "2", "-o", "run")
    assert len(list(Run.open("run").episodes())) == 2


# --- weight --------------------------------------------------------------------------------------


def test_the_plugin_imports_nothing_heavy() -> None:
    assert "playpen-trainers" in {pack.distribution for pack in registry().packs}
    probe = (
        "import sys; from playpen.plugins import registry; from playpen.store import Run\n"
        "hook = registry().manager.hook\n"
        "hook.playpen_train_logged(step=1, values={})\n"
        "hook.playpen_run_finished(run=Run('x', None), completed=True)\n"
        "print(sorted({'torch', 'transformers', 'tensorboard'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("[]\n", 0), done.stderr
