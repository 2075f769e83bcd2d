"""Runs from and for clemcore: every layout read, the tree written, tables, lists of instances."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.core.command_line import HOSTILE, good, playpen, refused
from tests.core.sample_games import (
    BuggyGame,
    GuessingGame,
    RelayGame,
    babble,
    content,
    drive,
    game_of,
    guessing,
    relay,
)

from playpen.cast import make_cast
from playpen.cli import exchange
from playpen.conversation import Message, Reply
from playpen.episode import Episode, Failure
from playpen.game import Game, Metrics
from playpen.instance import Experiment, Instance, InstanceError
from playpen.instance_sets import document_of
from playpen.interop.clemcore.events import EpisodeEvents
from playpen.interop.clemcore.exporting import export_run
from playpen.interop.clemcore.importing import ImportedRun, import_results
from playpen.interop.clemcore.layout import model_folder, safe_name
from playpen.interop.clemcore.reading import RecordedEpisode, RecordingError, read_json
from playpen.interop.clemcore.selection import select_instances
from playpen.interop.clemcore.tables import Scored, scored_episodes, write_tables, write_val
from playpen.moves import Draw, Exchange, Note, Play, Success, Tell, ask
from playpen.plugins import get_game, registry
from playpen.referee import new_episode
from playpen.runner import create_run, play_run
from playpen.scoring import score_episodes
from playpen.store import EpisodeWriter, Run, RunConfig, RunError

BABBLE = "program:tests.core.sample_games:babble"
NAN = float("nan")

pytestmark = pytest.mark.usefixtures("installed")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, and the commands on the command line."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return work


def read(path: str | Path) -> Any:
    """A JSON file, with the NaN tokens that clemcore writes."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def write(path: str | Path, document: object) -> Path:
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(document, ensure_ascii=False, indent=2), encoding="utf-8")
    return file


# --- recordings of our own making ----------------------------------------------------------------


class Layout(NamedTuple):
    """How a version of clemcore lays out and writes what it records."""

    version: str
    model: str
    experiment: str
    episode: str
    round_scores: str = "round scores"
    modern: bool = True


LAYOUTS = {
    "2.0": Layout("2.0.0", "m-t0.0--m-t0.0", "2_easy", "episode_{k}", "turn scores", modern=False),
    "3.2": Layout("3.2.0", "m-t0.0", "2_easy", "episode_{k}", "turn scores", modern=False),
    "3.3": Layout("3.3.0", "m-t0.0", "easy", "instance_{id:05d}", "turn scores", modern=False),
    "3.7": Layout("3.7.2", "m", "easy", "instance_{id:05d}"),
    "episodes": Layout("3.7.2", "m", "easy", "episode_{k:05d}"),
    "epochs": Layout("3.7.2", "m", "easy", "instance_{id:05d}"),
    "branches": Layout("3.7.2", "m", "easy", "instance_{id:05d}"),
}
SETTINGS = {"limit": 20, "tries": 6}
SECRET = {"game_id": 17, "secret": 7}
SCORES = {"Aborted": 0, "Success": 1, "Lose": 0, "Main Score": 50.0, "Requests": 2}


def events_of(said: Iterable[str], player: str = "Player 1") -> list[dict[str, Any]]:
    """A question and a reply for each text."""
    stamps = (f"2026-01-05T10:00:{second:02d}.5" for second in range(60))
    found = []
    for text in said:
        asked = {"type": "send message", "content": "?", "label": "context"}
        reply = {"type": "get message", "content": text, "label": "response"}
        for sender, to, action in (("GM", player, asked), (player, "GM", reply)):
            found.append({"from": sender, "to": to, "timestamp": next(stamps), "action": action})
    return found


def record(
    said: Sequence[str] = ("10", "7"),
    *,
    root: str | Path = "results",
    layout: str = "3.7",
    game: str = "guessing",
    instance: Mapping[str, Any] = SECRET,
    settings: Mapping[str, Any] = SETTINGS,
    name: str = "easy",
    scores: Mapping[str, Any] | None = SCORES,
    k: int = 0,
    model: str = "m",
    turns: Sequence[Sequence[Mapping[str, Any]]] | None = None,
    **interactions: Any,
) -> Path:
    """Write an episode as a version of clemcore does; gives the folder of its interactions."""
    form = LAYOUTS[layout]
    top = Path(root) / form.model.replace("m", model, 1)
    if layout == "epochs":
        top /= "epoch_00003"
    experiment = top / game / form.experiment.replace("easy", name)
    folder = experiment / form.episode.format(k=k, id=instance["game_id"])
    spec: dict[str, Any] = {"model_name": model, "backend": "openai"}
    if form.modern:
        spec = {"model_spec": spec, "gen_args": {"temperature": 0.5, "max_tokens": 300}}
    models = {"0": spec}
    config = {"name": name, **settings, "timestamp": "2026-01-05T09:59", "player_models": models}
    if not form.modern:
        config |= {"experiment_name": name, "duration": "0:00:01.5", "dialogue_partners": top.name}
    write(experiment / "experiment.json", {**config, "game_name": game})
    write(folder / "instance.json", instance)
    if layout == "branches":
        folder /= "branch_00001"
    meta = {
        "game_name": game,
        "experiment_name": name,
        "game_id": instance["game_id"],
        "results_folder": top.name,
        "clem_version": form.version,
    }
    players: dict[str, Any] = {
        "GM": {"game_role": "Game Master", "model_name": "programmatic"},
        "Player 1": {"game_role": "Someone", "model_name": model},
        "Player 2": {"game_role": "Someone else", "model_name": model},
    }
    if layout == "2.0":
        players = {"GM": "Game master", "Player 1": f"Player 1: {model}"}
    document = {
        "meta": meta,
        "player_models": models,
        "players": players,
        "turns": [events_of(said)] if turns is None else turns,
        **interactions,
    }
    write(folder / "interactions.json", document)
    write(folder / "requests.json", [])
    if scores is not None:
        parts = {} if layout == "2.0" else {"meta": meta, "players": players}
        parts |= {form.round_scores: {"0": {"Accuracy": NAN}}, "episode scores": dict(scores)}
        write(folder / "scores.json", parts)
    return folder


def imported(
    root: str | Path = "results", output: str | Path = "run", **options: Any
) -> ImportedRun:
    """Import a tree that must give one run."""
    (run,) = import_results(Path(root), Path(output), **options).runs
    return run


def episodes_of(run: ImportedRun | str | Path) -> list[Episode]:
    path = run.path if isinstance(run, ImportedRun) else run
    return list(Run.open(path).episodes(failed=True))


def recorded_lines(run: ImportedRun) -> list[RecordedEpisode]:
    lines = (run.path / "recorded.jsonl").read_bytes().splitlines()
    return [msgspec.json.decode(line, type=RecordedEpisode) for line in lines]


# --- import: layouts -----------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_becomes_the_same_run(layout: str) -> None:
    record(layout=layout)
    run = imported()
    assert (run.episodes, run.failed, run.differing, run.unscored) == (1, {}, {}, 0)
    (episode,) = episodes_of(run)
    expected, _ = drive(GuessingGame(), guessing(7), {"guesser": ["10", "7"]})
    assert (episode.events, episode.outcome) == (expected.events, expected.outcome)
    assert (episode.experiment, episode.instance_id, episode.repeat) == ("easy", 17, 0)
    opened = Run.open(run.path)
    assert opened.instances() == [guessing(7)]
    assert opened.instances()[0].data == SECRET
    # 2.0 does not name the models of the players, so the folder does.
    label = LAYOUTS[layout].model if layout == "2.0" else "m"
    assert episode.players == {"guesser": label}
    assert opened.config.assignments == {"guessing": {"guesser": label}}
    assert (
        opened.config.descriptions[label]["recorded_with"] == f"clemcore {LAYOUTS[layout].version}"
    )
    (score,) = score_episodes(opened.episodes(), {"guessing": GuessingGame()}).games
    assert (score.played, score.quality) == (100.0, 50.0)


def test_what_clemcore_adds_to_an_experiment_is_no_part_of_it() -> None:
    for layout in ("3.2", "3.7"):
        record(layout=layout, root=layout)
        (instance,) = Run.open(imported(layout, f"run-{layout}").path).instances()
        assert instance.experiment.config == SETTINGS
        assert instance.hash == guessing(7).hash


