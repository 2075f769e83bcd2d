"""The trainer `kto`: what is trained, how rows are labelled and weighed, how it resumes."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import msgspec
import pytest
import torch
from tests.trainers.lift_kit import config_from, lift, make_beginner
from tests.trainers.preference_kit import (
    chat_format,
    check_gradient,
    config,
    log_probability,
    own_tokens,
    register_talk,
    scripted,
    shifted,
    spoken,
    stir,
    tiny_base,
    trained_tokens,
)
from transformers import AutoModelForCausalLM
from trl import KTOConfig, KTOTrainer
from trl.trainer.kto_trainer import DataCollatorForUnpairedPreference

from playpen import get_game, make_player
from playpen import play as play_episodes
from playpen.instance_sets import parse_instances
from playpen.rewards import Rewards, ScoreReward
from playpen.runner import create_run, make_cast, play_run
from playpen.training import ConfigError, DataTable, GamesTable, LearnerTable, train
from playpen_trainers.kto import DialogueKTOTrainer, mismatched
from playpen_trainers.preferences import trainer as preference_trainer
from playpen_trainers.preferences.collators import UnpairedCollator
from playpen_trainers.preferences.returns import role_returns
from playpen_trainers.preferences.rows import UnpairedRow
from playpen_trainers.preferences.unpaired_rows import unpaired_rows
from playpen_trainers.seats import Seating

# The second plan, fixed before it was run on new seeds.  In the first one (4000 dialogues, wanted
# if they were won) seed 2 missed the margin.  Options were chosen on validation instances, with
# seeds 0, 3 and 4.
LIFT_SEEDS = [11, 12]
LIFT_MARGIN, LIFT_P = 0.03, 0.05
LIFT_INSTANCES = 3000
LIFT = {
    "per_device_train_batch_size": 32, "warmup_steps": 0.05, "samples": 8, "label": "group",
    "beta": 1.0, "learning_rate": 1e-4,
}  # fmt: skip

CHAT = chat_format()
PAD = CHAT.tokenizer.pad_token_id

Built = Callable[..., DialogueKTOTrainer]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_base(tmp_path_factory.mktemp("models") / "base")


def unpaired() -> list[UnpairedRow]:
    """Rows of one and two turns, wanted and not, with empty replies and side questions."""
    episodes = scripted(
        "alpha beta, hidden, gamma, delta",
        "beta, hidden, gamma, alpha",
        "beta, hidden, gamma, ",
        "delta, boom",
        "boom",
        ", beta, gamma, delta",
    )
    parts = role_returns(
        [(e, ("a",)) for e in episodes], Rewards([ScoreReward()]), share_fault=False
    )
    found = unpaired_rows(CHAT, parts)
    assert len({len(row.completion) for row in found}) > 3
    return found


@pytest.fixture
def build(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Built:
    """Makes the trainer of `kto` with the rows given, just before it would train."""
    made: list[DialogueKTOTrainer] = []

    def caught(trainer: Any, run: Any, *_: Any) -> Path:
        made.append(trainer)
        return Path(run.output)

    def make(rows: list[UnpairedRow], **options: Any) -> DialogueKTOTrainer:
        output = tmp_path / str(len(made))
        output.mkdir()
        lines = [msgspec.json.encode(line) for line in ({}, *rows)]
        (output / "rows.jsonl").write_bytes(b"\n".join(lines))
        monkeypatch.setattr(preference_trainer, "fit", caught)
        train("kto", config(base, games=GamesTable(), trainer=options), output)
        return made[-1]

    return make


def batch_of(trainer: DialogueKTOTrainer) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = trainer.data_collator(list(trainer.train_dataset))
    return found


def expected_of(rows: list[UnpairedRow]) -> list[list[bool]]:
    return [own_tokens(CHAT, row.prompt, row.completion) for row in rows]


# --- gradients -----------------------------------------------------------------------------------


@pytest.mark.parametrize("rank", [0, 4], ids=["full", "lora"])
@pytest.mark.parametrize("loss", ["kto", "apo_zero_unpaired"])
def test_exactly_the_learners_own_tokens_are_trained(build: Built, rank: int, loss: str):
    rows = unpaired()
    trainer = build(rows, lora_r=rank, loss_type=loss)
    check_gradient(trainer, batch_of(trainer), expected_of(rows))
    stir(trainer.model)
    check_gradient(trainer, batch_of(trainer), expected_of(rows))
    found = trained_tokens(trainer, batch_of(trainer)).sum(dim=1).tolist()
    assert set(found) == {2, 3, 4, 5}  # 3: one of the replies is empty


@pytest.mark.parametrize("by", [-1, 1])
@pytest.mark.parametrize("rank", [0, 4], ids=["full", "lora"])
def test_a_mask_that_is_shifted_by_a_token_is_noticed(build: Built, by: int, rank: int):
    rows = unpaired()
    trainer = build(rows, lora_r=rank)
    with pytest.raises(AssertionError, match="wrongly trained"):
        check_gradient(trainer, shifted(batch_of(trainer), by), expected_of(rows))


@pytest.mark.parametrize("wanted", [True, False])
def test_a_batch_of_one_kind_trains_the_same_tokens(build: Built, wanted: bool):
    rows = [msgspec.structs.replace(row, desirable=wanted) for row in unpaired()]
    trainer = build(rows, desirable_weight=1.0)
    check_gradient(trainer, batch_of(trainer), expected_of(rows))


def test_an_all_masked_row_is_not_trained(build: Built):
    rows = unpaired()
    trainer = build(rows)
    batch = batch_of(trainer)
    batch["completion_mask"][1] = 0
    expected = expected_of(rows)
    expected[1] = [False]
    check_gradient(trainer, batch, expected)
    batch["completion_mask"][:] = 0
    assert not trained_tokens(trainer, batch).any()


@pytest.mark.parametrize("limit", [8, 9, 12, 20])
def test_what_is_beyond_the_limit_is_not_trained(build: Built, limit: int):
    rows = unpaired()
    trainer = build(rows, max_length=limit)
    fit = [row for row in rows if any(own_tokens(CHAT, row.prompt, row.completion)[:limit])]
    assert 0 < len(fit) == len(trainer.train_dataset)
    batch = batch_of(trainer)
    assert max(batch["input_ids"].size(1), batch["KL_input_ids"].size(1)) <= limit
    check_gradient(trainer, batch, [row[:limit] for row in expected_of(fit)])


# --- contract with TRL ---------------------------------------------------------------------------


def by_hand(
    trainer: DialogueKTOTrainer,
    reference: Any,
    rows: list[UnpairedRow],
    weights: tuple[float, float],
) -> tuple[float, float]:
    """Loss and divergence of the paper (equations 7 and 8), from the role's own tokens."""

    def gain(prompt: list[int], completion: list[int]) -> float:
        own = own_tokens(CHAT, prompt, completion)
        ids = prompt + completion
        return log_probability(trainer.model, ids, own) - log_probability(reference, ids, own)

    moved = [gain(row.prompt, rows[n - 1].completion) for n, row in enumerate(rows)]
    divergence = max(0.0, sum(moved) / len(moved))
    losses = []
    for row in rows:
        better = 0.1 * (gain(row.prompt, row.completion) - divergence)
        value = 1 / (1 + math.exp(-better if row.desirable else better))
        losses.append(weights[0 if row.desirable else 1] * (1 - value))
    return sum(losses) / len(losses), divergence


