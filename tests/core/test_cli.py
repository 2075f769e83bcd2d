"""The command line: every command, its errors, interruption, completion."""

from __future__ import annotations

import datetime
import importlib.metadata
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from tests.core.command_line import HERE, HOSTILE, good, playpen, refused, script, started
from tests.core.conftest import PackFolder

from playpen.cli import cli
from playpen.panels import panel_scores
from playpen.provenance import InstanceSet
from playpen.scoring import GameScore, score_games
from playpen.store import Run
from playpen.terminal.tables import score_table

ORACLE = ("-p", "program:oracle")
WRONG = ("-p", f"{HERE}:wrong")
NEEDS_TRAINERS = pytest.mark.torch  # playpen-trainers is installed where torch is


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, a data directory beside it, and a wide terminal."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("PLAYPEN_HOME", str(tmp_path / "home"))
    return work


def read(path: str | Path) -> Any:
    return json.loads(Path(path).read_text(encoding="utf-8"))


def lines(path: str | Path) -> list[Any]:
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


def rows(text: str) -> list[list[str]]:
    """The cells of a printed table (cells are at least two blanks apart), or single words."""
    return [re.split(r"\s{2,}", line.strip()) for line in text.splitlines() if line.strip()]


def numbers(text: str, game: str = "taboo") -> list[str]:
    """The numbers in a game's row of a score table."""
    return next(line.split()[1:] for line in text.splitlines() if line.split()[:1] == [game])


# --- play ----------------------------------------------------------------------------------------


def test_play_records_scores_and_says_how_to_go_on() -> None:
    out = good("play", "taboo", *ORACLE, "-n", "4", "-o", "out")
    assert numbers(out) == ["4", "100.00", "100.00", "100.00", "4", "0", "0"]
    assert "Recorded in out" in out
    assert "playpen transcript out 1" in out
    assert {path.name for path in Path("out").iterdir()} == {
        "run.json", "instances.jsonl", "episodes.jsonl", "scores.json",
    }  # fmt: skip
    assert len(lines("out/episodes.jsonl")) == 4


def test_run_json_says_what_was_asked_for() -> None:
    arguments = (
        "play", "taboo", "-p", "guesser=program:oracle", *ORACLE, "-n", "3", "--split", "test",
        "--level", "low_en", "--seed", "7", "--concurrency", "2", "-o", "out",
    )  # fmt: skip
    good(*arguments)
    config = read("out/run.json")
    assert config["format"] == "playpen-run/1"
    assert config["command"] == list(arguments)
    assert config["created"].endswith("+00:00")
    assert (config["seed"], config["concurrency"], config["split"]) == (7, 2, "test")
    assert config["episodes"] == {"taboo": 3}
    assert config["prompts"] == {"taboo": "pack"}
    assert config["rules"] == {"taboo": "2.0"}
    assert config["source"] == ""
    assert {"python", "playpen-core", "playpen-games-clembench"} == set(config["versions"])
    # The same spec twice is two players.
    labels = config["assignments"]["taboo"]
    assert labels["describer"] != labels["guesser"]
    assert set(config["players"]) == set(labels.values()) == set(config["descriptions"])
    assert set(config["players"].values()) == {"program:oracle"}
    episode = lines("out/episodes.jsonl")[0]
    assert (episode["seed"], episode["split"], episode["experiment"]) == (7, "test", "low_en")
    assert episode["players"] == labels


def test_self_play_is_one_player() -> None:
    good("play", "taboo", *ORACLE, "-n", "1", "-o", "out")
    assert read("out/run.json")["assignments"] == {
        "taboo": {"describer": "program:oracle", "guesser": "program:oracle"}
    }


def test_a_role_can_have_its_own_player() -> None:
    good("play", "taboo", "-p", f"guesser={HERE}:wrong", *ORACLE, "-n", "2", "-o", "out")
    for episode in Run.open("out").episodes():
        assert episode.lose
        assert {said.reply.text for said in episode.replies("guesser")} == {"GUESS: wrong"}
        assert "CLUE: wrong" not in {said.reply.text for said in episode.replies("describer")}


def test_more_episodes_than_instances_are_repeats() -> None:
    good("instances", "generate", "taboo", "-n", "1", "-o", "three.json")
    good("play", "taboo", *ORACLE, "--instances", "three.json", "-n", "7", "-o", "out")
    played = [(e["instance"], e.get("repeat", 0)) for e in lines("out/episodes.jsonl")]
    assert len(set(played)) == 7
    assert sorted(repeat for _, repeat in played) == [0, 0, 0, 1, 1, 1, 2]


def test_without_a_number_every_instance_is_played_once() -> None:
    good("play", "taboo", *ORACLE, "-o", "out")
    hashes = [e["instance"] for e in lines("out/episodes.jsonl")]
    assert len(set(hashes)) == len(hashes) == read("out/run.json")["episodes"]["taboo"] > 100


def test_levels_and_splits() -> None:
    for split, level in (("train", "mini"), ("test", "high_en")):
        out = f"{split}-{level}"
        good("play", "taboo", *ORACLE, "-n", "3", "--level", level, "--split", split, "-o", out)
        played = lines(f"{out}/episodes.jsonl")
        assert {(e["experiment"], e["split"]) for e in played} == {(level, split)}
    good("play", "taboo", *ORACLE, "--level", "mini", "--level", "low_en", "-o", "both")
    assert {e["experiment"] for e in lines("both/episodes.jsonl")} == {"mini", "low_en"}