def test_settings_of_a_model_are_kept() -> None:
    record()
    described = Run.open(imported().path).config.descriptions["m"]
    assert described["specification"] == {"model_name": "m", "backend": "openai"}
    assert (described["temperature"], described["max_new_tokens"]) == (0.5, 300)


@pytest.mark.parametrize("name", ["0_0_easy", "easy", "7_up"])
def test_the_name_of_an_experiment_is_not_its_folders(name: str) -> None:
    record(layout="3.2", name=name)
    assert [e.experiment for e in episodes_of(imported())] == [name]


def test_numbers_in_names_count_by_their_value_and_repeats_in_their_order() -> None:
    for k in (10, 9, 2):
        record([str(k), "7"], layout="3.2", k=k)
    run = imported()
    said = [episode.replies()[0].reply.text for episode in episodes_of(run)]
    assert said == ["2", "9", "10"]
    assert [episode.repeat for episode in episodes_of(run)] == [0, 1, 2]
    assert [line.folder for line in recorded_lines(run)] == [
        f"m-t0.0/guessing/2_easy/episode_{k}" for k in (2, 9, 10)
    ]


def test_branches_and_epochs_are_repeats() -> None:
    branch = record(layout="branches")
    shutil.copytree(branch, branch.with_name("branch_00002"))
    epoch = record(root="other", layout="epochs")
    shutil.copytree(epoch.parents[2], epoch.parents[2].with_name("epoch_00010"))
    for root, output in (("results", "branches"), ("other", "epochs")):
        assert [e.repeat for e in episodes_of(imported(root, output))] == [0, 1]


def test_hidden_folders_and_links_are_passed_over(tmp_path: Path) -> None:
    episode = record()
    shutil.copytree(episode, episode.parent / ".ipynb_checkpoints")
    shutil.copytree("results", "results/.hidden")
    (Path("results") / "loop").symlink_to(Path("results").resolve())
    assert imported().episodes == 1


@pytest.mark.parametrize("depth", range(5))
def test_a_part_of_a_tree_is_enough(depth: int) -> None:
    episode = record()
    root = [*episode.parents[2::-1][1:], episode] if depth > 1 else []
    path = [Path("results"), Path("results/m"), *root[-3:]][depth]
    run = imported(path)
    assert (run.model, run.episodes) == ("m", 1)


def test_each_model_folder_becomes_a_run_in_its_place() -> None:
    record(root="results/clem")
    record(["3", "2", "7"], root="results/clem", model="other", scores=None)
    record(root="results/static")
    runs = import_results(Path("results"), Path("runs")).runs
    assert [(str(run.path), run.model) for run in runs] == [
        ("runs/clem/m", "m"),
        ("runs/clem/other", "other"),
        ("runs/static/m", "m"),
    ]
    assert [e.players["guesser"] for run in runs for e in episodes_of(run)] == ["m", "other", "m"]
    assert [len(episodes_of(run)) for run in runs] == [1, 1, 1]


# --- import: who said what -----------------------------------------------------------------------


def message(sender: str, text: object, label: str | None = "response") -> dict[str, Any]:
    action = {"type": "get message", "content": text} | ({"label": label} if label else {})
    return {"from": sender, "to": "GM", "timestamp": "", "action": action}


def drawn_event(word: str) -> dict[str, Any]:
    action = {"type": "drawn", "content": word}
    return {"from": "GM", "to": "GM", "timestamp": "", "action": action}


class Lottery(Game):
    """Two roles guess what is drawn; part of the game is a third player, who chats."""

    name = "relay"
    roles = RelayGame.roles

    def play(self, instance: Instance) -> Play:
        yield Exchange("giver", "Ready?", "Yes.")
        right = 0
        for role in self.role_names():
            (word,) = yield Draw(["a", "b", "c", "d", "e", "f"])
            right += (yield from ask(role, "Which?")) == word
        return Success(right)

    def recorded_draws(self, events: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
        return [[event["content"]] for event in events if event["type"] == "drawn"]


def use(monkeypatch: pytest.MonkeyPatch, *games: Game) -> None:
    """Play by other rules than the installed ones of these names."""
    table = {game.name: game for game in games}
    monkeypatch.setattr(
        "playpen.interop.clemcore.importing.get_game",
        lambda name: table.get(name) or get_game(name),
    )


@pytest.mark.parametrize("words", ["ab", "fa", "cc"])
def test_roles_draws_and_players_that_are_part_of_the_game(
    words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, Lottery())
    turns = [
        [message("Player 1", "Yes.", "pseudo"), drawn_event(words[0])],
        [message("Player 3", "Hm?"), message("Player 1", words[0]), drawn_event(words[1])],
        [message("Player 2", words[1], "forget"), message("Player 3", "Bye.")],
    ]
    players = {
        "GM": {"game_role": "Game Master", "model_name": "programmatic"},
        "Player 1": {"game_role": "Giver", "model_name": "big"},
        "Player 2": {"game_role": "Finder", "model_name": "small"},
        "Player 3": {"game_role": "Chatter", "model_name": "programmatic"},
    }
    scores = {"Aborted": 0, "Success": 1, "Lose": 0, "Main Score": 2}
    record(game="relay", turns=turns, players=players, scores=scores)
    run = imported()
    assert (run.failed, run.differing) == ({}, {})
    (episode,) = episodes_of(run)
    assert episode.players == {"giver": "big", "finder": "small"}
    assert episode.draws() == [[words[0]], [words[1]]]
    assert list(Run.open(run.path).config.players) == ["big", "small"]


def test_model_text_is_kept_as_recorded() -> None:
    said = ["  CLUE\n\n</s><|eot_id|> é👋 ", "7</s>"]
    turns = [[message("Player 1", text) for text in said]]
    record(
        game="relay", turns=turns, instance={"game_id": 1, "words": ["x"]}, settings={"rounds": 1}
    )
    (episode,) = episodes_of(imported())
    assert episode.replies()[0].reply == Reply(said[0])


def test_one_model_in_all_roles_is_one_player(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, Lottery())
    record(game="relay", turns=[[message(f"Player {n}", "a") for n in (1, 2)]], scores=None)
    run = Run.open(imported().path)
    assert run.config.players == {"m": "replay:run"}
    assert run.config.assignments == {"relay": {"giver": "m", "finder": "m"}}


def test_players_are_those_of_the_episode_and_of_its_game_where_it_does_not_tell() -> None:
    names = {"Player 1": {"game_role": "Someone", "model_name": "first"}}
    (record(layout="3.2", k=0) / "interactions.json").unlink()
    record(layout="3.2", k=1, players=names)
    record(layout="3.2", k=2)
    run = imported()
    assert [e.players["guesser"] for e in episodes_of(run)] == ["first", "first", "m"]
    assert list(Run.open(run.path).config.players) == ["first"]


def test_the_clock_is_the_recordings() -> None:
    record()
    (episode,) = episodes_of(imported())
    assert episode.started == 1767607200.5
    assert episode.seconds == 3.0


# --- import: what is missing or broken -----------------------------------------------------------


def test_missing_settings_are_asked_for_and_taken_from_an_instances_file() -> None:
    episode = record(layout="3.2")
    (episode.parent / "experiment.json").unlink()
    shown = refused("import-run", "results", "-o", "run")
    assert shown == (
        f"{episode.parent.resolve()} has no experiment.json, so it is not known what was played; "
        "add the instances file of the game with --instances FILE"
    )
    assert not Path("run").exists()

    other = write("other.json", document_of([guessing(3, game_id=17)]))
    experiments = {"experiments": [{"name": "easy", **SETTINGS, "game_instances": [SECRET]}]}
    right = write("instances.json", experiments)
    shown = refused("import-run", "results", "-o", "run", "--instances", other)
    assert "no instances file has what was played in" in shown and "(instance 17)" in shown
    good("import-run", "results", "-o", "run", "--instances", other, "--instances", right)
    assert Run.open("run").instances() == [guessing(7)]


def test_an_instance_of_another_content_is_not_taken_for_the_recorded_one() -> None:
    episode = record()
    (episode.parent / "experiment.json").unlink()
    item = {**SECRET, "secret": 8}
    file = write(
        "i.json", {"experiments": [{"name": "easy", **SETTINGS, "game_instances": [item]}]}
    )
    with pytest.raises(RecordingError, match="no instances file has what was played"):
        imported(instances=[file])


def test_a_missing_instance_is_taken_from_an_instances_file() -> None:
    episode = record()
    (episode / "instance.json").unlink()
    with pytest.raises(RecordingError, match=r"instance_00017 has no instance\.json"):
        imported()
    items = [{"game_id": 7, "secret": 1}, SECRET]
    file = write("i.json", {"experiments": [{"name": "easy", "game_instances": items}]})
    run = imported(instances=[file])
    assert Run.open(run.path).instances()[0].data == SECRET
    assert not run.failed


def test_a_crashed_episode_without_settings_is_found_by_its_folders_name() -> None:
    episode = record(layout="3.2")
    (episode.parent / "experiment.json").unlink()
    (episode / "interactions.json").unlink()
    experiments = [{"name": "easy", **SETTINGS, "game_instances": [SECRET]}]
    run = imported(instances=[write("i.json", {"experiments": experiments})])
    assert [e.experiment for e in episodes_of(run)] == ["easy"]
    assert len(run.failed) == 1


@pytest.mark.parametrize("left", ["error.json", "instance.json"])
def test_a_crash_before_anything_was_recorded_is_reported(left: str) -> None:
    """A game master that fails in its set-up leaves nothing but ``error.json``."""
    record()
    for number in range(7):
        folder = Path(f"results/m/guessing/hard/instance_{number:05d}")
        content = {"error": "E", "message": ""} if left == "error.json" else {"game_id": number}
        write(folder / left, content)
    result = playpen("import-run", "results", "-o", "run")
    assert result.code == 3
    assert "1 episodes of m are in run" in result.out
    places = ", ".join(f"m/guessing/hard/instance_{number:05d}" for number in range(5))
    assert result.err == (
        "7 episodes are in no run, since they crashed before it was recorded what was played "
        f"(--instances FILE can tell): {places}, ...\n"
    )
    items = [{"game_id": n} | ({"secret": 3} if left == "error.json" else {}) for n in range(7)]
    experiments = [{"name": "hard", **SETTINGS, "game_instances": items}]
    run = imported(output="second", instances=[write("i.json", {"experiments": experiments})])
    assert (run.episodes, len(run.failed)) == (8, 7)
    assert [e.instance_id for e in episodes_of(run)] == [17, *range(7)]


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "not an instances file"),
        ({"experiments": [{"name": 5, "game_instances": []}]}, "not an instances file"),
        ({"experiments": [{"name": "x", "game_instances": [1]}]}, "not an instances file"),
        ({"experiments": 1}, "not an instances file"),
        (
            {"experiments": [{"name": "x", "game_instances": [{"game_id": [1]}]}]},
            "the game_id is not a number or a text",
        ),
    ],
)
def test_what_is_no_instances_file_is_named(document: object, message: str) -> None:
    record()
    with pytest.raises(RecordingError, match=f"^i.json: {message}"):
        imported(instances=[write("i.json", document)])


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (None, "it has no interactions.json: it crashed, or was interrupted"),
        (
            {"timestamp": "", "error": "KeyError", "message": "'x'"},
            "it crashed while clemcore recorded it: KeyError: 'x'",
        ),
    ],
)
def test_a_crash_is_a_failed_episode(error: dict[str, Any] | None, reason: str) -> None:
    record()
    crashed = record(instance={"game_id": 2, "secret": 3})
    for name in ("interactions.json", "scores.json", "requests.json"):
        (crashed / name).unlink()
    if error:
        write(crashed / "error.json", error)
    result = playpen("import-run", "results", "-o", "run")
    assert result.code == 3
    assert "1 episodes have no outcome and count as failed:" in result.err
    assert f"guessing/easy/2 (m/guessing/easy/instance_00002): {reason}" in result.err
    failed, done = episodes_of("run")
    assert (done.failure, failed.outcome, failed.players) == (None, None, {"guesser": "m"})
    assert failed.failure is not None and failed.failure.kind == "recording"
    (score,) = score_episodes([failed, done], {"guessing": GuessingGame()}).games
    assert (score.episodes, score.failed) == (1, 1)


