"""``playpen eval``: what it plays, what it writes, and what it refuses."""

from __future__ import annotations

import gzip
import importlib.metadata
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.core.command_line import good, playpen, refused

from playpen.completeness import coverage_of, scan_lines
from playpen.conversation import Conversation
from playpen.evaluation import evaluate
from playpen.plugins import get_game
from playpen.scoring import Attempts, results_of, score_episodes
from playpen.statistics import pass_at, score_intervals
from playpen.store import Run, RunError
from playpen.training.config import games_trained_on

SELF = "program:tests.core.test_evaluation"
ORACLE = "program:oracle"


def uneven(conversation: Conversation) -> str:
    """Breaks the rules of taboo on some instances, and loses the others."""
    if int(conversation.instance, 16) % 3 == 0:
        return "what?"
    return "CLUE: nothing" if conversation.role == "describer" else "GUESS: nothing"


def dead(conversation: Conversation) -> str:
    """A player whose server is down."""
    raise ConnectionError("nobody is there")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def get_pack_version() -> str:
    return importlib.metadata.version("playpen-games-clembench")


def val(path: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
    return document


def change(run: str | Path, how: Callable[[list[str]], list[str]]) -> None:
    file = Path(run) / "episodes.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    file.write_text("".join(how(lines)), encoding="utf-8")


# --- playing -------------------------------------------------------------------------------------


def test_it_plays_scores_and_writes_what_upstream_writes_and_more() -> None:
    out = good(
        "eval", f"{SELF}:uneven", "--games", "taboo,guesswhat,cladder", "-o", "out", "--name", "m"
    )
    assert max(map(len, out.splitlines())) <= 80
    document = val("out/m.val.json")
    assert list(document) == ["dialogue games", "static benchmarks", "missing", "evaluation"]
    run = Run.open("out/runs/games")
    games = {name: get_game(name) for name in run.config.assignments}
    dialogue = [e for e in run.episodes() if e.game != "cladder"]
    pack = get_pack_version()
    assert document["dialogue games"] == {
        "score": score_episodes(dialogue, games).clemscore,
        "instances": f"playpen-games-clembench {pack} (validation)",
        "rules": "2.0",
    }
    panel = document["evaluation"]["panels"]["dialogue games"]
    assert panel["over"]["official"] is False
    whole = score_episodes(dialogue, games)
    assert (panel["played"], panel["quality"]) == (whole.played, whole.quality)
    results = results_of(dialogue, games)
    expected = score_intervals({name: results[name] for name in sorted(results)})
    assert panel["intervals"]["unbiased"] == expected.unbiased._asdict()
    assert panel["intervals"]["clemscore"] == expected.clemscore._asdict()
    assert panel["games"] == ["guesswhat", "taboo"]
    counted = panel["coverage"]
    assert counted["planned"] == counted["played"] == len(dialogue) > 100
    assert document["evaluation"]["seconds"] > 0
    rows = Path("out/clem/results.csv").read_text().splitlines()
    assert len(rows) == 2 and rows[1].startswith(f"m,{document['dialogue games']['score']},")
    assert Path("out/static/results.csv").is_file()


def test_the_same_command_plays_nothing_twice() -> None:
    call = ("eval", ORACLE, "--games", "taboo", "-o", "out")
    first = good(*call)
    episodes = Path("out/runs/games/episodes.jsonl")
    before = episodes.read_bytes()
    change("out/runs/games", lambda lines: lines[:-3])
    second = good(*call)
    assert sorted(map(untimed, before.splitlines())) == sorted(
        map(untimed, episodes.read_bytes().splitlines())
    )
    third = good(*call)
    assert [line for line in first.splitlines() if "taboo" in line] == [
        line for line in third.splitlines() if "taboo" in line
    ]
    assert second.count("taboo") == first.count("taboo")


def untimed(line: bytes) -> str:
    record = json.loads(line)
    return json.dumps({k: v for k, v in record.items() if k not in ("started", "seconds")})


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        (("--repeats", "2"), "numbers of episodes"),
        (("--seed", "1"), "seed: 0 there, 1 asked for"),
        (("--split", "test"), "split: validation there, test asked for"),
        (("-p", f"guesser={SELF}:uneven"), "players"),
    ],
)
def test_another_evaluation_in_the_same_directory_is_refused(
    changed: tuple[str, ...], what: str
) -> None:
    good("eval", ORACLE, "--games", "taboo", "-o", "out")
    message = refused("eval", ORACLE, "--games", "taboo", "-o", "out", *changed)
    assert f"holds an evaluation with other {what}" in message and "-o" in message


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        (("--split", "test"), "split: validation there, test asked for"),
        (("--seed", "4"), "seed: 0 there, 4 asked for"),
        (("-p", f"guesser={SELF}:uneven"), f"players: {ORACLE} there, {ORACLE}, {SELF}:uneven"),
    ],
)
def test_a_directory_is_one_evaluation_whatever_the_suites(
    changed: tuple[str, ...], what: str
) -> None:
    good("eval", ORACLE, "--games", "taboo", "-o", "out")
    message = refused("eval", ORACLE, "--suite", "clembench-2.0", "-o", "out", *changed)
    assert f"holds an evaluation with other {what}" in message
    assert [path.name for path in Path("out/runs").iterdir()] == ["games"]