def test_the_seed_of_sampling_is_the_runs(folder: Path) -> None:
    # Draws nothing in taboo; the mini world's oracle chooses clues by its sampling seed.
    def said(name: str, seed: int, concurrency: int) -> set[str]:
        good("play", "taboo", *ORACLE, "--level", "mini", "-n", "30", "--seed", str(seed),
             "--concurrency", str(concurrency), "-o", name)  # fmt: skip
        return {
            json.dumps([e["instance"], e["events"]], sort_keys=True)
            for e in lines(folder / name / "episodes.jsonl")
        }

    first = said("a", 1, 64)
    assert first == said("b", 1, 1)
    assert first != said("c", 2, 64)


def test_several_games_in_one_run() -> None:
    out = good("play", "taboo", "wordle", *ORACLE, "-n", "2", "-o", "out")
    assert numbers(out, "taboo")[0] == numbers(out, "wordle")[0] == "2"
    [average] = [line.split() for line in out.splitlines() if line.startswith("dialogue games  ")]
    assert average[2] == "4"
    assert "dialogue games: over playpen-games-clembench" in out
    assert [e["game"] for e in lines("out/episodes.jsonl")] == ["taboo"] * 2 + ["wordle"] * 2


def test_the_default_directory_is_named_by_time_and_games() -> None:
    out = good("play", "taboo", *ORACLE, "-n", "1")
    (path,) = Path("runs").iterdir()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d-taboo", path.name)
    assert f"Recorded in {path}" in out