def test_a_failed_import_is_not_played_on() -> None:
    """Another repeat's replies must not stand in for those that were lost."""
    record(layout="episodes", k=1)
    (record(layout="episodes", k=2) / "interactions.json").unlink()
    record(layout="episodes", k=3, instance={"game_id": 2, "secret": 7})
    playpen("import-run", "results", "-o", "run")
    before = Path("run/episodes.jsonl").read_bytes()
    result = playpen("resume", "run")
    assert "Nothing was left to play." in result.out
    assert "1 episodes failed too often and were given up." in result.err
    assert Path("run/episodes.jsonl").read_bytes() == before


def test_an_episode_that_was_not_scored_is_accepted() -> None:
    record(scores=None)
    result = playpen("import-run", "results", "-o", "run")
    assert result.code == 0
    assert "run: 1 episodes have no recorded scores to compare with." in result.err
    assert episodes_of("run")[0].main_score == 50


def failure_of(run: ImportedRun) -> str:
    (episode,) = episodes_of(run)
    assert episode.outcome is None and episode.failure is not None
    assert list(run.failed.values()) == [episode.failure.message]
    return episode.failure.message


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (["10"], "the recording ends after 1 replies, and the rules ask for one more"),
        ([], "the recording ends after 0 replies"),
        (["7", "8", "9"], "by the rules the game is over after 1 of the 3 recorded replies"),
    ],
)
def test_replies_that_do_not_make_an_episode(said: list[str], reason: str) -> None:
    record(said)
    assert reason in failure_of(imported())


def test_replies_in_another_order_than_the_rules_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, Lottery())
    record(game="relay", turns=[[message("Player 2", "a"), message("Player 1", "a")]])
    shown = failure_of(imported())
    assert shown.startswith("the replies are not in the order in which the rules ask: reply 0")


@pytest.mark.parametrize(
    ("turns", "reason"),
    [
        (5, "the turns are damaged"),
        ([[{"from": "GM"}]], "the turns are damaged"),
        ([[{"from": "GM", "to": "GM", "action": "x"}]], "the turns are damaged"),
        ([[message("Player 1", ["x"])]], "a message of Player 1 is not a text"),
    ],
)
def test_damaged_turns_are_a_failed_episode(turns: Any, reason: str) -> None:
    record(turns=turns)
    assert reason in failure_of(imported())


def test_a_game_that_breaks_is_a_failed_episode_and_hides_no_other() -> None:
    for number, bug in enumerate(BuggyGame.bugs):
        record(["x"], game="buggy", instance={"game_id": number, "bug": bug}, scores=None)
    record()
    run = imported()
    assert (run.episodes, len(run.failed)) == (len(BuggyGame.bugs) + 1, len(BuggyGame.bugs))
    assert any("the game buggy raised ZeroDivisionError" in text for text in run.failed.values())


def test_damaged_files_of_an_episode_are_named() -> None:
    broken = record()
    (broken / "interactions.json").write_text("{", encoding="utf-8")
    assert "interactions.json: not valid JSON" in failure_of(imported())
    again = record(instance={"game_id": 2, "secret": 7})
    (again / "scores.json").write_bytes(b"\xff")
    run = imported(output="second")
    assert (len(run.failed), run.unscored) == (1, 1)
    assert "not valid JSON" in recorded_lines(run)[0].damaged["scores.json"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("instance.json", b"[]", "expected an object"),
        ("instance.json", b'{"game_id": [1]}', "the game_id is not a number or a text"),
        ("instance.json", b'{"game_id": null}', "the game_id is not a number or a text"),
        ("instance.json", b'{"game_id": 1' + b"0" * 30 + b"}", "an integer of more than 64 bits"),
        ("instance.json", b"{" + b'"a":{' * 100_000, "not valid JSON"),
        ("../experiment.json", b"\xff", "not valid JSON"),
        ("../experiment.json", b"nope", "not valid JSON"),
    ],
)
def test_what_was_played_must_be_readable(name: str, content: bytes, message: str) -> None:
    (record() / name).write_bytes(content)
    shown = refused("import-run", "results", "-o", "run")
    assert name.removeprefix("../") in shown and message in shown
    assert not Path("run").exists()


