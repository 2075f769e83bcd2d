"""Datasets of recorded runs: rows, filters, the card, and what is left behind."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from tests.core.command_line import HOSTILE, good, playpen, refused
from tests.core.sample_games import (
    GuessingGame,
    RelayGame,
    drive,
    game_of,
    guessing,
    instance_of,
    relay,
)

from playpen.conversation import Conversation, Reply
from playpen.episode import Episode, Failure
from playpen.escape import escape
from playpen.export.card import code
from playpen.game import Game, Program
from playpen.instance import Instance
from playpen.moves import Abort, Ask, Draw, Lose, Play, Success
from playpen.referee import new_episode
from playpen.store import EpisodeWriter, Run, RunConfig

FORMATS = ("sft", "dpo", "kto", "messages", "parquet")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return work


Said = Mapping[str, Sequence[str]] | Program


def played(
    game: Game,
    instance: Instance,
    said: Said,
    *,
    player: str | None = None,
    seed: int = 0,
    repeat: int = 0,
) -> tuple[Episode, list[Conversation]]:
    """An episode, and every conversation that was answered in it."""
    players = {role: player or f"{role}'s player" for role in game.role_names()}
    blank = new_episode(game, instance, players, seed=seed, repeat=repeat)
    return drive(game, instance, said, blank)


def record(path: str | Path, *episodes: Episode, players: Mapping[str, str] | None = None) -> Run:
    """A run of some episodes."""
    assignments = {episode.game: episode.players for episode in episodes}
    labels = {label for episode in episodes for label in episode.players.values()}
    config = RunConfig(
        command=["play", "by", "hand"],
        players=dict(players or dict.fromkeys(sorted(labels), "program:oracle")),
        assignments=assignments,
        versions={"python": "3.11"},
    )
    run = Run.create(path, config, [])
    with EpisodeWriter(run) as writer:
        for episode in episodes:
            writer.append(episode)
    return run


def guessed(*numbers: int, secret: int = 7, split: str | None = "train", **options: Any) -> Episode:
    """An episode of the guessing game."""
    said = {"guesser": [str(number) for number in numbers]}
    episode = played(GuessingGame(), guessing(secret, tries=3), said, **options)[0]
    return msgspec.structs.replace(episode, split=split)


def exported(*runs: str, form: str, options: Sequence[str] = ()) -> list[dict[str, Any]]:
    """The rows that a call writes."""
    good("data", "export", *runs, "--format", form, "-o", "out", *options)
    rows = rows_of("out")
    for file in Path("out").iterdir():
        file.unlink()
    Path("out").rmdir()
    return rows


def rows_of(path: str | Path) -> list[dict[str, Any]]:
    text = (Path(path) / "train.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.split("\n") if line]


def front_matter(path: str | Path) -> tuple[dict[str, Any], str]:
    """The YAML part of a card, and the rest."""
    text = (Path(path) / "README.md").read_text(encoding="utf-8")
    empty, head, body = text.split("---\n", 2)
    assert empty == ""
    return yaml.safe_load(head), body


def user(content: str) -> dict[str, str]:
    return {"role": "user", "content": content}


def assistant(content: str) -> dict[str, str]:
    return {"role": "assistant", "content": content}


# --- rows ----------------------------------------------------------------------------------------

FINDER = ("amber", "birch", "cedar", "dune", "ember", "fjord")


def relayed(conversation: Conversation) -> str:
    """Play the relay game to its end: hint, side question, a word that may be wrong."""
    if conversation.role == "giver":
        return f"a hint after {conversation.turn}"
    return "yes" if conversation.side else FINDER[conversation.turn]


def test_sft_has_every_reply_once_with_the_chat_that_the_player_saw() -> None:
    episode, seen = played(RelayGame(), relay(rounds=1), relayed)
    record("run", episode)
    rows = exported("run", form="sft", options=["--outcome", "lose", "--outcome", "success"])
    found = [(row["role"], row["turn"], row["side"], row["prompt"]) for row in rows]
    wanted = [(c.role, c.turn, c.side, c.chat()) for c in seen]
    assert sorted(found, key=str) == sorted(wanted, key=str)
    replies = {(said.role, said.reply.text) for said in episode.replies()}
    assert {(row["role"], row["completion"][0]["content"]) for row in rows} == replies
    assert all([message["role"] for message in row["completion"]] == ["assistant"] for row in rows)


def test_sft_is_of_won_episodes_unless_others_are_asked_for() -> None:
    record("run", guessed(3, 7), guessed(1, 2, 3, secret=9))
    assert [row["outcome"] for row in exported("run", form="sft")] == ["success"] * 2
    rows = exported("run", form="sft", options=["--outcome", "lose"])
    assert [row["outcome"] for row in rows] == ["lose"] * 3


def test_a_row_says_where_it_comes_from() -> None:
    episode = guessed(3, 7, seed=4, repeat=2)
    run = record("run", episode)
    [row] = exported("run", form="messages")
    configuration = row.pop("run_config")
    assert re.fullmatch("[0-9a-f]{32}", configuration)
    assert row == {
        "messages": [
            user("Find my number from 1 to 20."), assistant("3"), user("higher"), assistant("7"),
        ],
        "replies": [1, 3],
        "run": "run", "episode": "guessing/up to 20/#2", "game": "guessing", "rules": "1.2",
        "experiment": "up to 20", "instance": guessing(7, tries=3).hash, "split": "train",
        "role": "guesser", "player": "guesser's player", "seed": 4, "repeat": 2,
        "outcome": "success", "fault": None, "score": 50.0, "reward": 1.0, "side": False,
        "turn": None,
    }  # fmt: skip
    run.path.joinpath("run.json").write_bytes(
        run.path.joinpath("run.json").read_bytes().replace(b"by", b"in")
    )
    [other] = exported("run", form="messages")
    assert other["run_config"] != configuration


def test_side_questions_and_what_the_game_put_into_a_mouth() -> None:
    episode, seen = played(RelayGame(), relay(rounds=2), relayed)
    record("run", episode)
    rows = exported("run", form="messages", options=["--role", "finder"])
    main, *sides = rows
    assert (main["side"], main["turn"]) == (False, None)
    assert main["messages"] == [
        {"role": message.role, "content": message.content}
        for message in episode.conversation("finder")
    ]
    assert main["messages"][1] == assistant("I look for a word.")
    assert 1 not in main["replies"]
    said = [turn.reply.text for turn in episode.turns("finder") if turn.keep]
    assert [main["messages"][place]["content"] for place in main["replies"]] == said
    asked = [conversation for conversation in seen if conversation.side]
    assert asked
    assert [row["messages"] for row in sides] == [[*c.chat(), assistant("yes")] for c in asked]
    assert [(row["side"], row["turn"]) for row in sides] == [(True, c.turn) for c in asked]
    assert [row["replies"] for row in sides] == [[len(row["messages"]) - 1] for row in sides]


def test_kto_splits_a_conversation_at_the_first_reply_and_labels_it() -> None:
    record("run", guessed(3, 7), guessed(1, 2, 3, secret=9))
    whole = exported("run", form="messages")
    rows = exported("run", form="kto")
    assert [row["prompt"] + row["completion"] for row in rows] == [r["messages"] for r in whole]
    assert all(row["prompt"] == [user("Find my number from 1 to 20.")] for row in rows)
    assert {row["outcome"]: row["label"] for row in rows} == {"success": True, "lose": False}


def test_what_is_wanted_may_depend_on_another_reward_and_threshold() -> None:
    record("run", guessed(7), guessed(3, 7, repeat=1), guessed(1, 2, 3, secret=9))
    rows = exported("run", form="kto", options=["--reward", "score", "--threshold", "0.6"])
    assert {(row["score"], row["reward"], row["label"]) for row in rows} == {
        (100.0, 1.0, True), (50.0, 0.5, False), (0.0, 0.0, False),
    }  # fmt: skip


def test_kto_says_if_there_is_nothing_to_tell_apart() -> None:
    record("run", guessed(7))
    called = playpen("data", "export", "run", "--format", "kto", "-o", "out")
    assert called.code == 0
    assert "All rows are wanted; KTO learns from the difference." in called.err


def test_dpo_parts_where_the_replies_first_differ() -> None:
    record("run", guessed(3, 7), guessed(3, 8, 9, repeat=1))
    [row] = exported("run", form="dpo")
    assert row["prompt"] == [
        user("Find my number from 1 to 20."), assistant("3"), user("higher"),
    ]  # fmt: skip
    assert row["chosen"] == [assistant("7")]
    assert row["rejected"] == [assistant("8"), user("lower"), assistant("9")]
    assert (row["chosen_reward"], row["rejected_reward"]) == (1.0, 0.0)
    assert (row["chosen_repeat"], row["rejected_repeat"]) == (0, 1)
    assert (row["chosen_outcome"], row["rejected_outcome"]) == ("success", "lose")


def test_dpo_takes_the_pair_that_differs_most() -> None:
    record("run", guessed(3, 7), guessed(7, repeat=1), guessed(1, 2, 3, repeat=2))
    [row] = exported("run", form="dpo", options=["--reward", "score"])
    assert (row["chosen_reward"], row["rejected_reward"]) == (1.0, 0.0)


def test_dpo_prefers_nothing_among_equals() -> None:
    record("run", guessed(3, 7), guessed(4, 7, repeat=1))
    message = refused("data", "export", "run", "--format", "dpo", "-o", "out")
    assert "make a pair" in message


def test_dpo_pairs_across_runs_and_only_the_same_instance() -> None:
    record("one", guessed(7))
    record("two", guessed(1, 2, 3))
    record("three", guessed(1, 2, 3, secret=9))
    [row] = exported("three", "two", "one", form="dpo")
    assert (row["chosen_run"], row["rejected_run"]) == ("one", "two")
    assert "two of the 2" in refused(
        "data", "export", "one", "three", "--format", "dpo", "-o", "out"
    )


def _told(instance: Instance) -> Play:
    """b sees what a said; whoever says "good" to b's question wins."""
    clue = yield Ask("a", "clue?")
    answer = yield Ask("b", f"a said {clue.text}")
    return Success(100) if answer.text == "good" else Lose()