def test_runs_of_the_same_second_get_directories_of_their_own(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Now(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Now:
            return cls(2025, 1, 2, 3, 4, 5)

    monkeypatch.setattr(datetime, "datetime", Now)
    first = "2025-01-02T03-04-05-taboo"
    for name in (first, f"{first}-2", f"{first}-3"):
        assert f"Recorded in runs/{name}\n" in good("play", "taboo", *ORACLE, "-n", "1")
        assert len(lines(f"runs/{name}/episodes.jsonl")) == 1
    # A call that is refused leaves nothing behind.
    assert "nobody plays" in refused("play", "taboo", "-p", "guesser=program:oracle")
    assert len(list(Path("runs").iterdir())) == 3
    shutil.rmtree("runs")
    refused("play", "taboo", "-p", "guesser=program:oracle")
    assert not list(folder.iterdir())
    Path("runs").write_text("")
    assert refused("play", "taboo", *ORACLE) == f"runs/{first} cannot be written: Not a directory"


def test_an_existing_run_is_refused_and_left_alone() -> None:
    good("play", "taboo", *ORACLE, "-n", "1", "-o", "out")
    before = {path: path.read_bytes() for path in Path("out").iterdir()}
    message = refused("play", "taboo", *ORACLE, "-n", "2", "-o", "out")
    assert "out already holds a run" in message
    assert "playpen resume out" in message
    assert {path: path.read_bytes() for path in Path("out").iterdir()} == before


def test_a_directory_with_a_blank_can_be_copied_from_the_messages() -> None:
    out = good("play", "taboo", *ORACLE, "-n", "1", "-o", "my run")
    assert "playpen transcript 'my run' 1" in out


def test_an_alias_of_playpen_toml_is_a_player() -> None:
    Path("playpen.toml").write_text('[players.best]\nspec = "program:oracle"\n', encoding="utf-8")
    good("play", "taboo", "-p", "best", "-n", "1", "-o", "out")
    assert list(read("out/run.json")["players"].values()) == ["program:oracle"]
    assert "did you mean 'best'?" in refused("play", "taboo", "-p", "bst", "-n", "1")


def test_a_function_in_the_working_directory_is_a_player(folder: Path) -> None:
    Path("mine.py").write_text("def play(conversation):\n    return 'CLUE: x'\n", encoding="utf-8")
    result = script("play", "taboo", "-p", "program:mine:play", "-n", "1", "-o", "out", cwd=folder)
    assert (result.returncode, b"Traceback" in result.stderr) == (0, False)
    assert lines("out/episodes.jsonl")[0]["outcome"]["fault"] == "guesser"


def test_a_recorded_run_is_a_player() -> None:
    good("play", "taboo", *ORACLE, "-n", "3", "-o", "first")
    good("play", "taboo", "-p", "replay:first", "-n", "3", "-o", "second")
    assert [e["events"] for e in lines("second/episodes.jsonl")] == [
        e["events"] for e in lines("first/episodes.jsonl")
    ]


def test_a_person_plays_without_a_moving_bar(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = iter(["CLUE: wrong", ""] + ["GUESS: wrong", "", "CLUE: wrong", ""] * 3)
    monkeypatch.setattr("builtins.input", lambda: next(answers))
    out = good("play", "taboo", "-p", "human:", "-n", "1", "-o", "out")
    assert "you are describer" in out
    assert "you are guesser" in out
    assert "playing" not in out
    assert numbers(out)[-3:] == ["0", "1", "0"]


# --- failures and resume -------------------------------------------------------------------------


def test_failed_episodes_are_reported_and_resume_plays_them(installed: PackFolder) -> None:
    result = playpen("play", "taboo", "-p", "flaky:", "-n", "3", "-o", "out")
    assert result.code == 3
    assert numbers(result.out)[0] == "0"
    assert numbers(result.out)[-1] == "3"
    assert "Failed: the server of taboo/high_en/" in result.err
    assert "3 episodes failed.  Try them again with: playpen resume out" in result.err
    assert "Traceback" not in result.err

    out = good("resume", "out")
    assert numbers(out)[0] == "3"
    assert "fail" not in out  # the column is there only when something failed
    # What is done is not played again.
    before = Path("out/episodes.jsonl").read_bytes()
    assert "Nothing was left to play." in good("resume", "out")
    assert Path("out/episodes.jsonl").read_bytes() == before


def test_what_fails_again_and_again_is_given_up(installed: PackFolder) -> None:
    assert playpen("play", "taboo", "-p", "flaky:?failures=-1", "-n", "2", "-o", "out").code == 3
    for _ in range(2):
        result = playpen("resume", "out")
        assert (result.code, "2 episodes failed" in result.err) == (3, True)
    result = playpen("resume", "out")
    assert result.code == 3
    assert "2 episodes failed too often and were given up." in result.err
    assert len(lines("out/episodes.jsonl")) == 2 * 3
    # A failed unit is one failed episode, however often it was tried.
    assert numbers(result.out)[-1] == "2"


def test_a_run_that_is_complete_has_nothing_left(folder: Path) -> None:
    good("play", "taboo", *ORACLE, "-n", "2", "-o", "out")
    out = good("resume", "--trust", "out", "--concurrency", "3")
    assert "Nothing was left to play." in out
    assert "playing" not in out
    assert numbers(out)[0] == "2"


def test_resume_plays_exactly_what_is_missing() -> None:
    good("play", "taboo", *WRONG, "-n", "5", "-o", "out")
    file = Path("out/episodes.jsonl")
    whole = file.read_text(encoding="utf-8").splitlines(keepends=True)
    file.write_text(whole[1] + whole[3] + whole[4][:50], encoding="utf-8")
    good("resume", "--trust", "out")
    instances = [e["instance"] for e in lines(file)]
    assert sorted(instances) == sorted(json.loads(line)["instance"] for line in whole)
    assert file.read_text(encoding="utf-8").startswith(whole[1] + whole[3])


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("run.json", "{", "run.json: damaged"),
        ("run.json", '{"format": "playpen-run/9"}', "format 'playpen-run/9' is not"),
        ("episodes.jsonl", '{"game": 5}\n', "episodes.jsonl, line 1: damaged"),
        ("instances.jsonl", "nonsense\n", "instances.jsonl, line 1: damaged"),
    ],
)
def test_a_damaged_run_is_named_with_file_and_line(file: str, content: str, message: str) -> None:
    good("play", "taboo", *ORACLE, "-n", "1", "-o", "out")
    Path("out", file).write_text(content, encoding="utf-8")
    assert message in refused("resume", "out")


@pytest.mark.parametrize("command", ["resume", "score", "transcript", "replay"])
def test_a_folder_without_a_run_is_refused(command: str, folder: Path) -> None:
    assert "no run.json" in refused(command, folder)
    assert "'nowhere' does not exist" in refused(command, "nowhere")
    assert not list(folder.iterdir())


@pytest.mark.parametrize("program", ["hostile_failure", "number"])
def test_a_player_that_raises_is_a_failed_episode(program: str) -> None:
    result = playpen("play", "taboo", "-p", f"{HERE}:{program}", "-n", "2", "-o", "out")
    assert result.code == 3
    assert "2 episodes failed." in result.err
    assert "Traceback" not in result.err
    assert "\x1b" not in result.err + result.out
    failed = [line for line in result.err.splitlines() if line.startswith("Failed: ")]
    assert len(failed) == 1  # a line for each different message


def test_a_reply_that_no_file_can_hold_does_not_end_the_run() -> None:
    result = playpen("play", "taboo", "-p", f"{HERE}:surrogate", "-n", "2", "-o", "out")
    assert numbers(result.out)[0] == "2"
    assert good("replay", "out")


# --- interruption --------------------------------------------------------------------------------


def wait_for_episodes(process: subprocess.Popen[bytes], file: Path, count: int) -> None:
    while process.poll() is None:
        if file.exists() and file.read_bytes().count(b"\n") >= count:
            return
        time.sleep(0.01)
    raise AssertionError(process.communicate())


@pytest.mark.timeout(60)
def test_an_interrupted_run_says_how_to_go_on_and_goes_on(folder: Path) -> None:
    slow = ("play", "taboo", "-p", f"{HERE}:slow", "-n", "40", "--concurrency", "3", "-o", "out")
    with started(*slow, cwd=folder) as process:
        wait_for_episodes(process, folder / "out/episodes.jsonl", 2)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
    assert process.returncode == 130
    assert b"Interrupted.  Continue with: playpen resume out" in err
    assert b"Traceback" not in err
    before = lines("out/episodes.jsonl")
    assert 2 <= len(before) < 40
    good("resume", "--trust", "out")
    after = lines("out/episodes.jsonl")
    assert after[: len(before)] == before
    assert len({e["instance"] for e in after}) == len(after) == 40


@pytest.mark.timeout(60)
def test_point_16_a_second_interrupt_ends_a_run_whose_player_blocks(folder: Path) -> None:
    stuck = ("play", "taboo", "-p", f"{HERE}:stuck", "-n", "40", "-o", "out")
    with started(*stuck, "--concurrency", "1", cwd=folder) as process:
        wait_for_episodes(process, folder / "out/episodes.jsonl", 2)
        while not (folder / "stuck").exists():
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        process.send_signal(signal.SIGINT)
        assert process.wait(2) == 130
        _, err = process.communicate()
    assert b"Interrupted at once.  Continue with: playpen resume out" in err
    assert b"Traceback" not in err
    done = lines("out/episodes.jsonl")
    assert 2 <= len(done) < 40 and not any("failure" in episode for episode in done)
    Path("stuck").unlink()
    assert "line" not in playpen("score", "out").err


@pytest.mark.timeout(60)
def test_a_person_can_leave_with_one_interrupt(folder: Path) -> None:
    with started("play", "taboo", "-p", "human:", "-n", "1", "-o", "out", cwd=folder) as process:
        assert process.stdout is not None
        shown = b""
        while b"Your reply" not in shown:
            shown += os.read(process.stdout.fileno(), 1 << 16)
        process.send_signal(signal.SIGINT)
        # Not communicate() at once: it would close the input, which ends the game, too.
        assert process.wait() == 130
        _, err = process.communicate()
    assert err == b"Interrupted.  Continue with: playpen resume out\n"


def test_a_closed_pipe_is_no_traceback(folder: Path) -> None:
    with started("list", cwd=folder) as process:
        assert process.stdout is not None
        process.stdout.close()
        process.stdout = None
        _, err = process.communicate()
    assert b"Traceback" not in err


# --- score ---------------------------------------------------------------------------------------


def test_score_writes_scores_json_and_prints_the_same() -> None:
    good("play", "taboo", "-p", f"{HERE}:untagged", "-n", "3", "-o", "out")
    Path("out/scores.json").unlink()
    table = good("score", "out")
    assert numbers(table) == ["3", "0.00", "-", "-", "0", "0", "3"]
    stored = read("out/scores.json")
    assert json.loads(good("score", "out", "--json")) == stored
    assert stored["games"][0]["aborted"] == 3
    assert stored["games"][0]["quality"] is None
    assert (stored["played"], stored["clemscore"]) == (0, None)


def test_numbers_are_never_cut_at_eighty_columns() -> None:
    names = ("textmapworld_graphreasoning", "taboo")
    games = [GameScore(n, 1000, 100.0, 98.76, 1.0, 98.76, 100, 800, 200, 10, 0) for n in names]
    output = io.StringIO()
    score = score_games(games)
    panels = panel_scores(score, dict.fromkeys(names, InstanceSet("some", False, "2.0")))
    Console(width=80, file=output).print(score_table(score, panels))
    text = output.getvalue()
    assert "…" not in text
    assert text.count("98.76") == 2 * 3
    assert max(map(len, text.splitlines())) <= 80


# --- replay of runs ------------------------------------------------------------------------------


def test_a_run_replays_to_itself() -> None:
    good("play", "taboo", *ORACLE, "--level", "mini", "-n", "20", "-o", "out")
    out = good("replay", "out", "--out", "lines.jsonl")
    assert out == "20 episodes replayed, 20 agree, 0 differ\n"
    replayed = lines("lines.jsonl")
    recorded = list(Run.open("out").episodes())
    assert [(r["id"], r["success"], r["main_score"]) for r in replayed] == [
        (e.name, e.success, e.main_score) for e in recorded
    ]
    assert {r["incomplete"] for r in replayed} == {False}


def tamper(number: int, old: str, new: str) -> None:
    """Change a text in a line of ``out/episodes.jsonl``."""
    file = Path("out/episodes.jsonl")
    content = file.read_text(encoding="utf-8").splitlines(keepends=True)
    assert old in content[number]
    content[number] = content[number].replace(old, new)
    file.write_text("".join(content), encoding="utf-8")


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ('"tag":"success","score":50.0', '"tag":"success","score":100.0', "outcome: recorded "),
        ('"text":"GUESS: ', '"text":"GUESS: not ', "event "),
        ('"role":"guesser","value":1.0', '"role":"guesser","value":2.0', "event "),
    ],
)
def test_a_changed_run_is_found_out(old: str, new: str, place: str) -> None:
    good("play", "taboo", *ORACLE, "--level", "mini", "-n", "30", "-o", "out")
    episodes = list(Run.open("out").episodes())
    number = next(n for n, e in enumerate(episodes) if e.main_score == 50)
    raw = Path("out/episodes.jsonl").read_text(encoding="utf-8").splitlines()[number]
    if old not in raw:
        old, new = (re.sub('"tag":', '"type":', text) for text in (old, new))
    tamper(number, old, new)
    result = playpen("replay", "out")
    assert result.code == 1
    assert f"{episodes[number].name}: {place}" in result.out
    assert result.out.endswith("30 episodes replayed, 29 agree, 1 differ\n")