def test_a_file_that_is_no_file_is_not_read() -> None:
    episode = record()
    (episode / "interactions.json").unlink()
    (episode / "interactions.json").symlink_to("/dev/zero")
    assert "it has no interactions.json" in failure_of(imported())


def test_nan_and_halves_of_characters(tmp_path: Path) -> None:
    text = '{"a": NaN, "b": [Infinity, -Infinity], "c": "\\ud83d", "d": "\\ud83d\\ude00", "e": 1}'
    (tmp_path / "x.json").write_text(text)
    assert read_json(tmp_path / "x.json") == {
        "a": None, "b": [None, None], "c": "\ufffd\ufffd\ufffd", "d": "😀", "e": 1
    }  # fmt: skip


def test_a_folder_that_cannot_be_read_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    record()
    scandir = os.scandir

    def guarded(path: str) -> Any:
        if Path(path).name == "guessing":
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    assert re.fullmatch(
        r".*/results/m/guessing: cannot be read: Permission denied",
        refused("import-run", "results", "-o", "run"),
    )


def test_games_that_are_not_installed_are_left_out_and_named() -> None:
    record()
    for number in range(3):
        record(game="chesss", instance={"game_id": number})
    result = playpen("import-run", "results", "-o", "run")
    assert result.code == 3
    assert "1 episodes of m are in run" in result.out
    assert result.err == "Left out: 3 episodes of chesss: there is no game 'chesss'.\n"
    # What is installed does not decide where a run is.
    record(game="chesss", model="other")
    assert playpen("import-run", "results", "-o", "both").code == 3
    assert [path.parent.as_posix() for path in Path("both").rglob("run.json")] == ["both/m"]
    shown = refused("import-run", "results/m/chesss", "-o", "other")
    assert (
        shown
        == "results/m/chesss: none of its games can be played here: there is no game 'chesss'."
    )


def test_nothing_to_import_is_said() -> None:
    Path("empty").mkdir()
    assert "empty: no recorded episodes; expected folders" in refused(
        "import-run", "empty", "-o", "run"
    )


def test_nothing_is_overwritten_and_an_interrupted_import_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    record()
    good("import-run", "results", "-o", "run")
    before = Path("run/run.json").read_bytes()
    assert refused("import-run", "results", "-o", "run") == (
        "run exists and is not empty; choose another directory with -o"
    )
    assert Path("run/run.json").read_bytes() == before

    def interrupted(instance: Instance) -> Play:
        yield from ask("guesser", "?")
        raise KeyboardInterrupt

    use(monkeypatch, game_of(interrupted, name="guessing", roles=("guesser",)))
    assert playpen("import-run", "results", "-o", "second").code == 130
    assert sorted(path.name for path in Path().iterdir()) == ["results", "run"]


def test_an_empty_directory_can_become_the_run() -> None:
    record()
    Path("run").mkdir()
    good("import-run", "results", "-o", "run")
    assert Path("run/episodes.jsonl").stat().st_size > 0


# --- import: recorded scores ---------------------------------------------------------------------


def test_differences_to_recorded_scores_are_counted_and_shown() -> None:
    for number in range(7):
        wrong = {**SCORES, "Main Score": number, "Success": 0, "Old": "x"}
        record(instance={"game_id": number, "secret": 7}, scores=wrong)
    record(instance={"game_id": 99, "secret": 7})
    result = playpen("import-run", "results", "-o", "run")
    assert result.code == 1
    assert "run: the scores of 7 episodes differ from the recorded ones:" in result.err
    examples = [line for line in result.err.splitlines() if line.startswith("  ")]
    assert len(examples) == exchange.SHOWN
    assert examples[3] == (
        "  guessing/easy/3#3 (m/guessing/easy/instance_00003): "
        "Success: recorded 0, replayed 1; Main Score: recorded 3, replayed 50.0; "
        "Old: recorded 'x', replayed 'nothing'"
    )
    assert [e.main_score for e in episodes_of("run")] == [50.0] * 8


@pytest.mark.parametrize("flag", [NAN, None, 0, False, 0.0])
def test_a_flag_without_a_value_is_not_compared(flag: object) -> None:
    record(["x", "y"], scores={**SCORES, "Aborted": 1, "Success": flag, "Main Score": NAN})
    assert imported().differing == {}


def test_a_score_that_is_missing_on_one_side_differs() -> None:
    record(scores={**SCORES, "Main Score": NAN})
    (found,) = imported().differing.values()
    assert [(d.where, d.recorded, d.replayed) for d in found] == [("Main Score", None, 50.0)]


def test_scores_that_versions_count_differently_are_not_compared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    record(scores={**SCORES, "Requests": 5})
    assert len(imported(output="first").differing) == 1
    monkeypatch.setattr(GuessingGame, "unstable_scores", frozenset({"Requests"}))
    assert imported(output="second").differing == {}


def test_what_the_recording_says_is_kept() -> None:
    episode = record(layout="3.2", logged={"guesses": [1, NAN]}, scores={**SCORES, "Text": "é"})
    interactions, scores = read(episode / "interactions.json"), read(episode / "scores.json")
    crashed = record(layout="3.2", k=1, instance={"game_id": 3, "secret": 4})
    for name in ("interactions.json", "scores.json"):
        (crashed / name).unlink()
    write(crashed / "error.json", {"error": "E", "message": "m"})
    run = imported()
    kept, crash = recorded_lines(run)
    interactions["logged"]["guesses"][1] = scores["turn scores"]["0"]["Accuracy"] = None
    assert (kept.interactions, kept.scores, kept.error) == (interactions, scores, None)
    assert (crash.interactions, crash.error) == (None, {"error": "E", "message": "m"})
    assert len(episodes_of(run)) == len(recorded_lines(run))
    assert b"NaN" not in (run.path / "recorded.jsonl").read_bytes()


def test_hostile_recordings_are_shown_inert() -> None:
    bad = f"x {HOSTILE}\nsecond line".replace("/", "").replace("\x00", "")
    record(["1"], name=bad)
    record(name=bad, instance={"game_id": 2, "secret": 7}, scores={**SCORES, bad: bad})
    result = playpen("import-run", "results", "-o", "run")
    shown = result.out + result.err
    assert not any(ord(c) < 32 for c in shown.replace("\n", ""))
    assert "\u202e" not in shown and "second line" in shown
    assert not any(line.startswith("second") for line in shown.splitlines())


# --- export --------------------------------------------------------------------------------------


def made_run(
    path: str | Path,
    episodes: Sequence[tuple[Game, Instance, Episode]],
    players: Mapping[str, str] | None = None,
) -> Run:
    """A run of given episodes."""
    games = {game.name: game for game, _, _ in episodes}
    labels = [label for _, _, episode in episodes for label in episode.players.values()]
    config = RunConfig(
        created="2026-01-05T10:00:00+00:00",
        players=dict(players or {label: f"replay:{label}" for label in labels}),
        assignments={name: dict.fromkeys(game.role_names(), "m") for name, game in games.items()},
    )
    run = Run.create(path, config, [instance for _, instance, _ in episodes])
    with EpisodeWriter(run) as writer:
        for _, _, episode in episodes:
            writer.append(episode)
    return run


def played(
    game: Game,
    instance: Instance,
    *,
    label: str | Sequence[str] = "m",
    repeat: int = 0,
    failure: Failure | None = None,
    attempts: int = 1,
) -> tuple[Game, Instance, Episode]:
    """An episode that babblers played."""
    labels = [label] * len(game.roles) if isinstance(label, str) else label
    players = dict(zip(game.role_names(), labels, strict=True))
    blank = new_episode(game, instance, players, repeat=repeat, attempts=attempts)
    if failure is None:
        drive(game, instance, babble, blank)
    else:
        blank.failure = failure
    blank.started, blank.seconds = 1767607200.0, 2.5
    return game, instance, blank


def guesses(number: int = 7, name: str = "easy", game_id: int | str = 17) -> Instance:
    return Instance("guessing", Experiment(name, SETTINGS), {"game_id": game_id, "secret": number})


def tree(root: str | Path) -> set[str]:
    return {str(path.relative_to(root)) for path in Path(root).rglob("*") if path.is_file()}