def test_another_game_is_refused_as_another_game() -> None:
    good("eval", ORACLE, "--games", "taboo", "-o", "out")
    message = refused("eval", ORACLE, "--games", "taboo,wordle", "-o", "out")
    assert "other games: taboo there, taboo, wordle asked for" in message


def test_a_player_has_one_file_name_and_it_has_no_colon() -> None:
    good("eval", ORACLE, "--games", "taboo", "-o", "out")
    good("eval", "out/runs/games", "-o", "again")
    assert [path.name for path in Path("out").glob("*.val.json")] == ["program-oracle.val.json"]
    assert [path.name for path in Path("again").glob("*.val.json")] == ["program-oracle.val.json"]


def test_suites_have_runs_of_their_own_and_scores_are_added_to_the_file() -> None:
    good("eval", ORACLE, "--suite", "static-1.0", "-o", "out", "--name", "m")
    assert list(val("out/m.val.json")) == ["static benchmarks", "missing", "evaluation"]
    good("eval", ORACLE, "--games", "taboo", "-o", "out", "--name", "m")
    document = val("out/m.val.json")
    assert document["dialogue games"]["score"] == document["static benchmarks"]["score"] == 100
    assert not {"clemscore", "statscore"} & document.keys()
    assert sorted(path.name for path in Path("out/runs").iterdir()) == ["games", "static-1.0"]


def test_repeats_give_pass_at_k() -> None:
    out = good("eval", ORACLE, "--games", "taboo", "--repeats", "3", "-o", "out")
    assert "pass@3" in out
    found = evaluate([Run.open("out/runs/games")])
    assert found.games["taboo"].pass_at == {1: 1.0, 3: 1.0}
    assert pass_at(2, [Attempts(3, 3, 3, 100, 1)]) == pytest.approx(2 / 3)


# --- panels --------------------------------------------------------------------------------------


def test_seen_unseen_and_static_games_are_scored_apart() -> None:
    good("eval", ORACLE, "--games", "taboo,wordle,guesswhat,cladder", "-o", "out")
    run = Run.open("out/runs/games")
    panels = evaluate([run], seen=["taboo"]).panels
    assert {name: panel.games for name, panel in panels.items()} == {
        "dialogue games": ["guesswhat", "taboo", "wordle"],
        "seen games": ["taboo"],
        "unseen games": ["guesswhat", "wordle"],
        "static benchmarks": ["cladder"],
    }
    panels = evaluate([run], seen=["taboo"], unseen=["wordle"]).panels
    assert panels["other games"].games == ["guesswhat"]
    scores = panels["unseen games"].intervals
    assert scores is not None
    assert panels["unseen games"].score == pytest.approx(scores.clemscore.value, abs=0.005)


