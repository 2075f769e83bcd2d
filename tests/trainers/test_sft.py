"""The trainer `sft`: what is trained, what comes out, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from playpen import Ask, Experiment, Game, Instance, Reply, Role, Success, get_game, make_player
from playpen import play as play_episodes
from playpen.instance import parse_instances
from playpen.players.chat import ChatFormat
from playpen.players.program import FunctionPlayer
from playpen.training import (
    ConfigError,
    DataTable,
    GamesTable,
    LearnerTable,
    RolloutTable,
    TrainConfig,
    train,
)
from playpen_trainers import sft as sft_module
from playpen_trainers.data import IGNORED, imitation_rows, role_rows
from playpen_trainers.tiny import make_tiny_model, word_tokenizer

FAST = {"num_train_epochs": 1, "per_device_train_batch_size": 16, "learning_rate": 4e-3}


class Interview(Game):
    """Two questions to one role with a side question in between, and one to another role."""

    name = "interview"
    roles = (Role("a"), Role("b"))

    def play(self, instance: Instance):
        yield Ask("a", "one")
        yield Ask("a", "aside", keep=False)
        yield Ask("b", "two")
        yield Ask("a", "three")
        return Success()


def interview_episode():
    game = Interview()
    answers = {"one": "alpha beta", "aside": "hidden", "two": "gamma", "three": "delta"}
    player = FunctionPlayer(lambda conversation: answers[conversation.last])
    instance = Instance("interview", Experiment("x", {}), {"game_id": 0})
    [episode] = play_episodes(game, player, [instance])
    return episode


def interview_chat():
    words = ["one", "two", "three", "aside", "alpha", "beta", "gamma", "delta", "hidden"]
    return ChatFormat(word_tokenizer(words))


def said_by(chat, row):
    trained = [label for label in row["labels"] if label != IGNORED]
    return chat.tokenizer.decode(trained)


def test_only_the_roles_own_replies_are_trained():
    chat = interview_chat()
    rows = imitation_rows(chat, [(interview_episode(), ("a",))])
    assert [said_by(chat, row) for row in rows] == [
        "alpha beta <end> delta <end>",
        "hidden <end>",
    ]
    assert all(len(row["input_ids"]) == len(row["labels"]) for row in rows)
    for row in rows:
        for token, label in zip(row["input_ids"], row["labels"], strict=True):
            assert label in (token, IGNORED)


def test_a_side_question_sees_the_history_and_leaves_no_trace():
    chat = interview_chat()
    main, side = role_rows(chat, interview_episode(), "a")
    assert "hidden" not in chat.tokenizer.decode(main.ids)
    assert chat.tokenizer.decode(side.ids).startswith("<user> one <end> <assistant> alpha beta")


def test_rows_are_rendered_as_at_play_time():
    chat = interview_chat()
    [row] = role_rows(chat, interview_episode(), "b")
    assert chat.tokenizer.decode(row.ids) == "<user> two <end> <assistant> gamma <end>"


def test_the_same_reply_object_twice_keeps_its_places():
    game = Interview()
    same = Reply("alpha")
    player = FunctionPlayer(lambda conversation: "alpha")
    player.reply = lambda conversation: same  # type: ignore[method-assign]
    instance = Instance("interview", Experiment("x", {}), {"game_id": 0})
    [episode] = play_episodes(game, player, [instance])
    chat = interview_chat()
    main, _ = role_rows(chat, episode, "a")
    expected = "<user> one <end> <assistant> alpha <end> <user> three <end> <assistant> alpha <end>"
    assert chat.tokenizer.decode(main.ids) == expected


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model with the vocabulary of taboo's mini world, which has learned nothing."""
    from playpen_trainers.demo import _instances, _vocabulary

    folder = tmp_path_factory.mktemp("models") / "base"
    game = get_game("taboo")
    words = _vocabulary(_instances(game, "train", 0))
    make_tiny_model(folder, words, hidden_size=64)
    return folder


def config(base: Path, **changes) -> TrainConfig:
    trainer = {**FAST, **changes.pop("trainer", {})}
    values = {
        "learner": LearnerTable(player=f"hf:{base}"),
        "games": GamesTable(names=["taboo"], levels=["mini"], per_level=64),
        "rollout": RolloutTable(),
        **changes,
    }
    return TrainConfig(trainer=trainer, **values)


@pytest.mark.parametrize("rank", [0, 4], ids=["full", "lora"])
def test_a_checkpoint_is_a_player(base: Path, tmp_path: Path, rank: int):
    final = train("sft", config(base, trainer={"lora_r": rank}), tmp_path / "out")
    assert final == tmp_path / "out" / "final"
    saved = {path.name for path in final.iterdir()}
    weights = "adapter_model.safetensors" if rank else "model.safetensors"
    assert weights in saved
    assert not any(name.endswith((".bin", ".pt", ".pkl")) for name in saved)
    game = get_game("taboo")
    instances = parse_instances(game.generate("validation", level="mini", n=4), game)
    episodes = play_episodes(game, make_player(f"hf:{final}?max_new_tokens=8"), instances)
    assert all(episode.failure is None for episode in episodes)
    assert all(episode.trajectory("describer") is not None for episode in episodes)