def test_the_files_of_an_export() -> None:
    game, instance, episode = played(GuessingGame(), guesses())
    run = made_run("run", [(game, instance, episode)])
    assert good("export-run", "run", "out", "--format", "clembench") == "1 episodes are in out/m\n"
    folder = "m/guessing/easy/instance_00017"
    names = ("instance", "interactions", "scores", "completed")
    assert tree("out") == {
        "m/run.json",
        "m/guessing/easy/experiment.json",
        *(f"{folder}/{name}.json" for name in names),
    }
    assert read(f"out/{folder}/instance.json") == {"game_id": 17, "secret": 7}
    experiment = read("out/m/guessing/easy/experiment.json")
    models = {"0": {"model_spec": {"model_name": "m", "backend": "replay"}, "gen_args": {}}}
    began, ended = "2026-01-05T10:00:00.000000", "2026-01-05T10:00:02.500000"
    assert experiment == {
        "name": "easy",
        **SETTINGS,
        "timestamp": began,
        "game_name": "guessing",
        "player_models": models,
    }
    assert read(f"out/{folder}/completed.json") == {"timestamp": ended}
    interactions = read(f"out/{folder}/interactions.json")
    assert interactions["meta"].pop("written_by").startswith("playpen-core ")
    assert interactions["meta"] == {
        "game_name": "guessing",
        "experiment_name": "easy",
        "game_id": 17,
        "results_folder": "m",
        "clem_version": "3.7.2",
        "round_count": 1,
        "completed": True,
    }
    assert interactions["player_models"] == models
    assert interactions["players"] == {
        "GM": {"game_role": "Game Master", "model_name": "programmatic"},
        "Player 1": {"game_role": "guesser", "model_name": "m"},
    }
    assert [interactions[flag] for flag in ("Aborted", "Success", "Lose")] == [
        int(episode.aborted),
        int(episode.success),
        int(episode.lose),
    ]
    information = read("out/m/run.json")
    assert information["created"] == run.config.created
    assert information["player_models"] == models
    assert information["games"] == {
        "guessing": {
            "game_path": "tests.core",
            "benchmark_start": began,
            "benchmark_end": ended,
            "duration": "0:00:02.500000",
            "duration_seconds": 2.5,
            "num_instances": 1,
        }
    }


def test_missing_scores_are_nan_tokens() -> None:
    game = GuessingGame()
    episode = new_episode(game, guesses(), {"guesser": "m"})
    drive(game, guesses(), {"guesser": ["x", "y"]}, episode)
    made_run("run", [(game, guesses(), episode)])
    good("export-run", "run", "out")
    text = Path("out/m/guessing/easy/instance_00017/scores.json").read_text(encoding="utf-8")
    assert '"Main Score": NaN' in text
    assert read("out/m/guessing/easy/instance_00017/scores.json")["episode scores"].keys() == {
        "Aborted", "Success", "Lose", "Main Score", "Requests"
    }  # fmt: skip


def talkative(instance: Instance) -> Play:
    """Every kind of move, where it matters what joins what."""
    yield Tell("b", "told early")
    yield Tell("a", "first")
    yield Note("fact", {"n": [1, None]})
    assert (yield from ask("a", "second", keep=False)) == "aside"
    yield Exchange("a", "third", "fixed")
    (word,) = yield Draw(["x", "y", "z"])
    yield from ask("a", f"fourth {word}")
    yield Tell("b", "never asked about")
    return Success(1)


def test_events_are_what_each_player_saw() -> None:
    game = game_of(talkative, name="relay")
    instance = Instance("relay", Experiment("e", {}), {"game_id": 1})
    episode, seen = drive(game, instance, {"a": ["aside", "said"], "b": []})
    (word,) = episode.draws()[0]
    of_episode = EpisodeEvents(game, episode, "now")
    (events,) = of_episode.rounds
    assert {event["timestamp"] for event in events} == {"now"}
    assert [(e["from"], e["to"], *e["action"].values()) for e in events] == [
        ("GM", "GM", "fact", {"n": [1, None]}),
        ("GM", "Player 1", "send message", "second", "forget"),
        ("Player 1", "GM", "get message", "aside", "forget"),
        ("GM", "Player 1", "send message", "first\n\nthird", "pseudo"),
        ("Player 1", "GM", "get message", "fixed", "pseudo"),
        ("GM", "GM", "playpen draw", [word]),
        ("GM", "Player 1", "send message", f"fourth {word}", "context"),
        ("Player 1", "GM", "get message", "said", "response"),
        ("GM", "Player 2", "send message", "told early\n\nnever asked about", "context"),
        ("GM", "GM", "outcome", msgspec.to_builtins(episode.outcome)),
    ]
    assert (of_episode.requests, of_episode.violated) == ([2], [0])
    assert seen[-1].messages[-1] == Message("user", f"fourth {word}")


def chat_of(events: Iterable[Mapping[str, Any]], player: str) -> list[tuple[str, str]]:
    """What a player saw by docs/rules/formats.md, "What differs between versions"."""
    chat: list[tuple[str, str]] = []
    for event in events:
        action = event["action"]
        if player in (event["from"], event["to"]) and action["label"] != "forget":
            role = "user" if event["to"] == player else "assistant"
            if chat and chat[-1][0] == role == "user":
                chat[-1] = (role, f"{chat[-1][1]}\n\n{action['content']}")
            else:
                chat.append((role, action["content"]))
    return chat


@pytest.mark.parametrize("repeat", range(12))
def test_the_exported_events_give_the_conversations(repeat: int) -> None:
    for game, instance in ((RelayGame(), relay(game_id=1)), (GuessingGame(), guesses())):
        _, _, episode = played(game, instance, repeat=repeat)
        of_episode = EpisodeEvents(game, episode, "")
        events = [event for events in of_episode.rounds for event in events]
        for number, role in enumerate(game.role_names(), 1):
            expected = [(m.role, m.content) for m in episode.conversation(role)]
            assert chat_of(events, f"Player {number}") == expected
        assert sum(of_episode.requests) == len(episode.replies())
        kinds = [event["action"]["type"] for event in events]
        assert sum(of_episode.violated) == kinds.count("violation")
        assert len(of_episode.rounds) == len(of_episode.requests) == len(of_episode.violated)


def test_counts_are_lists_per_round() -> None:
    game, instance = RelayGame(), relay(game_id=1, rounds=3)
    bad = "two words"
    replies = {"giver": ["hint"] * 2, "finder": ["sure", bad, "no", "sure", bad, bad, bad]}
    blank = new_episode(game, instance, {"giver": "m", "finder": "m"})
    episode, _ = drive(game, instance, replies, blank)
    made_run("run", [(game, instance, episode)])
    good("export-run", "run", "out")
    found = read("out/m/relay/short/instance_00001/interactions.json")
    assert found["meta"]["round_count"] == len(found["turns"]) == 2
    assert (found["Request Count"], found["Violated Request Count"]) == ([4, 5], [1, 3])
    assert found["Parsed Request Count"] == [3, 2]
    assert found["Aborted"] == 1


def test_repeats_get_folders_of_their_own() -> None:
    made_run("run", [played(GuessingGame(), guesses(), repeat=n) for n in (0, 1, 2)])
    good("export-run", "run", "out")
    folders = sorted(path.name for path in Path("out/m/guessing/easy").glob("*/"))
    assert folders == ["episode_00001", "episode_00002", "episode_00003"]
    run = imported("out", "back")
    assert [e.repeat for e in episodes_of(run)] == [0, 1, 2]


@pytest.mark.parametrize("ids", [("x", "y"), (3, 3)])
def test_ids_that_cannot_name_folders_do_not(ids: tuple[int | str, int | str]) -> None:
    made_run("run", [played(GuessingGame(), guesses(n, game_id=i)) for n, i in enumerate(ids, 3)])
    good("export-run", "run", "out")
    folders = sorted(Path("out/m/guessing/easy").glob("*/"))
    assert [path.name for path in folders] == ["episode_00001", "episode_00002"]
    assert [read(path / "instance.json")["game_id"] for path in folders] == [*ids]