def test_dpo_compares_no_answers_to_different_questions() -> None:
    game = game_of(_told, name="told")
    instance = instance_of(game)
    better = played(game, instance, {"a": ["x"], "b": ["good"]})[0]
    worse = played(game, instance, {"a": ["y"], "b": ["bad"]}, repeat=1)[0]
    record("run", better, worse)
    rows = exported("run", form="dpo")
    assert [row["role"] for row in rows] == ["a"]
    called = playpen("data", "export", "run", "--format", "dpo", "-o", "again")
    assert "1 situations gave no pair" in called.err


def _drawn(instance: Instance) -> Play:
    """A hidden word is drawn; saying it wins."""
    [word] = yield Draw(["x", "y"])
    answer = yield Ask("a", "word?")
    return Success(100) if answer.text == word else Lose()


def test_dpo_keeps_apart_what_chance_made_different() -> None:
    game = game_of(_drawn, name="drawn", roles=("a",))
    instance = instance_of(game)
    episodes = [played(game, instance, {"a": ["x"]}, seed=seed)[0] for seed in range(8)]
    draws = [episode.draws()[0][0] for episode in episodes]
    first, second = draws.index("x"), draws.index("y")
    # This one is no worse: it has another word to say.
    unlucky = played(game, instance, {"a": ["w"]}, seed=second)[0]
    worse = played(game, instance, {"a": ["z"]}, seed=first, repeat=1)[0]
    record("run", episodes[first], unlucky, worse)
    [row] = exported("run", form="dpo")
    assert (row["chosen_seed"], row["rejected_seed"]) == (first, first)


