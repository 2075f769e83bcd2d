"""The trainer `sft`: what is trained, what comes out, and what is refused."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path

import datasets
import pytest
import torch
from tests.core.tiny_model import FORGETFUL, tiny_model, tiny_tokenizer
from tests.trainers.gradients import check_gradient, trained_tokens
from tests.trainers.lift_kit import config_from, lift, make_beginner
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer

from playpen import Ask, Experiment, Game, Instance, Reply, Role, Success, get_game, make_player
from playpen import play as play_episodes
from playpen.cast import make_cast
from playpen.chat_format import ChatFormat
from playpen.instance_sets import parse_instances
from playpen.players.hf import HuggingFaceOptions, HuggingFacePlayer
from playpen.players.program import FunctionPlayer
from playpen.runner import create_run, play_run
from playpen.training import (
    ConfigError,
    DataTable,
    GamesTable,
    LearnerTable,
    RolloutTable,
    TrainConfig,
    TrainingRun,
    train,
)
from playpen_trainers import sft as sft_module
from playpen_trainers.episode_rows import role_rows
from playpen_trainers.general_chat import chat_rows, read_chats
from playpen_trainers.learner import check_learner, load_learner
from playpen_trainers.sft import SFTOptions, supervised_trainer
from playpen_trainers.supervised_rows import IGNORED, SupervisedRow, fitting, imitation_rows
from playpen_trainers.tiny import make_tiny_model, word_tokenizer

# The test of learning, fixed before it was run.  Seed 0 was used to find the settings.
LIFT_SEEDS = [1, 2]
LIFT_MARGIN, LIFT_P = 0.05, 0.01
LIFT_INSTANCES = 3000
LIFT = {
    "num_train_epochs": 2,
    "per_device_train_batch_size": 32,
    "learning_rate": 2e-3,
    "warmup_steps": 0.05,
}

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


def test_each_row_says_where_it_comes_from():
    rows = imitation_rows(interview_chat(), [(interview_episode(), ("a", "b"))])
    assert [row["role"] for row in rows] == ["a", "a", "b"]
    for row in rows:
        assert (row["game"], row["episode"]) == ("interview", "interview/x/0")
        assert (row["player"], row["outcome"], row["score"]) == ("player 1", "success", 100)
        assert len(row["instance"]) > 6


# --- what the learner sampled itself -------------------------------------------------------------


def sampled_episodes(seed: int = 0, template: str | None = None, count: int = 8):
    """Interviews with a random model, whose ids seldom survive a round trip through text."""
    tokenizer = tiny_tokenizer(template) if template else tiny_tokenizer()
    model = tiny_model(len(tokenizer), seed=seed)
    options = HuggingFaceOptions(temperature=1.0, max_new_tokens=6)
    player = HuggingFacePlayer.over(model, tokenizer, options)
    instances = [Instance("interview", Experiment("x", {}), {"game_id": n}) for n in range(count)]
    return ChatFormat(tokenizer), play_episodes(Interview(), player, instances)


def test_the_learners_own_ids_stand_as_they_were_sampled():
    chat, episodes = sampled_episodes()
    chosen = [(episode, ("a",)) for episode in episodes]
    exact = imitation_rows(chat, chosen, {"player 1"})
    expected = [row for episode in episodes for row in episode.trajectory("a").rows]
    assert [row["input_ids"] for row in exact] == [row.ids for row in expected]
    for row, source in zip(exact, expected, strict=True):
        trained = [label != IGNORED for label in row["labels"]]
        assert trained == [bool(m) for m in source.mask]
    sampled = [
        id_ for e in episodes for said in e.replies("a") for id_ in said.reply.tokens.sampled
    ]
    assert sorted(x for row in exact for x in row["labels"] if x != IGNORED) == sorted(sampled)
    # As text it would be others.
    assert imitation_rows(chat, chosen) != exact


def test_the_ids_of_another_model_are_not_used():
    chat, episodes = sampled_episodes()
    chosen = [(episode, ("a",)) for episode in episodes]
    assert imitation_rows(chat, chosen, {"somebody else"}) == imitation_rows(chat, chosen)


def test_own_replies_without_tokens_are_rendered():
    chat, episode = interview_chat(), interview_episode()
    assert role_rows(chat, episode, "a", own=True) == role_rows(chat, episode, "a")


@pytest.mark.parametrize(
    ("spec", "exact"),
    [
        ("hf:{base}?temperature=1&max_new_tokens=4", True),
        ("hf:{base}/../base?temperature=1&max_new_tokens=4&batch_size=2", True),
        ("hf:{copy}?temperature=1&max_new_tokens=4", False),
    ],
)
def test_recordings_of_the_learner_itself_are_taken_token_by_token(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: str, exact: bool
):
    copy = tmp_path / "copy"
    shutil.copytree(base, copy)
    game = get_game("taboo")
    instances = parse_instances(game.generate("train", level="mini", n=4), game, split="train")
    cast = make_cast([(None, spec.format(base=base, copy=copy))])
    run = create_run(tmp_path / "recorded", {"taboo": instances}, cast)
    play_run(run)
    seen: list[SupervisedRow] = []

    def no_training(rows, *_):
        seen.extend(rows)
        raise KeyboardInterrupt

    monkeypatch.setattr(sft_module, "fine_tune", no_training)
    outcomes = ("success", "lose", "abort")
    with pytest.raises(KeyboardInterrupt):
        train(
            "sft",
            config(base, data=DataTable(runs=[str(run.path)], outcomes=outcomes)),
            tmp_path / "out",
        )
    expected = [
        row.ids
        for episode in sorted(run.episodes(), key=lambda episode: episode.key)
        for role in episode.players
        if episode.replies(role)
        for row in episode.trajectory(role).rows
    ]
    # A model that has learned nothing seldom ends its turn, which a rendered one always does.
    assert ([row["input_ids"] for row in seen] == expected) is exact


# --- which tokens get a gradient -----------------------------------------------------------------


class Talk(Game):
    """a is asked as often as there are answers; in between it is once asked aside."""

    name = "talk"
    roles = (Role("a"), Role("b"))

    def play(self, instance: Instance):
        for number, _ in enumerate(instance["answers"]):
            yield Ask("a", "one" if number % 2 else "two")
            if number == 0 and instance["aside"]:
                yield Ask("a", "aside", keep=False)
            yield Ask("b", "three")
        return Success()


ASKS = {"two": "<user> two <end> <assistant>", "one": "<user> one <end> <assistant>"}


def talk_rows(chat: ChatFormat):
    """Talks of one, two and three turns, with empty replies and a side question."""
    rows: list[SupervisedRow] = []
    for answers, aside in [
        (["alpha"], False),
        (["", "beta gamma"], False),
        ([""], False),
        (["alpha beta", "delta", "gamma gamma gamma"], True),
    ]:
        left = {"a": list(answers), "b": ["hidden"] * 9}

        def say(conversation, left=left):
            return "beta" if conversation.side else left[conversation.role].pop(0)

        data = {"game_id": 0, "answers": answers, "aside": aside}
        [episode] = play_episodes(
            Talk(), FunctionPlayer(say), [Instance("talk", Experiment("x", {}), data)]
        )
        rows += imitation_rows(chat, [(episode, ("a",))])
    masked = [7, 8, 9]
    return [*rows, SupervisedRow(input_ids=masked, labels=[IGNORED] * 3)]


EXPECTED = [
    ("<user> two <end> <assistant> alpha <end>", "alpha <end>"),
    (
        "<user> two <end> <assistant> <end> <user> one <end> <assistant> beta gamma <end>",
        "<end> beta gamma <end>",
    ),
    ("<user> two <end> <assistant> <end>", "<end>"),
    (
        "<user> two <end> <assistant> alpha beta <end> <user> one <end> <assistant> delta <end> "
        "<user> two <end> <assistant> gamma gamma gamma <end>",
        "alpha beta <end> delta <end> gamma gamma gamma <end>",
    ),
    (
        "<user> two <end> <assistant> alpha beta <end> <user> aside <end> <assistant> beta <end>",
        "beta <end>",
    ),
]
"""The rows of `talk_rows` as text, and what of them is trained; the masked one is left out."""


def trainer_over(rows, folder: Path, **options) -> SFTTrainer:
    words = ["one", "two", "three", "aside", "alpha", "beta", "gamma", "delta", "hidden"]
    if not (folder / "model").exists():
        make_tiny_model(folder / "model", words, hidden_size=32, context=64)
    table = LearnerTable(player=f"hf:{folder / 'model'}")
    run = TrainingRun("sft", TrainConfig(learner=table), folder / "out")
    learner = load_learner(*check_learner(run.learner), "float32")
    return supervised_trainer(rows, learner, SFTOptions(**options), run)


def batch_of(trainer: SFTTrainer):
    """All rows of a trainer as one batch of its own collator, in their order."""
    return trainer.data_collator(list(trainer.train_dataset))


def spoken(chat: ChatFormat, ids: list[int], trained: torch.Tensor) -> tuple[str, str]:
    """A row and what of it is trained, as text."""
    learned = [id_ for id_, is_trained in zip(ids, trained.tolist(), strict=False) if is_trained]
    return chat.tokenizer.decode(ids), chat.tokenizer.decode(learned)


@pytest.mark.parametrize("rank", [0, 2], ids=["full", "lora"])
@pytest.mark.parametrize("packing", [False, True], ids=["rows", "packed"])
def test_just_the_roles_own_tokens_get_a_gradient(tmp_path: Path, rank: int, packing: bool):
    chat = interview_chat()
    rows = talk_rows(chat)
    trainer = trainer_over(rows, tmp_path, lora_r=rank, packing=packing, max_length=48)
    batch = batch_of(trainer)
    own = trained_tokens(trainer, batch)
    pieces: list[tuple[list[int], torch.Tensor]] = []
    if packing:
        [ids], [places], [trained] = batch["input_ids"], batch["position_ids"], own
        starts = [*(places == 0).nonzero().flatten().tolist(), len(ids)]
        for start, end in itertools.pairwise(starts):
            pieces.append((ids[start:end].tolist(), trained[start:end]))
    else:
        for ids, mask, trained in zip(
            batch["input_ids"], batch["attention_mask"], own, strict=True
        ):
            assert not (trained & (mask == 0)).any()
            pieces.append((ids[: mask.sum()].tolist(), trained))
    masked = chat.tokenizer.decode([7, 8, 9]), ""
    assert sorted(spoken(chat, *piece) for piece in pieces) == sorted([*EXPECTED, masked])


@pytest.mark.parametrize("by", [1, -1])
def test_labels_that_are_off_by_one_are_noticed(tmp_path: Path, by: int):
    """The gradient check does see it when labels are shifted."""
    rows = talk_rows(interview_chat())
    expected = [[label != IGNORED for label in row["labels"]] for row in rows]
    trainer = trainer_over(rows, tmp_path)
    batch = batch_of(trainer)
    check_gradient(trainer, batch, expected)
    shifted = {**batch, "labels": batch["labels"].roll(by, dims=1)}
    with pytest.raises(AssertionError, match="wrongly trained"):
        check_gradient(trainer, shifted, expected)


def test_a_batch_without_anything_to_train_is_harmless(tmp_path: Path):
    row = SupervisedRow(input_ids=[7, 8, 9], labels=[IGNORED] * 3)
    trainer = trainer_over([row, row], tmp_path)
    assert not trained_tokens(trainer, batch_of(trainer)).any()


def test_packed_rows_do_not_see_each_other(tmp_path: Path):
    rows = talk_rows(interview_chat())

    def gradient(**options) -> torch.Tensor:
        trainer = trainer_over(rows, tmp_path, **options)
        trainer.compute_loss(trainer.model, batch_of(trainer)).backward()
        return torch.cat([p.grad.flatten() for p in trainer.model.parameters()])

    alone, packed = gradient(), gradient(packing=True, max_length=60)
    assert alone.norm() > 0.1
    torch.testing.assert_close(packed, alone, atol=1e-5, rtol=1e-4)


def test_rows_that_are_too_long_or_have_nothing_to_train_are_left_out():
    rows = talk_rows(interview_chat())
    lengths = [len(row["input_ids"]) for row in rows]
    assert max(lengths) == 21
    with pytest.warns(UserWarning, match=r"2 of 6 rows are longer than 20 tokens or"):
        kept = fitting(rows, 20)
    assert kept == [row for row in rows[:-1] if len(row["input_ids"]) <= 20]
    # Nothing is cut: each ends with the end of the role's turn.
    assert all(row["labels"][-1] == row["input_ids"][-1] for row in kept)


def test_packing_needs_a_length(base: Path, tmp_path: Path):
    with pytest.raises(ConfigError, match=r"trainer\.packing = true.*trainer\.max_length"):
        train("sft", config(base, trainer={"packing": True}), tmp_path / "out")
    assert not (tmp_path / "out").exists()


# --- contracts with TRL --------------------------------------------------------------------------


def raw_trl(columns: dict, folder: Path, **arguments) -> SFTTrainer:
    model = tiny_model(20)
    model.save_pretrained(folder / "raw")
    return SFTTrainer(
        model=model,
        args=SFTConfig(
            output_dir=str(folder / "out"), report_to="none", bf16=False, use_cpu=True, **arguments
        ),
        train_dataset=datasets.Dataset.from_dict(columns),
        processing_class=word_tokenizer(["one"]),
    )


IDS = [5, 6, 7, 8, 9, 10]


def test_trl_takes_labels_as_they_are(tmp_path: Path):
    """Contract with TRL: the loss is the cross-entropy of our labels, whatever they say."""
    labels = [IGNORED, IGNORED, 11, IGNORED, 9, IGNORED]
    trainer = raw_trl({"input_ids": [IDS], "labels": [labels]}, tmp_path)
    batch = batch_of(trainer)
    assert batch["labels"].tolist() == [labels]
    loss = trainer.compute_loss(trainer.model, dict(batch))
    logits = trainer.model(torch.tensor([IDS])).logits[0].log_softmax(dim=-1)
    assert loss.item() == pytest.approx(-(logits[1, 11] + logits[3, 9]).item() / 2, abs=1e-5)


@pytest.mark.parametrize(
    ("option", "trained"), [(None, [1, 2, 3, 4, 5]), (False, [1, 2, 3, 4, 5]), (True, [2, 3])]
)
def test_trl_heeds_a_completion_mask_only_if_told_so(
    tmp_path: Path, option: bool | None, trained: list[int]
):
    """Contract with TRL: why our rows carry labels, not masks."""
    columns = {"input_ids": [IDS], "completion_mask": [[0, 0, 1, 1, 0, 0]]}
    trainer = raw_trl(columns, tmp_path, completion_only_loss=option)
    [own] = trained_tokens(trainer, batch_of(trainer))
    assert own.nonzero().flatten().tolist() == trained


def test_trl_cuts_rows_at_its_own_default_length(tmp_path: Path):
    """Contract with TRL: why we leave out what is too long ourselves, and tell it no length."""
    assert SFTConfig(output_dir=str(tmp_path), bf16=False, use_cpu=True).max_length is not None
    columns = {"input_ids": [IDS], "labels": [IDS]}
    cut = raw_trl(columns, tmp_path, max_length=4)
    assert cut.train_dataset[0]["input_ids"] == IDS[:4]
    whole = raw_trl(columns, tmp_path, max_length=None)
    assert whole.train_dataset[0]["input_ids"] == IDS


# --- general chats -------------------------------------------------------------------------------


def chat_file(folder: Path, *chats: object, extra: str = "") -> str:
    file = folder / "chats.jsonl"
    lines = [chat if isinstance(chat, str) else json.dumps({"messages": chat}) for chat in chats]
    file.write_text("\n".join(lines) + "\n" + extra, encoding="utf-8")
    return str(file)


def message(role: str, content: object) -> dict[str, object]:
    return {"role": role, "content": content}


LONG = [message("user", "one"), message("assistant", "alpha " * 60)]
PLAIN = [
    message("system", "three"),
    message("user", "one"),
    message("assistant", "alpha beta"),
    message("user", "two"),
    message("assistant", "gamma"),
    message("user", "one"),
]
SHORT = [message("user", "two"), message("assistant", "delta")]


def test_of_a_chat_the_assistants_messages_are_trained(tmp_path: Path):
    words = ["one", "two", "three", "alpha", "beta", "gamma", "delta"]
    tokenizer = word_tokenizer(words)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<system>"]})
    chat = ChatFormat(tokenizer)
    chats = read_chats(chat_file(tmp_path, PLAIN), "train")
    [row] = chat_rows(chat, chats, 1, limit=99, seed=0)
    assert tokenizer.decode(row["input_ids"]) == (
        "<system> three <end> <user> one <end> <assistant> alpha beta <end> "
        "<user> two <end> <assistant> gamma <end>"
    )
    assert said_by(chat, row) == "alpha beta <end> gamma <end>"
    assert (row["source"], row["number"]) == (chats.source, 1)


def test_a_template_that_rewrites_history_gives_a_row_for_each_answer(tmp_path: Path):
    chat = ChatFormat(tiny_tokenizer(FORGETFUL))
    talk = [
        message("user", "guess"),
        message("assistant", "<think>a thought</think>one"),
        message("user", "higher"),
        message("assistant", "two"),
    ]
    chats = read_chats(chat_file(tmp_path, talk), "train")
    rows = chat_rows(chat, chats, 2, limit=999, seed=0)
    texts = [chat.tokenizer.decode(row["input_ids"]) for row in rows]
    assert "<think>" in texts[0] and "<think>" not in texts[1]
    assert [said_by(chat, row) for row in rows] == [
        "<think>a thought</think>one<|im_end|>",
        "two<|im_end|>",
    ]


def test_chats_are_shuffled_by_the_seed_and_taken_again_when_there_are_too_few(tmp_path: Path):
    chat = interview_chat()
    talks = [[message("user", "one"), message("assistant", w)] for w in ("alpha", "beta", "gamma")]
    chats = read_chats(chat_file(tmp_path, *talks), "train")

    def order(count: int, seed: int) -> list[int]:
        return [row["number"] for row in chat_rows(chat, chats, count, limit=99, seed=seed)]

    first = order(7, 0)
    assert first == order(7, 0)
    assert [sorted(first[:3]), sorted(first[3:6])] == [[1, 2, 3], [1, 2, 3]]
    assert len({tuple(order(7, seed)) for seed in range(5)}) > 1
    assert order(2, 0) == first[:2]


def test_chats_that_are_too_long_are_left_out(tmp_path: Path):
    chat = interview_chat()
    chats = read_chats(chat_file(tmp_path, LONG, SHORT), "train")
    assert {r["number"] for r in chat_rows(chat, chats, 5, limit=20, seed=0)} == {2}
    chats = read_chats(chat_file(tmp_path, LONG), "train")
    with pytest.raises(ConfigError, match=r"none of the 1 chats .* raise trainer\.max_length"):
        chat_rows(chat, chats, 5, limit=20, seed=0)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "not valid JSON"),
        ('"text"', r"messages = \[\{role, content\}, ...\] is expected"),
        ('{"text": "x"}', "messages = .* is expected"),
        ('{"messages": []}', "messages = .* is expected"),
        ('{"messages": ["hello"]}', "message 1 has the role None"),
        ('{"messages": [{"role": "tool", "content": "x"}]}', "message 1 has the role 'tool'"),
        ('{"messages": [{"role": "user", "content": null}]}', "the content of message 1 is no"),
        ('{"messages": [{"role": "user", "content": "x"}]}', "the assistant says nothing"),
        ('{"messages": [{"role": "assistant", "content": "x"}]}', "message 1 of the assistant ans"),
    ],
)
def test_a_malformed_chat_is_named_by_file_and_line(tmp_path: Path, line: str, message: str):
    file = chat_file(tmp_path, SHORT, "", line)
    with pytest.raises(ConfigError, match=rf"^{file}, line 3: {message}") as caught:
        read_chats(file, "train")
    assert "\n" not in str(caught.value)


def test_a_chat_that_the_template_refuses_is_named(tmp_path: Path):
    tokenizer = word_tokenizer(["one"])
    tokenizer.chat_template = (
        "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
        + tokenizer.chat_template
    )
    chats = read_chats(chat_file(tmp_path, PLAIN), "train")
    with pytest.raises(ConfigError, match=r"line 1: the chat template refuses .*no system"):
        chat_rows(ChatFormat(tokenizer), chats, 1, limit=99, seed=0)


@pytest.mark.parametrize("weight", [0.0, 0.5, 3.0])
def test_chats_are_mixed_in_by_weight(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weight: float
):
    seen: list[SupervisedRow] = []

    def no_training(rows, *_):
        seen.extend(rows)
        raise KeyboardInterrupt

    monkeypatch.setattr(sft_module, "fine_tune", no_training)
    data = DataTable(chat=chat_file(tmp_path, SHORT, SHORT), chat_weight=weight)
    games = GamesTable(names=["taboo"], levels=["mini"], per_level=8)
    with pytest.raises(KeyboardInterrupt):
        train("sft", config(base, data=data, games=games), tmp_path / "out")
    play = [row for row in seen if "game" in row]
    assert len(play) > 10
    assert len(seen) - len(play) == round(weight * len(play))
    [line] = (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()
    assert json.loads(line).get("chat_rows", 0) == len(seen) - len(play)


def test_a_missing_chat_file_is_refused_before_anything_is_played(base: Path, tmp_path: Path):
    for name in ("no/such.jsonl", str(tmp_path / "none")):
        with pytest.raises(ConfigError, match=r"data\.chat = '.*': there is no such file$"):
            train("sft", config(base, data=DataTable(chat=name)), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(ConfigError, match="the file is empty"):
        read_chats(str(tmp_path / "empty.jsonl"), "train")


def test_a_dataset_that_cannot_be_loaded_is_one_line(monkeypatch: pytest.MonkeyPatch):
    def offline(name, split):
        raise ConnectionError(f"Couldn't reach {name!r} on the Hub\nand more")

    monkeypatch.setattr(datasets, "load_dataset", offline)
    with pytest.raises(ConfigError) as caught:
        read_chats("someone/chats", "train")
    assert str(caught.value) == (
        "data.chat = 'someone/chats': there is no such file, and no dataset of that name could "
        "be loaded (Couldn't reach 'someone/chats' on the Hub); write the path of a JSON Lines "
        "file, or fetch the dataset first, on a machine with a network"
    )


def test_a_dataset_is_named_with_its_split(monkeypatch: pytest.MonkeyPatch):
    asked: list[tuple[str, str]] = []

    def load(name, split):
        asked.append((name, split))
        return datasets.Dataset.from_list([{"messages": SHORT}, {"messages": SHORT[:1]}])

    monkeypatch.setattr(datasets, "load_dataset", load)
    chats = read_chats("someone/chats", "train_sft")
    assert asked == [("someone/chats", "train_sft")]
    assert [m.content for m in chats.messages(0)] == ["two", "delta"]
    with pytest.raises(ConfigError, match=r"^someone/chats, item 2: the assistant says nothing"):
        chats.messages(1)
    monkeypatch.setattr(
        datasets, "load_dataset", lambda name, split: datasets.Dataset.from_dict({"text": ["x"]})
    )
    with pytest.raises(ConfigError, match="has no column messages; it has text"):
        read_chats("someone/chats", "train")


# --- training ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model with the vocabulary of taboo's mini world, which has learned nothing."""
    from playpen_trainers.demo import mini_instances, vocabulary

    folder = tmp_path_factory.mktemp("models") / "base"
    game = get_game("taboo")
    words = vocabulary(mini_instances(game, "train", 0))
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
    assert losses == [1, 2, 3, 4, 5, 6]
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


def test_the_order_in_which_recorded_episodes_ended_does_not_matter(base: Path, tmp_path: Path):
    one = config(base, trainer={"max_steps": 3})
    first = train("sft", one, tmp_path / "first")
    recorded = tmp_path / "first" / "demonstrations" / "episodes.jsonl"
    second = tmp_path / "second"
    shutil.copytree(recorded.parent, second / "demonstrations")
    lines = recorded.read_bytes().splitlines(keepends=True)
    (second / "demonstrations" / recorded.name).write_bytes(b"".join(reversed(lines)))
    again = train("sft", one, second)
    assert (first / "model.safetensors").read_bytes() == (again / "model.safetensors").read_bytes()


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


@pytest.mark.slow
@pytest.mark.parametrize("seed", LIFT_SEEDS)
def test_imitation_lifts_a_beginner_on_unseen_instances(tmp_path: Path, seed: int):
    beginner = make_beginner(tmp_path, seed)
    trained = train("sft", config_from(beginner, seed, LIFT_INSTANCES, LIFT), tmp_path / "out")
    start, change = lift(beginner, trained, seed)
    assert 0.2 < start < 0.6
    assert change.difference > LIFT_MARGIN
    assert change.p < LIFT_P