def test_instances_of_one_content_keep_their_own_ids() -> None:
    game = GuessingGame()
    pairs = [played(game, guesses(7, game_id=i), repeat=n) for n, i in enumerate((4, 9))]
    made_run("run", pairs)
    good("export-run", "run", "out")
    for number in (4, 9):
        found = read(f"out/m/guessing/easy/instance_0000{number}/instance.json")
        assert found == {"game_id": number, "secret": 7}


def test_failed_episodes_and_failed_attempts() -> None:
    down = Failure("player", "the server is down", "guesser")
    game = GuessingGame()
    made_run(
        "run",
        [
            played(game, guesses(3, game_id=3), failure=Failure("game", "early")),
            played(game, guesses(3, game_id=3), failure=down, attempts=2),
            played(game, guesses(4, game_id=4), failure=down),
            played(game, guesses(4, game_id=4)),
        ],
    )
    result = playpen("export-run", "run", "out")
    assert result.out == "2 episodes are in out/m\n"
    assert result.err == "1 of them failed: clemcore leaves them out of every score.\n"
    files = tree("out/m/guessing/easy")
    assert {name for name in files if "00003" in name} == {
        "instance_00003/instance.json",
        "instance_00003/error.json",
    }
    error = read("out/m/guessing/easy/instance_00003/error.json")
    assert (error["error"], error["message"]) == ("PlayerError", "the server is down")
    assert "instance_00004/scores.json" in files and "instance_00004/error.json" not in files


def test_what_upstream_cannot_score_has_no_scores() -> None:
    game = RelayGame()
    instance = relay(rounds=1, game_id=1, practice=True)
    episode = new_episode(game, instance, {"giver": "m", "finder": "m"})
    drive(game, instance, {"giver": ["hint"], "finder": ["sure", "wrong"]}, episode)
    run = made_run("run", [(game, instance, episode)])
    good("export-run", "run", "out")
    folder = "relay/short/instance_00001"
    assert f"{folder}/scores.json" not in tree("out/m")
    assert f"{folder}/completed.json" in tree("out/m")
    assert list(scored_episodes(run)) == []


def test_a_score_that_clemcore_refuses_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GuessingGame, "metrics", lambda self, e: Metrics({"Played": 1}))
    made_run("run", [played(GuessingGame(), guesses())])
    assert "has a score 'Played'" in refused("export-run", "run", "out")
    with pytest.raises(RunError, match="has a score 'Played'"):
        write_tables([Scored("g", "m", "e", "i", {"Played": 1})], Path("tables"))


# --- export: names -------------------------------------------------------------------------------

EVIL = ["../../up", "/abs", "..", ".", "", ".hidden", "a/b", "a\\b", "nul\0", " ", "x" * 400]
EVIL += ["\u202e", "a\nb"]


@pytest.mark.parametrize("name", EVIL)
def test_no_name_leads_out_of_the_tree(name: str, tmp_path: Path) -> None:
    game = GuessingGame()
    made_run("run", [played(game, guesses(name=name), label=name)], players={name: "replay:x"})
    before = {str(p) for p in tmp_path.rglob("*")}
    run = Run.open("run")
    written = export_run(run, tmp_path / "work" / "deep" / "out")
    created = {Path(p) for p in {str(p) for p in tmp_path.rglob("*")} - before}
    assert all(p.is_relative_to(tmp_path / "work" / "deep") for p in created)
    parts = written.path.relative_to(tmp_path / "work" / "deep" / "out").parts
    assert len(parts) == 1 and not parts[0].startswith(".")
    assert imported("deep/out", "back").episodes == 1
    assert episodes_of("back")[0].experiment == name
    assert write_val(Path("val"), name, {"clemscore": 1.0}).parent == Path("val")


@given(st.text())
def test_a_safe_name_is_one_visible_part_of_a_path(wish: str) -> None:
    name = safe_name(wish)
    assert Path(name).name == name and name not in ("", ".", "..")
    assert not name.startswith(".") and name == name.strip() and name.isprintable()
    assert len(name.encode()) <= 200
    assert safe_name(name) == name


@pytest.mark.parametrize("name", ["program:oracle", "m-t0.0--n", "a, b (c)", "Qwen3.5=x@y#2", "é"])
def test_what_clemcore_allows_in_a_name_stays(name: str) -> None:
    assert safe_name(name) == name


def test_experiments_whose_safe_names_are_one_stay_apart() -> None:
    game = GuessingGame()
    names = ["a/b", "a\\b", "a_b"]
    made_run("run", [played(game, guesses(n, name=name)) for n, name in enumerate(names, 3)])
    good("export-run", "run", "out")
    found = {
        read(path)["name"]: path.parent.name
        for path in Path("out/m/guessing").glob("*/experiment.json")
    }
    assert found == {"a/b": "a_b", "a\\b": "a_b-2", "a_b": "a_b-3"}


def test_experiments_of_one_name_with_other_settings_stay_apart() -> None:
    game = GuessingGame()
    other = Instance("guessing", Experiment("easy", {**SETTINGS, "limit": 50}), {"secret": 7})
    made_run("run", [played(game, guesses()), played(game, other)])
    good("export-run", "run", "out")
    limits = {p.parent.name: read(p)["limit"] for p in Path("out").rglob("experiment.json")}
    assert limits == {"easy": 20, "easy-2": 50}
    assert {i.hash for i in Run.open(imported("out", "back").path).instances()} == {
        guesses().hash,
        other.hash,
    }


def test_games_may_share_names_of_experiments() -> None:
    pairs = [played(GuessingGame(), guesses(name="e")), played(RelayGame(), relay(game_id=1))]
    pairs[1][1].experiment.name = pairs[1][2].experiment = "e"
    made_run("run", pairs)
    good("export-run", "run", "out")
    assert {p.parent.name for p in Path("out").rglob("experiment.json")} == {"e"}


def test_model_folders_are_named_as_clemcore_names_them() -> None:
    assert model_folder(["a"]) == "a"
    assert model_folder(["a", "hf:b/c"]) == "a--hf:b_c"
    # The first digits of `printf a--b--c | sha1sum`.
    assert model_folder(["a", "b", "c"]) == "group-3p-c1d9fae9"


def test_players_of_two_roles() -> None:
    game = RelayGame()
    made_run("run", [played(game, relay(game_id=1), label=("big", "small"))])
    good("export-run", "run", "out")
    found = read("out/big--small/relay/short/instance_00001/interactions.json")
    assert {name: p["model_name"] for name, p in found["players"].items()} == {
        "GM": "programmatic",
        "Player 1": "big",
        "Player 2": "small",
    }
    assert found["meta"]["results_folder"] == "big--small"


def test_settings_of_players_are_exported() -> None:
    game = GuessingGame()
    run = made_run("run", [played(game, guesses())], players={"m": "hf:x/y?top_p=1"})
    run.config.descriptions = {"m": {"temperature": 0.0, "max_new_tokens": 300}}
    export_run(run, Path("out"))
    assert read("out/m/run.json")["player_models"]["0"] == {
        "model_spec": {"model_name": "m", "backend": "hf"},
        "gen_args": {"temperature": 0.0, "max_tokens": 300},
    }


def test_a_model_that_is_there_is_not_touched_and_others_stay() -> None:
    made_run("run", [played(GuessingGame(), guesses())])
    write("out/other/x.json", {})
    good("export-run", "run", "out")
    before = tree("out")
    assert refused("export-run", "run", "out") == (
        "out/m is there already; export to another place"
    )
    assert tree("out") == before
    Path("file").touch()
    assert "cannot be written" in refused("export-run", "run", "file/x")


def test_an_export_needs_the_games() -> None:
    made_run(
        "run",
        [(game_of(talkative, name="tabooo"), guesses(), played(GuessingGame(), guesses())[2])],
    )
    assert refused("export-run", "run", "out").startswith("there is no game 'tabooo'")
    assert not Path("out").exists()


# --- there and back ------------------------------------------------------------------------------