def test_training_lowers_the_loss_and_logs_it(base: Path, tmp_path: Path):
    output = tmp_path / "out"
    games = GamesTable(names=["taboo"], levels=["mini"], per_level=256)
    train("sft", config(base, games=games, trainer={"logging_steps": 5}), output)
    lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    assert lines[0] == {"step": 0, "episodes": 256 - lost(output), "rows": lines[0]["rows"]}
    losses = [line["loss"] for line in lines if "loss" in line]
    assert len(losses) >= 3
    assert losses[-1] < losses[0] - 1
    resolved = json.loads((output / "train.json").read_text())
    assert resolved["trainer"] == "sft"
    assert resolved["config"]["trainer"]["lora_alpha"] == 32


def lost(output: Path) -> int:
    """Demonstrations that the oracle did not win: they are filtered out."""
    from playpen.store import Run

    return sum(not e.success for e in Run.open(output / "demonstrations").episodes())


def test_trl_gets_our_labels(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Contract with TRL: labels reach the loss as we made them, padded with -100."""
    seen: list[dict[str, torch.Tensor]] = []
    original = sft_module.SFTTrainer.compute_loss

    def spy(self, model, inputs, *args, **kwargs):
        seen.append({name: inputs[name].clone() for name in ("input_ids", "labels")})
        return original(self, model, inputs, *args, **kwargs)

    monkeypatch.setattr(sft_module.SFTTrainer, "compute_loss", spy)
    train("sft", config(base), tmp_path / "out")
    assert seen
    tokenizer = AutoTokenizer.from_pretrained(base)
    for batch in seen:
        for ids, labels in zip(batch["input_ids"], batch["labels"], strict=True):
            trained = labels != IGNORED
            assert trained.any()
            assert torch.equal(labels[trained], ids[trained])
            text = tokenizer.decode(ids[trained])
            for reply in text.removesuffix("<end>").split("<end>"):
                assert reply.split()[0] in ("CLUE:", "GUESS:")


def test_interrupted_training_continues(base: Path, tmp_path: Path):
    output = tmp_path / "out"
    steps = config(base, trainer={"max_steps": 6, "save_steps": 2, "logging_steps": 1})
    train("sft", steps, output)
    shutil.rmtree(output / "final")
    shutil.rmtree(output / "checkpoints" / "checkpoint-6")  # as if it had ended after step 4
    train("sft", steps, output)
    lines = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    losses = [line["step"] for line in lines if "loss" in line]
    assert losses == [1, 2, 3, 4, 5, 6, 5, 6]
    assert (output / "final" / "model.safetensors").is_file()


def test_another_training_is_not_mixed_with_the_one_that_is_there(base: Path, tmp_path: Path):
    output = tmp_path / "out"
    train("sft", config(base, trainer={"max_steps": 1}), output)
    with pytest.raises(ConfigError, match="holds a training with another configuration"):
        train("sft", config(base, trainer={"max_steps": 2}), output)


def test_the_seed_decides(base: Path, tmp_path: Path):
    def weights(name: str, seed: int) -> torch.Tensor:
        final = train("sft", config(base, trainer={"seed": seed, "max_steps": 3}), tmp_path / name)
        model = AutoModelForCausalLM.from_pretrained(final)
        return torch.cat([p.flatten() for p in model.parameters()])

    first, again, other = weights("a", 1), weights("b", 1), weights("c", 2)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_learner_that_is_no_model_is_refused_before_anything_is_played(tmp_path: Path):
    wrong = TrainConfig(
        learner=LearnerTable(player="program:oracle"), games=GamesTable(names=["taboo"])
    )
    with pytest.raises(ConfigError, match=r"learner\.player = 'program:oracle' cannot be trained"):
        train("sft", wrong, tmp_path / "out")
    assert not (tmp_path / "out" / "demonstrations").exists()


def test_rows_that_do_not_fit_are_refused(base: Path, tmp_path: Path):
    with pytest.raises(ConfigError, match=r"raise trainer\.max_length"):
        train("sft", config(base, trainer={"max_length": 3}), tmp_path / "out")


def test_filters_that_leave_nothing_are_refused(base: Path, tmp_path: Path):
    with pytest.raises(ConfigError, match="passes the filters"):
        train("sft", config(base, data=DataTable(min_score=101)), tmp_path / "out")


def test_recorded_runs_are_learned_from(base: Path, tmp_path: Path):
    first = tmp_path / "first"
    train("sft", config(base, trainer={"max_steps": 1}), first)
    recorded = DataTable(runs=[str(first / "demonstrations")], players=["program:oracle"])
    final = train(
        "sft",
        config(base, data=recorded, games=GamesTable(), trainer={"max_steps": 1}),
        tmp_path / "second",
    )
    assert final.is_dir()
    assert not (tmp_path / "second" / "demonstrations").exists()
    nobody = DataTable(runs=recorded.runs, players=["hf:someone"])
    with pytest.raises(ConfigError, match="passes the filters"):
        train("sft", config(base, data=nobody, games=GamesTable()), tmp_path / "third")