def test_a_training_tells_which_games_were_seen() -> None:
    from tests.core.tiny_model import save_tiny_model

    checkpoint = save_tiny_model(Path("trained/checkpoint-4"))
    config = {"learner": {"player": "hf:x"}, "games": {"names": ["taboo"]}}
    Path("trained/train.json").write_text(json.dumps({"trainer": "sft", "config": config}))
    spec = f"hf:{checkpoint}?max_new_tokens=2"
    good("eval", spec, "--games", "taboo,wordle", "-o", "out", "--name", "m")
    panels = val("out/m.val.json")["evaluation"]["panels"]
    assert {name: panel["games"] for name, panel in panels.items()} == {
        "dialogue games": ["taboo", "wordle"],
        "seen games": ["taboo"],
        "unseen games": ["wordle"],
    }


def test_a_training_on_recordings_has_seen_their_games() -> None:
    good("play", "wordle", "-p", ORACLE, "-n", "1", "-o", "recorded")
    config = {"learner": {"player": "hf:x"}, "data": {"runs": ["recorded", "gone"]}}
    Path("trained").mkdir()
    Path("trained/train.json").write_text(json.dumps({"trainer": "sft", "config": config}))
    assert games_trained_on(Path("trained/final")) == ["wordle"]
    assert games_trained_on(Path("elsewhere")) is None


def test_the_games_of_the_lists_must_be_installed() -> None:
    message = refused("eval", ORACLE, "--games", "taboo", "--seen", "tabu")
    assert "did you mean 'taboo'" in message


# --- coverage ------------------------------------------------------------------------------------


@pytest.fixture
def recorded() -> Run:
    good("play", "taboo", "guesswhat", "-p", f"{SELF}:uneven", "-n", "20", "-o", "run")
    return Run.open("run")


def test_a_missing_episode_is_named_marked_and_refused_if_strict(recorded: Run) -> None:
    gone: list[str] = []
    change(recorded.path, lambda lines: (gone.append(lines[7]), lines[:7] + lines[8:])[1])
    lost = json.loads(gone[0])
    name = f"{lost['game']}/{lost['experiment']}/{lost['instance_id']}"
    result = playpen("eval", "run", "-o", "out", "--name", "m")
    assert result.code == 3 and "not complete" in result.err
    flat = " ".join(result.out.split())
    assert (
        "dialogue games (2)*" in flat
        and f"19 of 20 episodes are played, 1 are missing ({name})" in flat
    )
    coverage = val("out/m.val.json")["evaluation"]["games"][lost["game"]]["coverage"]
    assert (coverage["missing"], coverage["absent"]) == (1, [name])
    assert val("out/m.val.json")["missing"] == {lost["game"]: [name]}
    scored = playpen("score", "run", "--json")
    assert scored.code == 3 and json.loads(scored.out)["missing"] == 1
    Path("out/m.val.json").unlink()
    strict = playpen("eval", "run", "-o", "out", "--name", "m", "--strict")
    assert strict.code == 1 and name in strict.err and "no score" in strict.err
    assert not Path("out/m.val.json").exists() and not strict.out


def test_episodes_that_failed_are_errored_not_missing() -> None:
    result = playpen("eval", f"{SELF}:dead", "--games", "taboo", "-o", "out", "--name", "m")
    assert result.code == 3 and "not complete" in result.err
    [panel] = val("out/m.val.json")["evaluation"]["panels"].values()
    assert panel["score"] is None and panel["coverage"]["errored"] == panel["coverage"]["planned"]
    assert panel["coverage"]["missing"] == 0