def _faulty(instance: Instance) -> Play:
    """b may break the game after a spoke."""
    yield Ask("a", "word?")
    answer = yield Ask("b", "word?")
    return Abort("boom", "boom", "b") if answer.text == "boom" else Success(100)


def test_who_is_not_to_blame_is_not_judged() -> None:
    game = game_of(_faulty, name="faulty")
    instance = instance_of(game)
    good_one = played(game, instance, {"a": ["x"], "b": ["fine"]})[0]
    broken = played(game, instance, {"a": ["y"], "b": ["boom"]}, repeat=1)[0]
    record("run", good_one, broken)
    rows = exported("run", form="kto")
    assert [(row["role"], row["outcome"]) for row in rows] == [
        ("a", "success"), ("b", "success"), ("b", "abort"),
    ]  # fmt: skip
    assert [row["role"] for row in exported("run", form="dpo")] == ["b"]
    assert {row["fault"] for row in exported("run", form="messages")} == {None, "b"}


def test_what_a_limit_made_empty_was_not_said() -> None:
    game = game_of(_told, name="told")
    episode = played(game, instance_of(game), {"a": [""], "b": ["good"]})[0]
    said = episode.replies("a")[0]
    cut = msgspec.structs.replace(said, reply=Reply("", stop_reason="budget"))
    episode.events[episode.events.index(said)] = cut
    record("run", episode)
    assert [row["role"] for row in exported("run", form="sft")] == ["b"]
    assert [row["role"] for row in exported("run", form="messages")] == ["b"]


