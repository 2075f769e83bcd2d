"""The trainer `kto`: its loss, mismatched rows, labels and weights, that it helps.

What it shares with `dpo` is in test_preference_trainers.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import datasets
import msgspec
import pytest
import torch
from tests.trainers.gradients import check_gradient
from tests.trainers.lift_kit import config_from, lift, make_beginner
from tests.trainers.online_kit import logged
from tests.trainers.preference_kit import (
    CHAT,
    KTO_CASE,
    batch_of,
    check_same_batch,
    check_users_words_are_trained,
    config,
    labelled_rows,
    log_probability,
    own_tokens,
    recording,
    register_talk,
    stir,
    tiny_base,
)
from transformers import AutoModelForCausalLM
from trl import KTOConfig, KTOTrainer
from trl.trainer.kto_trainer import DataCollatorForUnpairedPreference

from playpen.training import ConfigError, DataTable, GamesTable, train
from playpen_trainers.kto import mismatched
from playpen_trainers.preferences.collators import UnpairedCollator
from playpen_trainers.preferences.rows import UnpairedRow

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

PAD = CHAT.tokenizer.pad_token_id


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_base(tmp_path_factory.mktemp("models") / "base")


@pytest.fixture(autouse=True)
def _games(monkeypatch: pytest.MonkeyPatch) -> None:
    register_talk(monkeypatch)


# --- gradients -----------------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", [True, False])
def test_a_batch_of_one_kind_trains_the_same_tokens(base: Path, tmp_path: Path, wanted: bool):
    rows = [msgspec.structs.replace(row, desirable=wanted) for row in labelled_rows()]
    trainer = KTO_CASE.untrained(base, tmp_path / "out", rows, desirable_weight=1.0)
    check_gradient(trainer, batch_of(trainer), KTO_CASE.expected(rows))


# --- contract with TRL ---------------------------------------------------------------------------


def by_hand(
    trainer: Any,
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
def test_the_loss_is_that_of_the_paper(base: Path, tmp_path: Path, options: dict[str, Any]):
    # A side question in a mismatched row would not be where `own_tokens` looks for it.
    main = [
        row for row in labelled_rows() if CHAT.tokenizer.decode(row.prompt).split()[-3] != "aside"
    ]
    trainer = KTO_CASE.untrained(
        base,
        tmp_path / "out",
        main,
        desirable_weight=1.1,
        undesirable_weight=0.7,
        per_device_train_batch_size=len(main),
        **options,
    )
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


def test_the_divergence_is_that_of_the_roles_own_words(base: Path, tmp_path: Path):
    """With TRL's own masks it would be another one."""
    rows = labelled_rows()
    trainer = KTO_CASE.untrained(
        base, tmp_path / "out", rows, per_device_train_batch_size=len(rows)
    )
    stir(trainer.model)
    trainer.model.eval()
    batch = batch_of(trainer)
    logps = trainer._compute_kl_logps(trainer.model, batch)
    for number, row in enumerate(rows):
        other = rows[number - 1]
        own = [False] * len(row.prompt) + own_tokens(CHAT, other.prompt, other.completion)[
            len(other.prompt) :
        ]
        expected = log_probability(trainer.model, row.prompt + other.completion, own)
        assert logps[number].item() == pytest.approx(expected, abs=1e-4)
    full = {**batch, "KL_completion_mask": batch["KL_attention_mask"]}
    assert not torch.allclose(trainer._compute_kl_logps(trainer.model, full), logps)


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
    check_same_batch(ours, theirs)


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
    check_users_words_are_trained(trainer)


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
    columns = mismatched(rows, 3)
    assert [row["mismatched"] for row in columns] == [
        row["KL_completion_ids"] for row in theirs.train_dataset
    ]


def test_batches_are_those_that_rows_were_mismatched_in(base: Path, tmp_path: Path):
    rows = labelled_rows()
    trainer = KTO_CASE.untrained(base, tmp_path / "out", rows, per_device_train_batch_size=3)
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
def test_weights(
    base: Path, tmp_path: Path, given: dict[str, float], expected: tuple[float, float]
):
    rows = labelled_rows()
    three = [row for row in rows if row.desirable][:3]
    four = [row for row in rows if not row.desirable][:4]
    trainer = KTO_CASE.untrained(base, tmp_path / "out", three + four, **given)
    assert (trainer.desirable_weight, trainer.undesirable_weight) == pytest.approx(expected)


# --- from play to a checkpoint -------------------------------------------------------------------


def test_recorded_runs_are_labelled(base: Path, tmp_path: Path):
    data = DataTable(runs=[recording(tmp_path / "run", "mixed", count=8)])
    train("kto", config(base, data=data, games=GamesTable()), tmp_path / "out")
    first = logged(tmp_path / "out")[0]
    assert (first["episodes"], first["episodes_played"]) == (8, 0)
    assert 0 < first["desirable"] < 1


# --- what is refused -----------------------------------------------------------------------------


def test_dialogues_of_one_kind_are_refused(base: Path, tmp_path: Path):
    data = DataTable(runs=[recording(tmp_path / "run", "wins", count=8)])
    with pytest.raises(ConfigError, match=r"all 24 dialogues are wanted; .* trainer\.label"):
        train("kto", config(base, data=data, games=GamesTable()), tmp_path / "out")
    assert not (tmp_path / "out" / "rows.jsonl").exists()


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