def test_every_bad_line_is_named_at_once_and_repaired(recorded: Run) -> None:
    foreign = json.loads((recorded.path / "episodes.jsonl").read_text().splitlines()[0])
    foreign["instance"] = "0" * 32

    def spoil(lines: list[str]) -> list[str]:
        lines[3] = lines[3][:50] + "\n"
        lines[9] = json.dumps(foreign) + "\n"
        return [*lines, lines[5]]

    before = list(recorded.episodes())
    change(recorded.path, spoil)
    result = playpen("eval", "run", "-o", "out")
    assert (result.code, result.out) == (2, "")
    message = result.err
    assert [f"line {number}: " in message for number in (4, 10, 41, 6)] == [True, True, True, False]
    assert "is recorded in line 6 already" in message and "none of the instances" in message
    assert "playpen resume run --repair" in message and not Path("out").exists()
    for command in (("score", "run"), ("compare", "run", "run")):
        assert "playpen resume run --repair" in refused(*command)
    out = good("resume", "--trust", "run", "--repair")
    assert out.count("Moved to episodes.damaged") == 3
    assert len((recorded.path / "episodes.damaged").read_text().splitlines()) == 3
    after = list(recorded.episodes())
    assert {e.key: e.events for e in after} == {e.key: e.events for e in before}
    assert not scan_lines(recorded).faults and coverage_of(recorded)["taboo"].complete
    assert "*" not in good("eval", "run", "-o", "out", "--strict")


def test_damage_of_any_kind_is_named_and_repaired(recorded: Run) -> None:
    """Lines whose identity can be read, and that no reader takes."""

    def spoil(lines: list[str]) -> list[str]:
        records = [json.loads(line) for line in lines]
        records[2]["events"] = "nope"
        records[4]["outcome"] = {"type": "wat"}
        records[6].pop("game")
        return [json.dumps(record) + "\n" for record in records]

    change(recorded.path, spoil)
    for command in (("score", "run"), ("eval", "run"), ("compare", "run", "run")):
        result = playpen(*command)
        assert result.code == 2 and "--repair" in result.err
    message = playpen("eval", "run").err
    assert [f"line {number}: damaged" in message for number in (3, 5, 7)] == [True] * 3
    out = good("resume", "--trust", "run", "--repair")
    assert out.count("Moved to episodes.damaged") == 3
    assert sum(1 for _ in recorded.episodes()) == 40


def test_why_episodes_failed_is_told_and_they_can_be_tried_once_more() -> None:
    call = ("eval", f"{SELF}:dead", "--games", "taboo", "-o", "out")
    for _ in range(3):
        result = playpen(*call)
        assert "nobody is there" in result.err and " and 138 more)" in result.err
    run = Run.open("out/runs/games")
    attempts = sum(1 for _ in run.episodes(failed=True))
    result = playpen(*call)
    assert sum(1 for _ in run.episodes(failed=True)) == attempts == 3 * 139
    assert "139 episodes failed too often" in result.err
    assert "playpen resume out/runs/games --once-more" in result.err
    again = playpen("resume", "--trust", "out/runs/games", "--once-more")
    assert again.code == 3 and sum(1 for _ in run.episodes(failed=True)) == 4 * 139


def test_a_file_of_a_run_is_not_written_over(recorded: Run) -> None:
    before = (recorded.path / "episodes.jsonl").read_bytes()
    assert "is part of a run" in refused("report", "run", "-o", "run/episodes.jsonl")
    assert "is part of a run" in refused("replay", "run", "--out", "run/run.json")
    assert (recorded.path / "episodes.jsonl").read_bytes() == before


def test_a_repair_of_a_good_run_changes_nothing(recorded: Run) -> None:
    before = (recorded.path / "episodes.jsonl").read_bytes()
    good("resume", "--trust", "run", "--repair")
    assert (recorded.path / "episodes.jsonl").read_bytes() == before
    assert not (recorded.path / "episodes.damaged").exists()


def test_a_game_in_two_runs_is_refused(recorded: Run) -> None:
    with pytest.raises(RunError, match="'taboo' is in run and in run"):
        evaluate([recorded, recorded])


