"""The contamination guard: nobody is trained on what is held out for a test."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.core.command_line import good, refused

from playpen.fingerprints import Mark, hash_list, mark_of, read_hash_list
from playpen.instance import SPLITS
from playpen.instance_sets import document_of, ready_instances
from playpen.plugins import get_game
from playpen.store import Run
from playpen.training import ConfigError, TrainingRun
from playpen.training.config import DataTable, GamesTable, LearnerTable, TrainConfig
from playpen.training.contamination import HeldOut


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def training(games: GamesTable, runs: list[str] | None = None) -> TrainingRun:
    config = TrainConfig(
        learner=LearnerTable(player="hf:nobody"), games=games, data=DataTable(runs=runs or [])
    )
    return TrainingRun("sft", config, "out")


def test_a_list_keeps_instances_out_by_content_and_by_puzzle() -> None:
    assert "are in held.tsv" in good("instances", "hashes", "wordle", "-o", "held.tsv")
    held = HeldOut([Path("held.tsv")])
    for game in map(get_game, ("wordle", "wordle_withclue", "wordle_withcritic")):
        for split in SPLITS:
            found = {bool(held.where(game, i, tests=False)) for i in ready_instances(game, split)}
            # The variants share their words, and a word is in one split only.
            assert found == {split == "test"}
    words = [i["target_word"] for i in ready_instances(get_game("wordle"), "test")]
    text = Path("held.tsv").read_text(encoding="utf-8")
    assert not any(word in text for word in words)


def test_a_list_is_not_written_over() -> None:
    good("instances", "hashes", "taboo", "wordle", "-o", "held.tsv")
    before = Path("held.tsv").read_bytes()
    assert "is there already" in refused("instances", "hashes", "taboo", "-o", "held.tsv")
    assert Path("held.tsv").read_bytes() == before


def test_what_the_generators_make_is_refused_or_left_out() -> None:
    good("instances", "hashes", "taboo", "--split", "train", "-o", "held.tsv")
    table = GamesTable(names=["taboo", "guesswhat"], held_out=["held.tsv"])
    with pytest.raises(ConfigError, match=r"held out from training: .* games\.leave_out = true"):
        training(table).instances()
    table.leave_out = True
    kept = training(table).instances()
    assert not kept["taboo"] and len(kept["guesswhat"]) > 20
    everything = training(GamesTable(names=["guesswhat"])).instances()
    assert kept["guesswhat"] == everything["guesswhat"]


def test_a_list_that_playpen_toml_registers_holds_below_it() -> None:
    good("instances", "hashes", "taboo", "--split", "train", "-o", "lists/held.tsv")
    Path("playpen.toml").write_text('[held_out]\nfiles = ["lists/held.tsv"]\n', encoding="utf-8")
    with pytest.raises(ConfigError, match=r"held\.tsv"):
        training(GamesTable(names=["taboo"])).instances()


def test_new_instances_are_checked_too() -> None:
    run = training(GamesTable(names=["taboo"], levels=["mini"], per_level=5, leave_out=True))
    made = run.instances(renewal=3)["taboo"]
    game = get_game("taboo")
    Path("held.tsv").write_text(hash_list(mark_of(game, i) for i in made[:2]), encoding="utf-8")
    run.config.games.held_out.append("held.tsv")
    again = TrainingRun("grpo", run.config, "out").instances(renewal=3)["taboo"]
    assert again == made[2:]


def test_the_words_of_a_file_may_not_hide_the_puzzle() -> None:
    """Another numbering, another level, other prompts: the card is the same."""
    game = get_game("taboo")
    document = document_of(ready_instances(game, "test")[:2] + ready_instances(game, "train")[:3])
    for number, experiment in enumerate(document["experiments"]):
        experiment["name"] = f"mine_{number}"
        experiment["guesser_initial_prompt"] = "Other words."
        for place, item in enumerate(experiment["game_instances"]):
            item["game_id"] = 100 + place
    Path("file.json").write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(ConfigError) as refusal:
        training(GamesTable(names=["taboo"], files={"taboo": "file.json"})).instances()
    assert "2 of the 5 instances" in str(refusal.value)
    assert "taboo/mine_0/100 (as the test split of 'taboo')" in str(refusal.value)


def test_a_recording_of_imported_test_instances_is_refused() -> None:
    good("instances", "generate", "taboo", "--split", "test", "-n", "2", "-o", "file.json")
    good("play", "taboo", "-p", "program:oracle", "--instances", "file.json", "-o", "run")
    assert {episode.split for episode in Run.open("run").episodes()} == {None}
    with pytest.raises(ConfigError, match=r"^run: \d+ of the \d+ instances are held out"):
        training(GamesTable(), ["run"]).demonstrations()


def test_a_recording_of_training_instances_is_not() -> None:
    good("play", "taboo", "-p", "program:oracle", "--split", "train", "-n", "5", "-o", "run")
    assert len(training(GamesTable(), ["run"]).demonstrations()) == 5


@pytest.mark.torch  # playpen-trainers is installed where torch is
def test_what_is_refused_is_refused_before_anything_is_loaded() -> None:
    good("instances", "hashes", "taboo", "--split", "train", "-o", "held.tsv")
    Path("train.toml").write_text('[learner]\nplayer = "hf:nobody"\n[games]\nnames = ["taboo"]\n')
    call = ("train", "sft", "-c", "train.toml", "--set", "games.held_out=['held.tsv']")
    message = refused(*call, "-o", "out")
    assert "games.names" in message and "of held.tsv" in message and not Path("out").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("taboo\tabc\n", "held.tsv, line 1: not a line of a hash list"),
        ("# fine\ntaboo\t\tx\ty\n", "held.tsv, line 2"),
        (None, "held.tsv: the hash list cannot be read"),
        (b"\xff\xfe", "not a hash list"),
    ],
)
def test_a_list_that_cannot_be_used_is_named(content: str | bytes | None, message: str) -> None:
    if content is not None:
        Path("held.tsv").write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(ConfigError, match=message):
        training(GamesTable(names=["taboo"], held_out=["held.tsv"])).instances()


@pytest.mark.parametrize(
    "text",
    ["[held_out]\nfiles = 'x'", "held_out = 5", "nonsense", "[held_out]\nfile = []", "[heldout]\n"],
)
def test_a_registration_that_cannot_be_read_is_named(text: str) -> None:
    Path("playpen.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"playpen\.toml"):
        HeldOut.registered([])


@given(st.lists(st.tuples(st.just("g"), st.just("h"), st.just("p"), st.text())))
def test_any_name_survives_a_list(tmp_path_factory: pytest.TempPathFactory, rows: list) -> None:  # type: ignore[type-arg]
    file = tmp_path_factory.mktemp("list") / "held.tsv"
    file.write_text(hash_list(Mark(*row) for row in rows), encoding="utf-8", newline="")
    assert [mark[:3] for mark in read_hash_list(file)] == [row[:3] for row in rows]