# --- what is let through -------------------------------------------------------------------------


def test_filters() -> None:
    game = game_of(_told, name="told")
    told = played(game, instance_of(game), {"a": ["x"], "b": ["good"]}, player="me")[0]
    record("run", told, guessed(7), guessed(3, 7, repeat=1), guessed(1, 2, 3, secret=9))

    def found(*options: str) -> list[tuple[str, str, float | None]]:
        rows = exported("run", form="messages", options=options)
        return [(row["game"], row["role"], row["score"]) for row in rows]

    assert len(found()) == 5
    assert found("--game", "told") == [("told", "a", 100.0), ("told", "b", 100.0)]
    assert found("--role", "b") == [("told", "b", 100.0)]
    assert found("--player", "me", "--role", "a") == [("told", "a", 100.0)]
    assert {score for _, _, score in found("--outcome", "lose")} == {0.0}
    scores = [score for _, _, score in found("--min-score", "50", "--game", "guessing")]
    assert sorted(scores, key=str) == [100.0, 50.0]


def test_filters_that_name_nothing_are_refused() -> None:
    record("run", guessed(7))
    for option, value, hint in (
        ("--game", "gessing", "did you mean 'guessing'?"),
        ("--role", "gueser", "did you mean 'guesser'?"),
        ("--player", "nobody", "guesser's player"),
        ("--reward", "outcom", "did you mean 'outcome'?"),
    ):
        args = ("--format", "messages", "-o", "out", option, value)
        assert hint in refused("data", "export", "run", *args)
    assert not Path("out").exists()


def test_a_filter_that_lets_nothing_through_is_refused() -> None:
    record("run", guessed(7))
    args = ("--format", "messages", "-o", "out", "--outcome", "abort")
    assert "none of the 1 finished episodes" in refused("data", "export", "run", *args)