@pytest.mark.parametrize(
    "options", [{}, {"precompute_ref_log_probs": True}, {"lora_r": 4}], ids=str
)
def test_the_loss_is_that_of_the_paper(build: Built, base: Path, options: dict[str, Any]):
    # A side question in a mismatched row would not be where `own_tokens` looks for it.
    main = [row for row in unpaired() if CHAT.tokenizer.decode(row.prompt).split()[-3] != "aside"]
    trainer = build(
        main, desirable_weight=1.1, undesirable_weight=0.7, per_device_train_batch_size=len(main),
        **options,
    )  # fmt: skip
    assert (trainer.ref_model is None) is bool(options)
    reference = AutoModelForCausalLM.from_pretrained(base).eval()
    divergences = []
    for _ in range(4):
        stir(trainer.model)
        trainer.model.eval()
        loss = trainer.compute_loss(trainer.model, trainer._prepare_inputs(batch_of(trainer)))
        expected, divergence = by_hand(trainer, reference, main, (1.1, 0.7))
        assert loss.item() == pytest.approx(expected, abs=1e-5)
        assert trainer._metrics["eval"]["kl"][-1] == pytest.approx(divergence, abs=1e-4)
        divergences.append(divergence)
    assert len(main) > 3 and max(divergences) > 0.01