def test_time_counts_once_however_many_play(recorded: Run) -> None:
    def at(lines: list[str]) -> list[str]:
        records = [json.loads(line) for line in lines]
        for number, record in enumerate(records):
            record["started"], record["seconds"] = 100.0 + 10 * (number // 20), 5.0 + number % 2
        return [json.dumps(record) + "\n" for record in records]

    change(recorded.path, at)
    assert evaluate([recorded]).seconds == pytest.approx(12.0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (("eval", "nothing"), "is not a player"),
        (("eval", "runs/nothing"), "'runs/nothing' is not there"),
        (("eval", "run/run.json"), "is a file; a run is a directory"),
        (("eval", "run", "--repeats", "2"), "--repeats is for playing"),
        (("eval", "run", "--split", "test"), "--split is for playing"),
        (("eval", "run", "--seen", "taboo", "--unseen", "taboo"), "seen and unseen at once"),
        (("eval", "run", "--seen", "cladder"), "cladder: static benchmarks have a panel"),
        (("eval", ORACLE, "--games", " , "), "name at least one game"),
        (("eval", ORACLE, "--games", "taboo", "-o", "run"), "run is a run; choose another"),
        (("score", "evaluated"), "its runs are evaluated/runs/games"),
        (("eval", ORACLE, "program:x"), "is not a run directory"),
        (("eval", "empty"), "a checkpoint is written hf:empty"),
        (("eval", "run", "--games", "taboo"), "--games is for playing"),
        (("eval", ORACLE, "--games", "taboo", "--suite", "static-1.0"), "by --suite or by --games"),
        (("eval", ORACLE, "--games", "taboo", "-p", ORACLE), "name the role it plays"),
        (("eval", ORACLE, "--suite", "clembench-2"), "did you mean 'clembench-2.0'"),
    ],
)  # fmt: skip
def test_wrong_calls_are_told(recorded: Run, call: tuple[str, ...], message: str) -> None:
    Path("empty").mkdir()
    good("eval", ORACLE, "--games", "wordle", "-o", "evaluated")
    assert message in refused(*call)


# --- recordings ----------------------------------------------------------------------------------


def test_the_recorded_evaluation_gives_its_scores_and_tables(parity: Path) -> None:
    for kind in ("clem", "static"):
        good("import-run", parity / kind, "-o", kind)
    out = good(
        "eval", "clem", "static", "-o", "out", "--name", "llama3-8b-t0.0", "--std", "--strict"
    )
    assert "clemscore (14)  29.28 [" in out and "statscore (4)   56.46 [" in out
    for kind in ("clem", "static"):
        recorded = (parity / f"results_{kind}.csv").read_bytes()
        assert (Path("out") / kind / "results.csv").read_bytes() == recorded
    assert "clemscore: over official " in out and "statscore: over official 2025-" in out
    document = val("out/llama3-8b-t0.0.val.json")
    assert list(document) == ["clemscore", "statscore", "missing", "evaluation"]
    assert {k: document[k] for k in ("statscore", "clemscore")} == val(str(parity / "val.json"))


def recording(number: int, answers: list[str], **more: Any) -> dict[str, Any]:
    return {
        "id": f"r{number}",
        "game": "taboo",
        "experiment": "high_en",
        "experiment_config": {"max_turns": 3, "guesser_initial_prompt": "Guess.",
                              "describer_initial_prompt": "Describe $TARGET_WORD$, not $REL_WORD$"},
        "instance": {"game_id": number, "target_word": "river", "related_word": ["water"],
                     "target_word_stem": "river", "related_word_stem": ["water"], "lang": "en"},
        "players": {"GM": {"model_name": "programmatic"}, "Player 1": {"model_name": "a"},
                    "Player 2": {"model_name": "b"}},
        "responses": [
            {"player": f"Player {1 + n % 2}", "content": said} for n, said in enumerate(answers)
        ],
        **more,
    }  # fmt: skip


def test_recordings_with_one_episode_a_line_become_a_run() -> None:
    won = ["CLUE: it flows", "GUESS: river"]
    lines = [
        recording(1, won, episode_scores={"Success": 1, "Main Score": 100}),
        recording(2, won[:1]),
        recording(3, won),
        {**recording(4, won), "game": "unheard-of"},
    ]
    folder = Path("lines")
    folder.mkdir()
    with gzip.open(folder / "x.jsonl.gz", "wt") as stream:
        stream.writelines(json.dumps(line) + "\n" for line in lines)
    result = playpen("import-run", folder, "-o", "run")
    assert result.code == 3 and "unheard-of" in result.err and "(r2)" in result.err
    run = Run.open("run")
    assert list(run.config.players) == ["a", "b"]
    assert [e.success for e in run.episodes()] == [True, True]
    [failed] = [e for e in run.episodes(failed=True) if e.failure]
    assert "the rules ask for one more" in failed.failure.message
    assert "is not empty" in refused("import-run", folder, "-o", "run")
    playpen("import-run", folder / "x.jsonl.gz", "-o", "named", "--name", "m")
    assert list(Run.open("named").config.players) == ["m"]