def test_a_test_split_is_refused_unless_it_is_allowed() -> None:
    record("run", guessed(7), guessed(9, secret=9, split="test"))
    message = refused("data", "export", "run", "--format", "sft", "-o", "out")
    assert "of the test split" in message and "--allow-test" in message
    assert not Path("out").exists()
    called = playpen("data", "export", "run", "--format", "sft", "-o", "out", "--allow-test")
    assert "1 episodes of a test split" in called.err
    assert "It holds 1 episodes of a test split" in front_matter("out")[1]
    assert len(rows_of("out")) == 2


def test_a_test_split_that_is_filtered_out_is_in_nobodys_way() -> None:
    record("run", guessed(7), guessed(1, 2, 3, secret=9, split="test"))
    assert [row["split"] for row in exported("run", form="sft")] == ["train"]


def test_failed_episodes_are_counted_and_never_exported() -> None:
    failed = msgspec.structs.replace(
        guessed(3, 7, repeat=1), outcome=None, failure=Failure("player", "down")
    )
    again = msgspec.structs.replace(guessed(7), outcome=None, failure=Failure("player", "down"))
    record("run", again, failed, failed, guessed(7))
    called = playpen("data", "export", "run", "--format", "messages", "-o", "out")
    assert "1 episodes failed and are never exported." in called.err
    assert [row["repeat"] for row in rows_of("out")] == [0]
    assert "- 1 episodes failed" in front_matter("out")[1]


def test_the_order_is_that_of_the_episodes_identity_not_of_their_ends() -> None:
    episodes = [guessed(7, repeat=n) for n in range(3)] + [guessed(9, secret=9)]
    record("a/run", *episodes)
    record("b/run", *reversed(episodes))
    written = []
    for place in ("a", "b"):
        rows = exported(f"{place}/run", form="messages")
        written.append([{**row, "run": "", "run_config": ""} for row in rows])
    assert written[0] == written[1]
    assert len(written[0]) == 4


def test_a_run_that_is_named_twice_is_refused() -> None:
    record("run", guessed(7))
    args = ("--format", "messages", "-o", "out")
    assert "named twice" in refused("data", "export", "run", "../work/run", *args)


def test_a_threshold_is_for_kto() -> None:
    record("run", guessed(7))
    args = ("--format", "dpo", "-o", "out", "--threshold", "1")
    assert "--threshold is for --format kto" in refused("data", "export", "run", *args)


# --- the folder ----------------------------------------------------------------------------------


def test_a_folder_that_exists_is_left_alone() -> None:
    record("run", guessed(7))
    Path("out").mkdir()
    message = refused("data", "export", "run", "--format", "sft", "-o", "out")
    assert message == "out is there already; remove it, or choose another folder with -o"
    assert list(Path("out").iterdir()) == []


def test_nothing_is_left_behind_if_the_disk_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    record("run", guessed(7))

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("playpen.export.write._write_lines", full)
    message = refused("data", "export", "run", "--format", "sft", "-o", "out")
    assert message == "out cannot be written: No space left on device"
    assert [path.name for path in Path().iterdir()] == ["run"]


def test_a_place_that_cannot_be_written_is_named() -> None:
    record("run", guessed(7))
    Path("file").write_text("", encoding="utf-8")
    message = refused("data", "export", "run", "--format", "sft", "-o", "file/out")
    assert message.startswith("file/out cannot be written: ")


def test_parquet_needs_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    record("run", guessed(7))
    for name in ("pyarrow", "pyarrow.parquet"):
        monkeypatch.setitem(sys.modules, name, None)
    message = refused("data", "export", "run", "--format", "parquet", "-o", "out")
    assert 'pip install "playpen-core[export]"' in message
    assert not Path("out").exists()