def test_an_export_comes_back_as_it_was() -> None:
    chosen = {
        "guessing": [guesses(n, game_id=n) for n in (3, 5, 9)],
        "relay": [relay(game_id=n, practice=n == 2) for n in (1, 2)],
    }
    run = create_run("run", chosen, make_cast([(None, BABBLE)]), episodes=11, seed=5)
    play_run(run)
    export_run(run, Path("out"))
    back = imported("out", "back")
    assert (back.episodes, back.failed, back.differing) == (22, {}, {})

    def comparable(path: Path) -> list[Episode]:
        found = (content(episode) for episode in Run.open(path).episodes())
        plain = [msgspec.structs.replace(e, seed=0, split=None) for e in found]
        return sorted(plain, key=lambda e: (e.game, e.instance, e.repeat))

    assert comparable(back.path) == comparable(run.path)
    games = {"guessing": GuessingGame(), "relay": RelayGame()}
    scores = [score_episodes(Run.open(p).episodes(), games) for p in (run.path, back.path)]
    assert scores[0] == scores[1]
    assert good("replay", "back") == "22 episodes replayed, 22 agree, 0 differ\n"
    again = Run.open("back").config.descriptions[BABBLE]
    assert again["recorded_with"].startswith("playpen-core ")


# --- tables --------------------------------------------------------------------------------------


def scored(
    scores: Mapping[str, Any], *, game: str = "g", model: str = "m", number: int = 1
) -> Scored:
    return Scored(game, model, "e", f"instance_{number:05d}", scores)


def cells(name: str, folder: str = "tables") -> list[list[str]]:
    with Path(folder, name).open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def values(*scores: Mapping[str, Any]) -> list[str]:
    """The column `value` of raw.csv."""
    write_tables([scored(s, number=n) for n, s in enumerate(scores)], Path("tables"))
    return [row[-1] for row in cells("raw.csv")[1:]]


def test_raw_csv_as_it_is_written() -> None:
    episodes = [
        scored({"Aborted": 0, "Main Score": 12.5, "T": 'a,b "c"\nd', "N": None}),
        scored({"Aborted": 1, "Main Score": None, "B": True}, game="h, i", model="é", number=2),
    ]
    write_tables(episodes, Path("tables"))
    assert Path("tables/raw.csv").read_text(encoding="utf-8") == (
        ",game,model,experiment,episode,metric,value\n"
        "0,g,m,e,instance_00001,Aborted,0.0\n"
        "1,g,m,e,instance_00001,Main Score,12.5\n"
        '2,g,m,e,instance_00001,T,"a,b ""c""\nd"\n'
        "3,g,m,e,instance_00001,N,\n"
        '4,"h, i",é,e,instance_00002,Aborted,1\n'
        '5,"h, i",é,e,instance_00002,Main Score,\n'
        '6,"h, i",é,e,instance_00002,B,True\n'
        "7,g,m,e,instance_00001,Played,1.0\n"
        '8,"h, i",é,e,instance_00002,Played,0\n'
    )


def test_numbers_of_raw_csv_are_of_one_type_until_a_text_comes() -> None:
    """As measured with clemcore 3.7.2 (pandas 2.3.3)."""
    assert values({"Aborted": 0, "Main Score": 50, "X": 3}) == ["0", "50", "3", "1"]
    assert values({"Aborted": 0, "Main Score": 50, "X": 3.5}) == ["0.0", "50.0", "3.5", "1.0"]
    assert values({"Aborted": 1, "Main Score": NAN, "X": 3}) == ["1.0", "", "3.0", "0.0"]
    assert values({"Aborted": 1, "Main Score": None}) == ["1.0", "", "0.0"]
    assert values({"Aborted": 0, "T": "x", "Main Score": 2.5}) == ["0", "x", "2.5", "1"]
    assert values({"Aborted": 0, "F": 1.5, "T": "x", "I": 2}) == ["0.0", "1.5", "x", "2", "1.0"]
    assert values({"Aborted": 0.0, "L": [1, "x"]}, {"Aborted": 1}) == [
        "0.0", "[1, 'x']", "1", "1.0", "0"
    ]  # fmt: skip


def test_results_csv_is_the_example_of_the_rules() -> None:
    given = [{"Aborted": 0, "Main Score": 40}] * 3 + [{"Aborted": 1, "Main Score": NAN}]
    episodes = [scored(s, game="tag", model="m1", number=n) for n, s in enumerate(given)]
    scores = write_tables(episodes, Path("tables"))
    assert Path("tables/results.csv").read_text(encoding="utf-8") == (
        ',"-, clemscore","all, Average % Played","all, Average Quality Score",'
        '"tag, % Played","tag, Quality Score"\n'
        "m1,30.0,75.0,40.0,75.0,40.0\n"
    )
    assert scores["m1"].clemscore == 30.0


def test_columns_and_rows_are_sorted_and_what_is_missing_is_empty() -> None:
    played_, lost = {"Aborted": 0, "Main Score": 33.333333}, {"Aborted": 1, "Main Score": NAN}
    episodes = [
        scored(played_, game="z", model="b"),
        scored(lost, game="adventure", model="b"),
        scored(played_, game="Z", model="B, c"),
    ]
    write_tables(episodes, Path("tables"), std=True)
    assert Path("tables/results.csv").read_text(encoding="utf-8") == (
        ',"-, clemscore","Z, % Played","Z, Quality Score","Z, Quality Score (std)",'
        '"adventure, % Played","adventure, Quality Score","adventure, Quality Score (std)",'
        '"all, Average % Played","all, Average Quality Score",'
        '"z, % Played","z, Quality Score","z, Quality Score (std)"\n'
        '"B, c",33.33,100.0,33.33,,,,,100.0,33.33,,,\n'
        "b,16.66,,,,0.0,,,50.0,33.33,100.0,33.33,\n"
    )


def test_tables_of_nothing_have_their_headers() -> None:
    assert write_tables([], Path("tables")) == {}
    assert cells("raw.csv") == [["", "game", "model", "experiment", "episode", "metric", "value"]]
    assert cells("results.csv") == [["", "-, clemscore"]]


def test_tables_of_a_run_are_named_as_its_export() -> None:
    run = made_run("run", [played(GuessingGame(), guesses(), repeat=n) for n in range(3)])
    export_run(run, Path("out"))
    rows = list(scored_episodes(run))
    for row in rows:
        file = Path("out", row.model, row.game, row.experiment, row.episode, "scores.json")
        found = read(file)["episode scores"]
        assert {k: v if v == v else None for k, v in found.items()} == row.scores
    assert len(rows) == 3
    assert {row.model for row in scored_episodes(run, "other/name")} == {"other_name"}


def test_tables_that_cannot_be_written_are_named() -> None:
    Path("tables").touch()
    with pytest.raises(RunError, match="tables cannot be written"):
        write_tables([], Path("tables"))


def test_val_files_are_added_to() -> None:
    write_val(Path("val"), "hf:a/b", {"clemscore": 29.28})
    file = write_val(Path("val"), "hf:a/b", {"statscore": None})
    write_val(Path("val"), "hf:a/b", {"clemscore": 30.0})
    assert file == Path("val/hf:a_b.val.json")
    assert list(read(file).items()) == [("clemscore", 30.0), ("statscore", None)]
    file.write_text("[]")
    with pytest.raises(RunError, match=r"val\.json: damaged"):
        write_val(Path("val"), "hf:a/b", {"clemscore": 1.0})


# --- a recorded evaluation, read in place --------------------------------------------------------


def parity_episodes(parity: Path, suite: str) -> list[dict[str, Any]]:
    found = []
    for file in sorted((parity / suite).glob("*.jsonl.gz")):
        with gzip.open(file, "rt", encoding="utf-8") as stream:
            found += [json.loads(line) for line in stream]
    return found


def table(text: str) -> dict[str, str]:
    """The cells of a table with one row, by column."""
    header, row = csv.reader(io.StringIO(text))
    return dict(zip(header, row, strict=True))


@pytest.mark.parametrize(("suite", "score"), [("clem", 29.28), ("static", 56.46)])
def test_recorded_scores_give_the_recorded_tables(parity: Path, suite: str, score: float) -> None:
    episodes = parity_episodes(parity, suite)
    rows = [
        Scored(
            e["game"],
            "llama3-8b-t0.0",
            e["provenance"]["experiment_dir"],
            e["provenance"]["episode_dir"],
            e["episode_scores"],
        )
        for e in episodes
    ]
    scores = write_tables(rows, Path("tables"), std=True)
    recorded = (parity / f"results_{suite}.csv").read_text(encoding="utf-8")
    assert Path("tables/results.csv").read_text(encoding="utf-8") == recorded
    assert scores["llama3-8b-t0.0"].clemscore == score