# --- lines that were not planned -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("seed", 1, "is of seed 1, and this run is of seed 0"),
        ("players", {"describer": "somebody", "guesser": "else"}, "is of other players than"),
        ("repeat", 7, "is repeat 7, which this run has not planned"),
    ],
)
def test_point_14_what_was_not_planned_is_never_counted(
    recorded: Run, field: str, value: object, told: str
) -> None:
    """Such lines made 25 of 20 episodes."""
    before = list(recorded.episodes())
    change(
        recorded.path,
        lambda lines: [
            *lines,
            *(json.dumps({**json.loads(line), field: value}) + "\n" for line in lines[:5]),
        ],
    )
    for command in (("score", "run"), ("compare", "run", "run"), ("resume", "--trust", "run")):
        message = refused(*command)
        assert "line 41: " in message and told in message and "--repair" in message
    assert told in playpen("eval", "run").err
    assert told in playpen("report", "run", "-o", "page.html").err
    with pytest.raises(RunError, match=told):
        coverage_of(recorded)
    assert good("resume", "--trust", "run", "--repair").count("Moved to episodes.damaged") == 5
    assert list(recorded.episodes()) == before
    assert coverage_of(recorded)["taboo"].in_words() == "20 of 20 episodes are played"


# --- versions ------------------------------------------------------------------------------------


def of_other_versions(run: Run, **fields: dict[str, str]) -> None:
    """Change what ``run.json`` says of versions."""
    file = run.path / "run.json"
    config = json.loads(file.read_text())
    for name, values in fields.items():
        config[name] |= values
    file.write_text(json.dumps(config))


def test_point_7_a_run_of_other_rules_is_not_played_on(recorded: Run) -> None:
    of_other_versions(recorded, rules={"taboo": "1.6"})
    change(recorded.path, lambda lines: lines[:-3])
    before = list(recorded.episodes())
    message = refused("resume", "--trust", "run")
    assert "taboo was played by rules 1.6 and has rules 2.0 now" in message
    assert "-o" in message and "playpen-games-clembench" in message
    assert list(recorded.episodes()) == before


def test_point_7_other_rules_and_versions_are_told_wherever_a_score_is(recorded: Run) -> None:
    for command in (("score", "run"), ("eval", "run"), ("compare", "run", "run")):
        assert "Note: " not in playpen(*command).err
    pack = "playpen-games-clembench"
    of_other_versions(recorded, rules={"taboo": "1.6"}, versions={pack: "0.0.1"})
    notes = [
        "Note: taboo was played by rules 1.6 and is scored by rules 2.0 (run)",
        f"Note: recorded with {pack} 0.0.1, and {get_pack_version()} is installed (run)",
    ]
    for command in (
        ("score", "run"),
        ("score", "run", "--json"),
        ("eval", "run", "-o", "out"),
        ("compare", "run", "run"),
        ("report", "run", "-o", "page.html"),
    ):
        told = playpen(*command)
        assert told.code == 0
        assert set(notes) <= set(told.err.splitlines()), command
    assert "is scored by rules 2.0" in Path("page.html").read_text(encoding="utf-8")


def test_point_7_another_version_of_the_pack_alone_is_played_on(recorded: Run) -> None:
    of_other_versions(recorded, versions={"playpen-games-clembench": "0.0.1"})
    change(recorded.path, lambda lines: lines[:-3])
    told = playpen("resume", "--trust", "run")
    assert told.code == 0 and "recorded with playpen-games-clembench 0.0.1" in told.err
    assert sum(1 for _ in recorded.episodes()) == 40