def test_a_replay_needs_the_instances_as_they_were() -> None:
    good("play", "taboo", *ORACLE, "-n", "2", "-o", "out")
    file = Path("out/instances.jsonl")
    whole = file.read_text(encoding="utf-8")
    first = json.loads(whole.splitlines()[1])["data"]["target_word"]
    file.write_text(whole.replace(f'"target_word":"{first}"', '"target_word":"other"'))
    assert "instances.jsonl, line 2" in refused("replay", "out")
    file.write_text("".join(whole.splitlines(keepends=True)[:2]))
    assert "instances were added, removed or moved" in refused("replay", "out")


def test_an_output_that_cannot_be_written_is_named(folder: Path) -> None:
    good("play", "taboo", *ORACLE, "-n", "1", "-o", "out")
    Path("file").write_text("")
    for path in ("file/x.jsonl", "out"):
        result = playpen("replay", "out", "--out", path)
        assert result.code == 2
        assert f"Error: {path} cannot be written: " in result.err
        assert f"{path} cannot be written" in refused("instances", "generate", "taboo", "-o", path)
    assert "file/run cannot be written" in refused("play", "taboo", *ORACLE, "-o", "file/run")


# --- instances -----------------------------------------------------------------------------------


def test_generated_instances_are_valid_and_playable() -> None:
    out = good("instances", "generate", "taboo", "-n", "2", "--split", "test", "-o", "a/b.json")
    assert "6 instances of taboo (test split) are in a/b.json" in out
    assert [e["name"] for e in read("a/b.json")["experiments"]] == [
        "high_en", "medium_en", "low_en",
    ]  # fmt: skip
    out = good("instances", "validate", "a/b.json", "--game", "taboo")
    assert "valid; 6 instances (6 different) in 3 experiments" in out
    good("play", "taboo", *ORACLE, "--instances", "a/b.json", "-o", "out")
    config = read("out/run.json")
    assert (config["source"], config["split"]) == ("a/b.json", None)
    assert config["prompts"] == {"taboo": "imported"}
    assert len(lines("out/episodes.jsonl")) == 6