def test_the_divergence_is_that_of_the_roles_own_words(build: Built, base: Path):
    """With TRL's own masks it would be another one."""
    rows = unpaired()
    trainer = build(rows, per_device_train_batch_size=len(rows))
    stir(trainer.model)
    trainer.model.eval()
    batch = batch_of(trainer)
    found = trainer._compute_kl_logps(trainer.model, batch)
    for number, row in enumerate(rows):
        other = rows[number - 1]
        own = [False] * len(row.prompt) + own_tokens(CHAT, other.prompt, other.completion)[
            len(other.prompt) :
        ]
        expected = log_probability(trainer.model, row.prompt + other.completion, own)
        assert found[number].item() == pytest.approx(expected, abs=1e-4)
    full = {**batch, "KL_completion_mask": batch["KL_attention_mask"]}
    assert not torch.allclose(trainer._compute_kl_logps(trainer.model, full), found)


def test_trl_reads_the_batch_that_we_make():
    theirs = DataCollatorForUnpairedPreference(pad_token_id=PAD)(
        [
            {
                "prompt_ids": [5, 6],
                "completion_ids": [7, 8],
                "KL_completion_ids": [9],
                "label": True,
            },
            {"prompt_ids": [5], "completion_ids": [9], "KL_completion_ids": [7, 8], "label": False},
        ]
    )
    ours = UnpairedCollator(PAD, 64)(
        [
            {
                "prompt": [5, 6], "completion": [7, 8], "completion_mask": [1, 1],
                "mismatched": [9], "mismatched_mask": [1], "label": True,
            },
            {
                "prompt": [5], "completion": [9], "completion_mask": [1], "mismatched": [7, 8],
                "mismatched_mask": [1, 1], "label": False,
            },
        ]
    )  # fmt: skip
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        assert torch.equal(ours[name], value), name


def trl_trainer(base: Path, output: Path, rows: list[dict[str, Any]], size: int) -> KTOTrainer:
    return KTOTrainer(
        model=str(base),
        args=KTOConfig(
            str(output), use_cpu=True, bf16=False, report_to="none", gradient_checkpointing=False,
            per_device_train_batch_size=size,
        ),
        train_dataset=datasets.Dataset.from_list(rows),
        processing_class=CHAT.tokenizer,
    )  # fmt: skip


def chat(*texts: str) -> list[dict[str, str]]:
    return [
        {"role": ("assistant", "user")[place % 2], "content": text}
        for place, text in enumerate(texts)
    ]


def test_trl_alone_would_train_the_users_words(base: Path, tmp_path: Path):
    """The reason for our mask.  If this fails, TRL has learned better, and ours may go."""
    question = [{"role": "user", "content": "one four"}]
    trainer = trl_trainer(
        base,
        tmp_path,
        [
            {"prompt": question, "completion": chat("alpha", "three", "delta"), "label": True},
            {"prompt": question, "completion": chat("beta"), "label": False},
        ],
        2,
    )
    [batch] = trainer.get_train_dataloader()
    trained = trained_tokens(trainer, batch)[0]
    said = CHAT.tokenizer.convert_ids_to_tokens(batch["input_ids"][0][trained].tolist())
    assert said == ["alpha", "<end>", "<user>", "three", "<end>", "<assistant>", "delta", "<end>"]
    with pytest.raises(AssertionError, match="wrongly trained"):
        check_gradient(trainer, batch, [spoken(CHAT, ids) for ids in batch["input_ids"].tolist()])