def test_every_format_is_loaded_as_it_was_written(folder: Path) -> None:
    datasets = pytest.importorskip("datasets")
    # What is missing everywhere at first has the right type all the same.
    nowhere = guessed(7, split=None), guessed(1, 2, 3, split=None, repeat=1)
    record("run", *nowhere)
    for form in FORMATS:
        good("data", "export", "run", "--format", form, "-o", f"out-{form}")
        data = datasets.load_dataset(f"out-{form}", split="train", cache_dir=str(folder / "cache"))
        types = {name: getattr(kind, "dtype", None) for name, kind in data.features.items()}
        assert (types["split"], types["turn"]) == ("string", "int64")
        assert types["chosen_fault" if form == "dpo" else "fault"] == "string"
        if form != "parquet":
            assert list(data) == rows_of(f"out-{form}")
    same = [
        datasets.load_dataset(f"out-{form}", split="train", cache_dir=str(folder / "cache"))
        for form in ("messages", "parquet")
    ]
    assert list(same[0]) == list(same[1])
    assert same[0].features == same[1].features


def test_texts_that_would_be_read_as_dates_are_pointed_out() -> None:
    game = game_of(_told, name="told")
    day = {"a": ["2026-11-22"], "b": ["good"]}
    record("run", played(game, instance_of(game), day)[0])
    args = ("data", "export", "run", "--format", "sft", "-o")
    called = playpen(*args, "out", "--role", "a")
    assert "takes the texts of completion for points in time" in called.err
    assert "points in time" not in playpen(*args, "both").err


# --- the card ------------------------------------------------------------------------------------


def test_the_card_tells_what_is_in_the_folder() -> None:
    record("run", guessed(3, 7), guessed(1, 2, 3, secret=9))
    good("data", "export", "run", "--format", "kto", "-o", "out", "--role", "guesser")
    head, body = front_matter("out")
    assert head["configs"] == [
        {"config_name": "default", "data_files": [{"split": "train", "path": "train.jsonl"}]}
    ]
    assert head["tags"] == ["playpen", "dialogue-games", "trl", "kto", "guessing"]
    assert head["size_categories"] == ["n<1K"]
    assert "license" not in head
    declared = {feature["name"] for feature in head["dataset_info"]["features"]}
    assert declared == set(rows_of("out")[0])
    for line in (
        "| `guessing` | `guesser` | success | 1 |",
        "| `guessing` | `guesser` | lose | 1 |",
        "- players: `guesser's player` (`program:oracle`)",
        "- command: `playpen play by hand`",
        "- command: `playpen data export run --format kto -o out --role guesser`",
        "- roles: `guesser`",
        "- seed: 0",
        "Splits: train 2.",
    ):
        assert line in body.splitlines()


ATTACK = f"`a` ``b`` | c\n---\n# heading\n<script>alert(1)</script> {HOSTILE} |"


def test_nobodys_text_breaks_the_card() -> None:
    game = game_of(_told, name=ATTACK)
    told = played(game, instance_of(game, ATTACK), {"a": [ATTACK], "b": ["good"]}, player=ATTACK)
    record("run", told[0], players={ATTACK: ATTACK})
    good("data", "export", "run", "--format", "sft", "-o", "out", "--player", ATTACK)
    head, body = front_matter("out")
    assert head["tags"] == ["playpen", "dialogue-games", "trl", "sft"]
    assert escape(body) == body
    assert "# heading" not in [line.strip() for line in body.splitlines()]
    assert "---" not in body.splitlines()
    for line in body.splitlines():
        if "<script>" in line:
            assert "<script>" not in _outside_of_code(line)
    rows = [line for line in body.splitlines() if line.startswith("| ")]
    assert [line.count("|") for line in rows] == [5, 5, 5]
    assert [row["completion"][0]["content"] for row in rows_of("out")] == [ATTACK, "good"]


def _outside_of_code(line: str) -> str:
    """What is left of a line without its code spans, found as CommonMark finds them."""
    return re.sub(r"(?<!`)(`+)(?!`)(.*?)(?<!`)\1(?!`)", "", line)


@given(st.text())
def test_a_text_stays_in_its_code_span(text: str) -> None:
    span = code(text)
    assert "\n" not in span
    assert _outside_of_code(f"- players: {span}, {code('x')}") == "- players: , "