def test_generating_is_reproducible() -> None:
    for name, options in (("a", ()), ("b", ()), ("c", ("--seed", "1"))):
        good("instances", "generate", "taboo", "--level", "mini", "-n", "9", "-o", name, *options)
    first, second, third = (Path(name).read_bytes() for name in "abc")
    assert first == second != third


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--level", "hig_en"), r"'hig_en'.*high_en, medium_en, low_en, mini"),
        (
            ("-n", "5000"),
            r"taboo has \d+ cards of the level 'high_en' in the train split, not 5000",
        ),
        (("--split", "dev"), "'dev' is not one of 'train', 'validation', 'test'"),
        (("-n", "0"), "0 is not in the range"),
        (("--sed", "1"), "did you mean '--seed'?"),
    ],
)
def test_what_cannot_be_generated(options: tuple[str, ...], message: str, folder: Path) -> None:
    assert re.search(message, refused("instances", "generate", "taboo", "-o", "x", *options))
    assert not list(folder.iterdir())


def write_instances(path: str, **changes: Any) -> None:
    item = {"game_id": 3, "target_word": "winter", "related_word": ["cold", "snow", "ice"]}
    document = {
        "experiments": [
            {"name": "odd [red]", "max_turns": 3, "game_instances": [{**item, **changes}]}
        ]
    }
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(json.dumps(document), encoding="utf-8")


def test_invalid_instances_are_refused_with_the_place() -> None:
    write_instances("bad.json", target_word=7)
    result = playpen("instances", "validate", "bad.json", "--game", "taboo")
    assert (result.code, result.out) == (1, "")
    for part in ("bad.json", "'taboo'", "experiment 'odd [red]'", "instance 3", "'target_word'"):
        assert part in result.err
    assert "Traceback" not in result.err
    for command in (
        ("play", "taboo", *ORACLE, "--instances", "bad.json"),
        ("instances", "import", "bad.json", "--game", "taboo"),
    ):
        called = playpen(*command)
        assert called.code == 2
        assert "instance 3: field 'target_word'" in called.err
    assert [path.name for path in Path().iterdir()] == ["bad.json"]


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "not valid JSON"), ("[]", "'experiments'"), ("\x00", "not valid JSON")],
)
def test_a_file_that_holds_no_instances(content: str, message: str) -> None:
    Path("x.json").write_text(content)
    result = playpen("instances", "validate", "x.json", "--game", "taboo")
    assert result.code == 1
    assert re.match(rf"Error: x\.json: .*{re.escape(message)}", result.err)


def test_an_imported_file_is_played_by_its_name() -> None:
    write_instances("clues.json")
    out = good("instances", "import", "clues.json", "--game", "taboo")
    assert "1 instances of taboo: playpen play taboo --instances clues -p ..." in out
    Path("clues.json").unlink()
    good("play", "taboo", *ORACLE, "--instances", "clues", "-o", "out")
    assert lines("out/episodes.jsonl")[0]["experiment"] == "odd [red]"
    good("play", "taboo", *ORACLE, "--instances", "clues", "--level", "odd [red]", "-o", "level")


def make_checkout() -> None:
    """A folder as clembench lays it out, with known and unknown games."""
    write_instances("bench/taboo/in/instances.json")
    Path("bench/taboo/clemgame.json").write_text('{"game_name": "taboo", "players": 2}')
    write_instances("bench/other/in/instances.json")
    Path("bench/other/clemgame.json").write_text('{"game_name": "unheard_of", "players": 1}')
    family = [
        {"game_name": "wordle", "players": 1},
        {"game_name": "taboo_two", "players": 1, "instances": "instances_two"},
    ]
    Path("bench/family").mkdir()
    Path("bench/family/clemgame.json").write_text(json.dumps(family))
    write_instances("bench/.hidden/in/instances.json", target_word="hidden")
    Path("bench/.hidden/clemgame.json").write_text('{"game_name": "taboo", "players": 2}')


def test_a_checkout_is_imported_with_all_games_that_are_installed(tmp_path: Path) -> None:
    make_checkout()
    out = good("instances", "import", "bench")
    assert out == "1 instances of taboo: playpen play taboo --instances bench -p ...\n"
    assert [p.name for p in (tmp_path / "home/instances/bench").iterdir()] == ["taboo.json"]
    good("play", "taboo", *ORACLE, "--instances", "bench", "-o", "out")
    assert "winter" in Path("out/instances.jsonl").read_text()
    message = refused("play", "wordle", *ORACLE, "--instances", "bench")
    assert message == "the imported set 'bench' has no instances of 'wordle'"


def test_a_file_of_a_checkout_tells_its_game(tmp_path: Path) -> None:
    make_checkout()
    good("instances", "import", "bench/taboo/in/instances.json", "--name", "v2")
    good("play", "taboo", *ORACLE, "--instances", "v2", "-o", "out")
    (tmp_path / "work" / "taboo.json").write_bytes(
        Path("bench/taboo/in/instances.json").read_bytes()
    )
    assert "cannot tell which game this is; add --game" in refused(
        "instances", "import", "taboo.json"
    )


def test_importing_again_replaces() -> None:
    write_instances("x.json")
    good("instances", "import", "x.json", "--game", "taboo")
    write_instances("x.json", target_word="summer")
    good("instances", "import", "x.json", "--game", "taboo")
    good("play", "taboo", *ORACLE, "--instances", "x", "-o", "out")
    assert "summer" in Path("out/instances.jsonl").read_text()