def test_rows_are_mismatched_as_trl_does_it(base: Path, tmp_path: Path):
    words = ["alpha", "beta", "gamma", "delta", "hidden", "boom"]
    question = [{"role": "user", "content": "one four"}]
    theirs = trl_trainer(
        base,
        tmp_path,
        [{"prompt": question, "completion": chat(word), "label": word == "beta"} for word in words],
        3,
    )
    rows = [
        UnpairedRow(
            prompt=row["prompt_ids"], completion=row["completion_ids"],
            mask=[1] * len(row["completion_ids"]), desirable=row["label"], game="", instance="",
            role="", episode="", value=0.0,
        )
        for row in theirs.train_dataset
    ]  # fmt: skip
    found = mismatched(rows, 3)
    assert [row["mismatched"] for row in found] == [
        row["KL_completion_ids"] for row in theirs.train_dataset
    ]


def test_batches_are_those_that_rows_were_mismatched_in(build: Built):
    rows = unpaired()
    trainer = build(rows, per_device_train_batch_size=3)
    for number, batch in enumerate(trainer.get_train_dataloader()):
        expected = trainer.data_collator(list(trainer.train_dataset)[3 * number : 3 * number + 3])
        for name, value in expected.items():
            assert torch.equal(batch[name], value)


# --- weights -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, (1.0, 3 / 4)),
        ({"desirable_weight": 1.2}, (1.2, 1.0)),
        ({"undesirable_weight": 0.5}, (1.0, 0.5)),
        ({"desirable_weight": 2.0, "undesirable_weight": 3.0}, (2.0, 3.0)),
    ],
)
def test_weights(build: Built, given: dict[str, float], expected: tuple[float, float]):
    rows = unpaired()
    three = [row for row in rows if row.desirable][:3]
    four = [row for row in rows if not row.desirable][:4]
    trainer = build(three + four, **given)
    assert (trainer.desirable_weight, trainer.undesirable_weight) == pytest.approx(expected)


# --- from play to a checkpoint -------------------------------------------------------------------