def test_recorded_scores_give_the_recorded_val_file(parity: Path) -> None:
    for suite, key in (("static", "statscore"), ("clem", "clemscore")):
        rows = [
            Scored(e["game"], "x", "e", e["id"], e["episode_scores"])
            for e in parity_episodes(parity, suite)
        ]
        scores = write_tables(rows, Path(suite))
        file = write_val(Path(), "llama3-8b", {key: scores["x"].clemscore})
    assert list(read(file).items()) == list(read(parity / "val.json").items())


def as_clemcore_3_2(episode: Mapping[str, Any], root: Path) -> None:
    """Write a line of the sample as clemcore 3.2 wrote the episode."""
    source = episode["provenance"]
    model = f"{source['models'][0]}-t0.0"
    experiment = root / model / episode["game"] / source["experiment_dir"]
    folder = experiment / source["episode_dir"]
    models = {"0": {"model_name": source["models"][0]}}
    added = {"timestamp": "", "duration": "", "player_models": models}
    if not (experiment / "experiment.json").exists():
        write(experiment / "experiment.json", {**episode["experiment_config"], **added})
    write(folder / "instance.json", episode["instance"])

    def written(event: Mapping[str, Any]) -> dict[str, Any]:
        names = ("type", "content", "label")
        action = {k: event[k] for k in names if k in event} | event.get("extra", {})
        return {"from": event["from"], "to": event["to"], "timestamp": "", "action": action}

    turns = [[written(event) for event in events] for events in episode["turns"]]
    meta = {
        "game_name": episode["game"],
        "experiment_name": episode["experiment"],
        "game_id": episode["game_id"],
        "results_folder": model,
        "clem_version": source["clemcore"],
    }
    players = {
        name: {k: v for k, v in player.items() if k != "programmatic"}
        for name, player in episode["players"].items()
    }
    document = {"meta": meta, "player_models": models, "players": players, "turns": turns}
    write(folder / "interactions.json", {**document, **episode["logged"]})

    def with_nan(row: Mapping[str, Any]) -> dict[str, Any]:
        return {k: NAN if v is None else v for k, v in row.items()}

    rounds = {key: with_nan(row) for key, row in episode["turn_scores"].items()}
    parts = {"turn scores": rounds, "episode scores": with_nan(episode["episode_scores"])}
    write(folder / "scores.json", parts)


def test_the_recorded_evaluation_is_imported_and_scored_as_recorded(parity: Path) -> None:
    for suite in ("clem", "static"):
        for episode in parity_episodes(parity, suite):
            as_clemcore_3_2(episode, Path("recorded") / suite)
    result = import_results(Path("recorded"), Path("runs"))
    # Games of other distributions may be missing; what is there has to agree.
    assert {game.game for game in result.left_out}.isdisjoint(registry().games)
    runs = {run.path.parent.name: run for run in result.runs}
    assert set(runs) <= {"clem", "static"} and "clem" in runs
    for suite, run in runs.items():
        assert (run.failed, run.differing) == ({}, {})
        opened = Run.open(run.path)
        assert set(opened.config.players) == {"llama3-8b"}
        write_tables(scored_episodes(opened, "llama3-8b-t0.0"), Path("tables"), std=True)
        ours = table(Path("tables/results.csv").read_text(encoding="utf-8"))
        recorded = table((parity / f"results_{suite}.csv").read_text(encoding="utf-8"))
        games = set(opened.config.assignments)
        mine = {k: v for k, v in recorded.items() if k.partition(",")[0] in games}
        assert len(mine) == 3 * len(games)
        assert {k: v for k, v in ours.items() if k.partition(",")[0] in games} == mine
        if len(games) == sum(column.endswith(", % Played") for column in recorded):
            assert ours == recorded
    taboo = next(i for i in Run.open(runs["clem"].path).instances() if i.game == "taboo")
    assert not {"timestamp", "duration", "player_models"} & set(taboo.experiment.config)


# --- lists of instances --------------------------------------------------------------------------

CHOICE: list[dict[str, Any]] = [
    {"game": "guessing", "experiment": "easy", "task_id": "9"},
    {"game": "other", "experiment": "x", "task_id": "1"},
    {"game": "guessing", "experiment": "hard, 2", "task_id": 3},
    {"game": "guessing", "experiment": "easy", "task_id": 9},
]


def available() -> list[Instance]:
    return [guesses(n, name=name, game_id=n) for name in ("easy", "hard, 2") for n in (3, 7, 9)]


def chosen(path: Path) -> list[tuple[str, int | str]]:
    return [(i.experiment.name, i.id) for i in select_instances(path, available())]


def written(name: str, rows: Sequence[Mapping[str, Any]] = CHOICE) -> Path:
    """A list of instances in the form that the file's name says."""
    file = Path(name)
    if file.suffix == ".csv":
        with file.open("w", encoding="utf-8-sig", newline="") as stream:
            writer = csv.DictWriter(stream, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    elif file.suffix == ".json":
        write(file, rows)
    else:
        file.write_text("\n".join(map(json.dumps, rows)) + "\n\n", encoding="utf-8")
    return file


@pytest.mark.parametrize("name", ["list.csv", "list.json", "list.jsonl"])
def test_a_list_selects_in_its_order_each_once(name: str) -> None:
    assert chosen(written(name)) == [("easy", 9), ("hard, 2", 3)]


def test_game_id_is_another_name_and_columns_may_be_more() -> None:
    rows = [{"x": 1, "game": "guessing", "experiment": "easy", "game_id": "007"}]
    assert chosen(written("list.csv", rows)) == [("easy", 7)]


def test_ids_that_are_texts() -> None:
    instances = [guesses(3, game_id="a")]
    row = {"game": "guessing", "experiment": "easy", "task_id": "a"}
    assert select_instances(written("list.json", [row]), instances) == instances


@pytest.mark.parametrize(
    ("name", "first"), [("l.csv", "line 3"), ("l.jsonl", "line 2"), ("l.json", "row 2")]
)
def test_rows_that_match_nothing_are_named(name: str, first: str) -> None:
    wrong = [{**CHOICE[0], "task_id": n} for n in range(100, 112)]
    with pytest.raises(InstanceError) as caught:
        chosen(written(name, [*CHOICE[:1], *wrong]))
    lines = str(caught.value).splitlines()
    assert lines[0] == f"{name}: no such instances:"
    assert lines[1] == f"  {first}: guessing, easy, 100"
    assert len(lines) == 12 and lines[-1] == "  ... and 2 more"


def test_a_list_for_other_games_selects_nothing() -> None:
    with pytest.raises(InstanceError, match=r"l\.json: selects nothing of guessing$"):
        chosen(written("l.json", CHOICE[1:2]))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("l.txt", "", "is a .csv, .json or .jsonl file"),
        (
            "l.csv",
            "game,experiment\nguessing,easy\n",
            "line 2: needs a value for task_id or game_id",
        ),
        ("l.csv", "game,experiment,task_id\nguessing,easy\n", "line 2: needs a value for task_id"),
        ("l.csv", "a,b\n1,2\n", "line 2: needs a value for game"),
        ("l.json", "{}", "damaged"),
        ("l.json", "[1]", "row 1: expected an object"),
        ("l.json", '[{"game": "g", "experiment": "e", "task_id": true}]', "not True"),
        ("l.json", "[", "damaged"),
        ("l.jsonl", "x", "damaged"),
    ],
)
def test_what_is_no_list_is_named(name: str, text: str, message: str) -> None:
    Path(name).write_text(text)
    with pytest.raises(InstanceError, match=re.escape(message)) as caught:
        chosen(Path(name))
    assert str(caught.value).startswith(name)
    with pytest.raises(InstanceError, match=r"gone\.csv: cannot be read"):
        chosen(Path("gone.csv"))


def test_play_takes_only_what_a_list_names(folder: Path) -> None:
    rows = ["game,experiment,task_id", "taboo,high_en,3", "taboo,low_en,0", "chess,any,1"]
    Path("list.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    good("play", "taboo", "wordle", "-p", "program:oracle", "--select", "list.csv", "-o", "run")
    played = [(e.game, e.experiment, e.instance_id) for e in Run.open("run").episodes()]
    assert sorted(played) == [("taboo", "high_en", 3), ("taboo", "low_en", 0)]