def test_where_imports_live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_instances("x.json")
    monkeypatch.delenv("PLAYPEN_HOME")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    good("instances", "import", "x.json", "--game", "taboo")
    assert (tmp_path / "data/playpen/instances/x/taboo.json").exists()
    monkeypatch.setenv("PLAYPEN_HOME", str(tmp_path / "work/x.json"))
    assert "PLAYPEN_HOME" in refused("instances", "import", "x.json", "--game", "taboo")


@pytest.mark.parametrize("name", ["../x", "/tmp/x", "a/b", "..", "."])
def test_the_name_of_a_set_cannot_leave_its_folder(name: str, tmp_path: Path) -> None:
    write_instances("x.json")
    before = sorted(tmp_path.rglob("*"))
    assert "--name" in refused("instances", "import", "x.json", "--game", "taboo", "--name", name)
    assert sorted(tmp_path.rglob("*")) == before


def test_what_cannot_be_imported_or_found() -> None:
    Path("empty").mkdir()
    assert "no instances found" in refused("instances", "import", "empty")
    write_instances("x.json")
    assert "did you mean 'taboo'?" in refused("instances", "import", "x.json", "--game", "tabo")
    assert "no sets are imported" in refused("play", "taboo", *ORACLE, "--instances", "x")
    good("instances", "import", "x.json", "--game", "taboo")
    message = refused("play", "taboo", *ORACLE, "--instances", "y")
    assert "'y' is neither a file nor an imported set (imported sets: x)" in message
    message = refused("play", "taboo", *ORACLE, "--instances", "x", "--level", "odd [rde]")
    assert "did you mean 'odd [red]'?" in message


# --- list, show, help, completion ----------------------------------------------------------------


def test_list_shows_everything_with_its_distribution() -> None:
    everything = good("list")
    for title in ("games of playpen-games-clembench", "players of playpen-core", "packs"):
        assert title in everything
    assert ["taboo", "describer, guesser"] in [row[:2] for row in rows(good("list", "games"))]
    assert "program:" in [row[0] for row in rows(good("list", "players"))]
    version = importlib.metadata.version("playpen-core")
    assert ["playpen-core", version, "core"] in rows(good("list", "packs"))
    assert "taboo" not in good("list", "players")


def test_list_says_which_pack_is_broken(packs: PackFolder) -> None:
    packs.add("broken-pack", "raise OSError('no disk')")
    result = playpen("list", "games")
    assert result.code == 0
    assert "taboo" in result.out
    assert "Warning: the plug-in 'broken-pack' of broken-pack does not import" in result.err
    assert "no disk" in result.err
    assert "Traceback" not in result.err


def test_list_says_what_is_claimed_twice(packs: PackFolder) -> None:
    packs.add(
        "copy-cat",
        "import playpen\n@playpen.hookimpl\ndef playpen_games():\n"
        "    return [playpen.GameSpec(name='taboo', path='x:Y', summary='s', roles=('a',))]\n",
    )
    message = "the game 'taboo' is claimed twice, by copy-cat and playpen-games-clembench"
    assert message in playpen("list").err
    assert message in refused("play", "taboo", *ORACLE)


def test_show_tells_roles_levels_and_splits() -> None:
    text = good("show", "taboo")
    table = {row[0]: row[1:] for row in rows(text)}
    assert table["describer"] == ["knows the secret word and gives clues"]
    assert table["mini"] == ["on demand"] * 3
    for name, split in zip(table["level"], ("train", "validation", "test"), strict=True):
        assert split in name
    assert [cell.isdigit() for cell in table["high_en"]] == [True] * 3
    assert "playpen-games-clembench" in text
    assert good("show", "game", "taboo") == text


def test_show_tells_the_options_of_players_and_trainers(packs: PackFolder) -> None:
    packs.add("stub-trainer", STUB)
    packs.add_samples()
    assert ["steps", "1"] in [row[:2] for row in rows(good("show", "trainer", "stub"))]
    assert ["failures", "1"] in [row[:2] for row in rows(good("show", "player", "flaky"))]
    assert "no options" in good("show", "player", "program:")
    assert "did you mean 'stub'?" in refused("show", "trainer", "stb")
    assert "did you mean 'flaky'?" in refused("show", "player", "flakey")
    assert "game|trainer|player|executor|reward|recipe NAME" in refused("show", "players", "flaky")


def test_every_command_has_help_that_fits() -> None:
    overview = good("--help")
    for name in cli.commands:
        assert re.search(rf"^  {name} ", overview, re.MULTILINE)
        assert good(name, "--help").startswith(f"Usage: playpen {name} ")
        assert good(name, "-h") == good(name, "--help")


def test_no_summary_is_cut_at_eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for command in (("--help",), ("instances", "--help")):
        commands = good(*command).partition("Commands:\n")[2]
        assert commands and "..." not in commands


def test_without_a_command_the_help_is_shown() -> None:
    for command in ((), ("instances",)):
        result = playpen(*command)
        assert (result.code, result.out) == (2, "")
        assert result.err.startswith("Usage: playpen")
        assert "Commands:" in result.err


def test_version() -> None:
    assert re.fullmatch(r"playpen, version \d+\.\d+\.\d+\S*\n", good("--version"))


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_for_the_shell(shell: str) -> None:
    text = good("completion", shell)
    assert "_PLAYPEN_COMPLETE=" in text
    assert f"{shell}_complete" in text
    if shell == "bash" and (bash := shutil.which("bash")):
        assert subprocess.run([bash, "-n"], input=text, text=True, check=False).returncode == 0