def logged(output: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    [file] = folder.glob("*model.safetensors")
    return load_file(file)


@pytest.mark.parametrize("rank", [0, 4], ids=["full", "lora"])
@pytest.mark.parametrize("label", ["success", "threshold", "group"])
def test_from_play_to_a_player(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rank: int, label: str
):
    register_talk(monkeypatch)
    options = {"lora_r": rank, "logging_steps": 1, "save_steps": 2, "label": label}
    final = train("kto", config(base, trainer=options), tmp_path)
    saved = {path.name for path in final.iterdir()}
    assert ("adapter_model.safetensors" if rank else "model.safetensors") in saved
    assert not any(name.endswith((".bin", ".pt", ".pkl")) for name in saved)
    first, *others = logged(tmp_path)
    lines = (tmp_path / "rows.jsonl").read_text().splitlines()[1:]
    rows = [msgspec.json.decode(line, type=UnpairedRow) for line in lines]
    assert first["episodes"] == 64 and first["rows"] == len(rows) > 8
    assert first["desirable"] == pytest.approx(sum(r.desirable for r in rows) / len(rows))
    assert first["sampled_tokens"] >= first["trained_tokens"] > 0
    assert [line["step"] for line in others] == [1, 2]
    assert {row.role for row in rows} == {"a", "b"}
    game = get_game("talk")
    [instance] = parse_instances(game.generate("validation", n=1), game)
    [episode] = play_episodes(game, make_player(f"hf:{final}?max_new_tokens=3"), [instance])
    assert episode.failure is None and episode.trajectory("a") is not None


class Killed(BaseException):
    pass


@pytest.mark.parametrize("rank", [0, 4], ids=["full", "lora"])
def test_resumed_training_gives_the_same_weights(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rank: int
):
    register_talk(monkeypatch)
    options = {
        "max_steps": 4, "save_steps": 2, "logging_steps": 1, "lora_r": rank, "lora_dropout": 0.1,
    }  # fmt: skip
    wanted = config(base, trainer=options)
    undisturbed = weights(train("kto", wanted, tmp_path / "undisturbed"))
    output = tmp_path / "killed"
    original = DialogueKTOTrainer.training_step

    def dies(self: Any, *args: Any, **kwargs: Any) -> Any:
        if self.state.global_step == 3:
            raise Killed
        return original(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(DialogueKTOTrainer, "training_step", dies)
        with pytest.raises(Killed):
            train("kto", wanted, output)
    assert (output / "checkpoints" / "checkpoint-2").is_dir()
    with monkeypatch.context() as patch:
        patch.setattr(Seating, "run", lambda self, jobs: pytest.fail("played again"))
        resumed = weights(train("kto", wanted, output))
    assert all(torch.equal(resumed[name], undisturbed[name]) for name in undisturbed)
    full, cut = [
        [(line["step"], line.get("loss")) for line in logged(tmp_path / name)]
        for name in ("undisturbed", "killed")
    ]
    assert full == cut


def mixed(conversation: Any) -> str:
    return ("alpha", "delta")[conversation.seed % 2]


def wins(conversation: Any) -> str:
    return "alpha"


def recording(folder: Path, speaker: str) -> Path:
    game = get_game("talk")
    found = parse_instances(game.generate("train", n=8), game, split="train")
    spec = f"program:tests.trainers.test_kto:{speaker}"
    run = create_run(folder, {"talk": found}, make_cast([(None, spec)]))
    play_run(run)
    return folder


def test_recorded_runs_are_labelled(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    register_talk(monkeypatch)
    data = DataTable(runs=[str(recording(tmp_path / "run", "mixed"))])
    train("kto", config(base, data=data, games=GamesTable()), tmp_path / "out")
    first = logged(tmp_path / "out")[0]
    assert (first["episodes"], first["episodes_played"]) == (8, 0)
    assert 0 < first["desirable"] < 1


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "trainer", "line"),
    [
        (
            {},
            {"per_device_train_batch_size": 1},
            r"trainer\.per_device_train_batch_size = 1: .* write at least 2, or choose",
        ),
        ({}, {"label": "group", "samples": 1}, r"trainer\.samples = 1: the label 'group' needs"),
        ({}, {"label": "won"}, r"trainer.*label"),
        ({}, {"loss_type": "sigmoid"}, r"trainer.*loss_type"),
        ({}, {"desirable_weigth": 1.0}, r"desirable_weigth.*desirable_weight"),
        (
            {"learner": LearnerTable(player="openai:gpt-5@http://localhost:1/v1")},
            {},
            r"learner\.player = 'openai:gpt-5.*' cannot be trained; name a model as hf:NAME",
        ),
    ],
)
def test_wrong_configurations_are_refused_before_anything_is_loaded(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes, trainer, line: str
):
    register_talk(monkeypatch)
    monkeypatch.setattr(preference_trainer, "seated_learner", lambda *_: pytest.fail("loaded"))
    with pytest.raises(ConfigError, match=line) as caught:
        train("kto", config(base, trainer=trainer, **changes), tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_dialogues_of_one_kind_are_refused(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    register_talk(monkeypatch)
    data = DataTable(runs=[str(recording(tmp_path / "run", "wins"))])
    with pytest.raises(ConfigError, match=r"all 24 dialogues are wanted; .* trainer\.label"):
        train("kto", config(base, data=data, games=GamesTable()), tmp_path / "out")
    assert not (tmp_path / "out" / "rows.jsonl").exists()


def test_rows_that_do_not_fit_are_refused(build: Built):
    with pytest.raises(ConfigError, match=r"within 3 tokens; raise trainer\.max_length"):
        build(unpaired(), max_length=3)


# --- learning ------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("seed", LIFT_SEEDS)
def test_wanted_dialogues_lift_a_beginner_on_unseen_instances(tmp_path: Path, seed: int):
    beginner = make_beginner(tmp_path, seed)
    trained = train("kto", config_from(beginner, seed, LIFT_INSTANCES, LIFT), tmp_path / "out")
    start, change = lift(beginner, trained, seed)
    print({name: value for name, value in logged(tmp_path / "out")[0].items() if name != "step"})
    assert 0.2 < start < 0.6
    assert change.difference > LIFT_MARGIN
    assert change.p < LIFT_P