def completed(words: str) -> list[str]:
    """What a shell would offer for the last word of a line."""
    count = str(len(words.split(" ")) - 1)
    result = script(_PLAYPEN_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=count)
    assert result.returncode == 0, result
    return [line.partition(",")[2] for line in result.stdout.decode().splitlines()]


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("playpen pl", {"play"}),
        ("playpen play tab", {"taboo"}),
        ("playpen play taboo -p prog", {"program:"}),
        ("playpen show tab", {"taboo"}),
        pytest.param("playpen show trainer s", {"sft"}, marks=NEEDS_TRAINERS),
        ("playpen show player prog", {"program:"}),
        ("playpen show reward outc", {"outcome"}),
        ("playpen list rec", {"recipes"}),
        ("playpen instances gen", {"generate"}),
        ("playpen instances generate tab", {"taboo"}),
        pytest.param("playpen train s", {"sft"}, marks=NEEDS_TRAINERS),
        ("playpen play taboo --spl", {"--split"}),
        ("playpen play taboo --split v", {"validation"}),
    ],
)
def test_a_shell_completes_names(words: str, offered: set[str]) -> None:
    assert set(completed(words)) == offered


def test_help_and_list_do_not_load_the_heavy_libraries() -> None:
    program = """
import sys
from playpen.cli import main
sys.argv = ["playpen", *{arguments}]
try:
    main()
except SystemExit:
    pass
heavy = {{"torch", "transformers", "trl", "datasets", "numpy", "nltk", "jsonschema"}}
print("heavy:", sorted(heavy & set(sys.modules)), "rich" in sys.modules)
"""
    for arguments, uses_rich in ((["--help"], False), (["list"], True), ([], False)):
        result = subprocess.run(
            [sys.executable, "-c", program.format(arguments=arguments)],
            capture_output=True,
            text=True,
            check=True,
        )
        assert result.stdout.splitlines()[-1] == f"heavy: [] {uses_rich}"


# --- called wrongly ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("plya taboo", "no such command 'plya'; did you mean 'play'?"),
        ("instances genrate taboo", "no such command 'genrate'; did you mean 'generate'?"),
        ("play tabo -p program:oracle", "there is no game 'tabo'; did you mean 'taboo'?"),
        ("play taboo wordel -p program:oracle", "there is no game 'wordel'; did you mean 'wordle"),
        ("show tabo", "there is no game 'tabo'; did you mean 'taboo'?"),
        ("play taboo -p progam:oracle", "there is no player 'progam'; did you mean 'program'?"),
        ("play taboo -p guesser=progam:oracle -p program:oracle", "did you mean 'program'?"),
        ("play taboo -p program:oracel", "write program:oracle or program:package.module:function"),
        ("play taboo -p program:nowhere.at:all", "program:nowhere.at:all cannot be imported"),
        ("play taboo -p program:json:nothing", "the module json has no 'nothing'"),
        ("play taboo -p program:json:__name__", "is not a function"),
        ("play taboo -p oracle", "'oracle' is not a player: write scheme:target"),
        ("play taboo -p program:oracle?sped=1", "unknown option 'sped'"),
        ("play taboo -p program:oracle?sped", "options are written ?name=value"),
        ("play taboo -p replay:nowhere", "nowhere is not a run directory"),
        ("play taboo -p descriper=program:oracle -p program:oracle", "did you mean 'describer'?"),
        ("play taboo -p describer=program:oracle", "nobody plays guesser in 'taboo'"),
        ("play taboo -p program:oracle -p program:oracle", "can be given once"),
        ("play taboo -p guesser=program:oracle -p guesser=program:oracle", "given to two players"),
        ("play taboo", "Missing option '-p'"),
        ("play -p program:oracle", "Missing argument 'GAME...'"),
        (
            "play taboo -p program:oracle --levle mini",
            "no such option '--levle'; did you mean '--level'",
        ),
        (
            "play taboo -p program:oracle --level hig_en",
            "has no level 'hig_en'; did you mean 'high_en'?",
        ),
        ("play taboo -p program:oracle --split tran", "'tran' is not one of 'train', 'validation'"),
        ("play taboo -p program:oracle -n none", "'none' is not a valid integer"),
        ("play taboo -p program:oracle -n 0", "0 is not in the range x>=1"),
        ("play taboo -p program:oracle --concurrency 0", "0 is not in the range x>=1"),
        ("list gmes", "'gmes' is not one of 'games'"),
        ("completion tcsh", "'tcsh' is not one of 'bash', 'zsh', 'fish'"),
        ("instances validate nowhere.json --game taboo", "'nowhere.json' does not exist"),
        ("train sft -o out", "Missing option '-c'"),
        ("score", "Missing argument 'RUN'"),
    ],
)
def test_what_was_meant_is_said_in_one_line(command: str, message: str, folder: Path) -> None:
    assert message in refused(*command.split())
    assert not list(folder.iterdir())


def test_the_script_shows_errors_in_the_same_way(folder: Path) -> None:
    result = script("play", "tabo", *ORACLE, cwd=folder)
    assert result.returncode == 2
    assert result.stdout == b""
    assert result.stderr == b"Error: there is no game 'tabo'; did you mean 'taboo'?\n"


def test_hostile_arguments_are_shown_inert(folder: Path) -> None:
    argument = HOSTILE.replace("\x00", "")
    for command in (
        (argument,),
        ("play", argument, *ORACLE),
        ("play", "taboo", "-p", argument),
        ("play", "taboo", "-p", f"program:{argument}"),
        ("play", "taboo", *ORACLE, "--instances", argument),
        ("play", "taboo", *ORACLE, "--level", argument),
        ("play", "taboo", *ORACLE, f"--{argument}"),
        ("resume", argument),
    ):
        assert "\x1b" not in refused(*command)
    assert not list(folder.iterdir())


# --- train ---------------------------------------------------------------------------------------

STUB = """
import msgspec
import playpen
from playpen.training import Trainer

class Options(msgspec.Struct, forbid_unknown_fields=True):
    steps: int = 1

class Stub(Trainer):
    Options = Options

    def train(self, run):
        run.log(1, {"steps": self.options.steps})
        return run.output / "final"

@playpen.hookimpl
def playpen_trainers():
    return [playpen.TrainerSpec(name="stub", path="stub_trainer:Stub", summary="does nothing")]
"""

CONFIG = """
[learner]
player = "program:oracle"

[games]
names = ["taboo"]

[trainer]
steps = 3
"""


@pytest.fixture
def config(packs: PackFolder) -> Path:
    """A trainer that does nothing is installed, and this configuration fits it."""
    packs.add("stub-trainer", STUB)
    path = Path("train.toml")
    path.write_text(CONFIG, encoding="utf-8")
    return path


def test_train_runs_the_trainer_of_the_name(config: Path) -> None:
    out = good("train", "stub", "-c", config, "-o", "out", "--set", "trainer.steps=5",
               "--set", "games.split=validation", "--set", "learner.roles=['guesser']")  # fmt: skip
    assert "playpen play GAME -p hf:out/final" in out
    stored = read("out/train.json")
    assert stored["trainer"] == "stub"
    assert stored["config"]["trainer"] == {"steps": 5}
    assert stored["config"]["games"]["split"] == "validation"
    assert stored["config"]["learner"]["roles"] == ["guesser"]
    assert lines("out/metrics.jsonl") == [{"step": 1, "steps": 5}]


@pytest.mark.parametrize(
    ("trainer", "override", "message"),
    [
        ("stbu", None, "there is no trainer 'stbu'; did you mean 'stub'?"),
        ("stub", "nonsense", "--set nonsense: write --set table.key=value"),
        ("stub", "=3", "--set =3: write --set table.key=value"),
        ("stub", "a..b=3", "write --set table.key=value"),
        ("stub", "learner.player.x=3", "player is not a table"),
        ("stub", "trainer.stesp=3", "unknown key 'trainer.stesp'; did you mean 'steps'?"),
        ("stub", "trainer.steps=many", "trainer.steps = 'many': a whole number is expected"),
        ("stub", "games.nmaes=[]", "unknown key 'games.nmaes'; did you mean 'names'?"),
        ("stub", "gmaes.names=[]", "unknown key 'gmaes'; did you mean 'games'?"),
        ("stub", "games.names=['tabo']", "there is no game 'tabo'; did you mean 'taboo'?"),
        ("stub", "games.levels=['hig_en']", "did you mean 'high_en'?"),
        ("stub", "games.split=test", "the test split is not for training"),
        ("stub", "games.split=dev", "games.split = 'dev'"),
        ("stub", "games.names=[]", "name games in [games] names"),
        ("stub", "learner.roles=['guesssr']", "did you mean 'guesser'?"),
        ("stub", "data.outcomes=['win']", "data.outcomes has 'win'"),
        ("stub", "games.files.taboo='x.json'", "x.json: cannot be read"),
        ("stub", "learner=5", "learner = 5: a table is expected"),
    ],
)
def test_train_refuses_what_does_not_fit(
    config: Path, trainer: str, override: str | None, message: str
) -> None:
    options = ("--set", override) if override is not None else ()
    assert message in refused("train", trainer, "-c", config, "-o", "out", *options)
    assert not Path("out").exists()


def test_train_refuses_a_broken_file(config: Path) -> None:
    config.write_text("learner = [", encoding="utf-8")
    assert "train.toml: not valid TOML" in refused("train", "stub", "-c", config, "-o", "out")
    config.write_bytes(b"\xff\xfe")
    assert "train.toml: not valid TOML" in refused("train", "stub", "-c", config, "-o", "out")
    config.write_text("", encoding="utf-8")
    assert "train.toml: learner.player is missing: spec of the model" in refused(
        "train", "stub", "-c", config, "-o", "out"
    )
    assert "'none.toml' does not exist" in refused("train", "stub", "-c", "none.toml", "-o", "out")


# --- trust ---------------------------------------------------------------------------------------


def test_point_22_code_that_a_run_names_is_not_run_unless_it_is_trusted() -> None:
    """A run from somebody else, with a module in its folder that would write a file."""
    good("play", "taboo", "-p", f"{HERE}:untagged", "-n", "2", "-o", "foreign")
    Path("foreign/evil.py").write_text(
        "from pathlib import Path\n"
        "Path('owned').touch()\n"
        "def play(conversation):\n    return 'x'\n",
        encoding="utf-8",
    )
    config = read("foreign/run.json")
    spec = "program:foreign.evil:play"
    config["players"] = {f"{HERE}:untagged": spec}
    Path("foreign/run.json").write_text(json.dumps(config), encoding="utf-8")
    Path("foreign/episodes.jsonl").write_text("", encoding="utf-8")
    for arguments in (["resume", "foreign"], ["resume", "foreign", "--repair"]):
        message = refused(*arguments)
        assert f"names code to run: {spec}" in message
        assert "playpen resume foreign --trust" in message
    for command in ("score", "transcript", "replay"):
        playpen(command, "foreign")
    playpen("eval", "foreign", "-o", "out")
    playpen("report", "foreign", "-o", "page.html")
    assert not Path("owned").exists()
    good("resume", "foreign", "--trust")
    assert Path("owned").exists()


def test_a_packs_own_programs_need_no_trust_and_others_are_said_to_need_it() -> None:
    good("play", "taboo", *ORACLE, "-n", "2", "-o", "out")
    assert "Nothing was left" in good("resume", "out")
    failing = playpen("play", "taboo", "-p", "program:tests.core.test_evaluation:dead", "-n", "1",
                      "-o", "dead")  # fmt: skip
    assert "playpen resume dead --trust" in failing.err
