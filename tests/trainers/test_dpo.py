"""The trainer `dpo`: its losses, where pairs come from, that it helps.

What it shares with `kto` is in test_preference_trainers.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, get_args, get_type_hints

import datasets
import pytest
import torch
from tests.trainers.gradients import check_gradient
from tests.trainers.lift_kit import config_from, lift, make_beginner
from tests.trainers.online_kit import logged
from tests.trainers.preference_kit import (
    CHAT,
    DPO_CASE,
    batch_of,
    check_plays,
    check_same_batch,
    check_users_words_are_trained,
    config,
    log_probability,
    own_tokens,
    recording,
    register_talk,
    stir,
    tiny_base,
    token_pairs,
    weights,
)
from transformers import AutoModelForCausalLM
from trl import DPOConfig, DPOTrainer
from trl.trainer.dpo_trainer import DataCollatorForPreference

from playpen.training import ConfigError, DataTable, GamesTable, RolloutTable, train
from playpen_trainers.dpo import DPOOptions
from playpen_trainers.preferences.collators import PairCollator
from playpen_trainers.preferences.rows import TokenPair

# The third plan, fixed before it was run on new seeds; docs/results.md has the runs of all three.
# The first one (dialogues with a learning rate of 3e-4) lost 14 points with seed 1, because chosen
# dialogues became less likely, too.  In the second one, replies of 500 instances were too few
# pairs: with seed 5 they missed the margin.  Options were chosen on validation instances, with
# seeds 0, 1, 3 and 4.
LIFT_SEEDS = [11, 12]
LIFT_MARGIN, LIFT_P = 0.03, 0.05
LIFT: dict[str, tuple[int, dict[str, Any]]] = {
    "dialogue": (3000, {"samples": 4, "learning_rate": 1e-4}),
    "turn": (1500, {"pairs": "turn", "samples": 1, "turns": "all", "learning_rate": 2e-4}),
}
LIFT_COMMON = {"per_device_train_batch_size": 32, "warmup_steps": 0.05, "beta": 0.3}

PAD = CHAT.tokenizer.pad_token_id

COLUMNS = ("prompt", "chosen", "chosen_mask", "rejected", "rejected_mask")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_base(tmp_path_factory.mktemp("models") / "base")


@pytest.fixture(autouse=True)
def _games(monkeypatch: pytest.MonkeyPatch) -> None:
    register_talk(monkeypatch)


# --- gradients -----------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", get_args(get_type_hints(DPOOptions)["loss_type"]))
def test_every_loss_trains_the_same_tokens(base: Path, tmp_path: Path, loss: str):
    rows = token_pairs()
    trainer = DPO_CASE.untrained(base, tmp_path / "out", rows, loss_type=loss, label_smoothing=0.1)
    stir(trainer.model)
    check_gradient(trainer, batch_of(trainer), DPO_CASE.expected(rows))


def test_pairs_of_single_replies(base: Path, tmp_path: Path):
    rows = [
        TokenPair(
            prompt=row.prompt, chosen=row.chosen[:2], chosen_mask=row.chosen_mask[:2],
            rejected=row.rejected[:1], rejected_mask=row.rejected_mask[:1], game="talk",
            instance="", role="a", better="", worse="", turn=0, difference=1.0, error=0.1,
        )
        for row in token_pairs()
        if row.chosen_mask[:2] == [1, 1] and row.rejected_mask[:1] == [1]
    ]  # fmt: skip
    assert len(rows) > 2
    trainer = DPO_CASE.untrained(base, tmp_path / "out", rows)
    check_gradient(trainer, batch_of(trainer), DPO_CASE.expected(rows))


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_the_adapters_dropout_is_used(base: Path, tmp_path: Path, dropout: float):
    """TRL switches all dropout off unless it is told not to."""
    trainer = DPO_CASE.untrained(
        base, tmp_path / "out", token_pairs(), lora_r=4, lora_dropout=dropout
    )
    stir(trainer.model)
    trainer.model.train()
    batch = trainer._prepare_inputs(batch_of(trainer))
    first, again = (trainer.compute_loss(trainer.model, batch).item() for _ in range(2))
    assert (first != again) is bool(dropout)


# --- contract with TRL ---------------------------------------------------------------------------


def by_hand(trainer: Any, reference: Any, rows: list[TokenPair]) -> float:
    """The loss of the paper (equation 7), from the probabilities of the role's own tokens."""
    losses = []
    for row in rows:
        margin = 0.0
        for sign, side in ((1, row.chosen), (-1, row.rejected)):
            own = own_tokens(CHAT, row.prompt, side)
            ids = row.prompt + side
            ours = log_probability(trainer.model, ids, own)
            margin += sign * (ours - log_probability(reference, ids, own))
        losses.append(math.log1p(math.exp(-0.1 * margin)))
    return sum(losses) / len(losses)


@pytest.mark.parametrize(
    "options", [{}, {"precompute_ref_log_probs": True}, {"lora_r": 4}], ids=str
)
def test_the_loss_is_that_of_the_paper(base: Path, tmp_path: Path, options: dict[str, Any]):
    rows = token_pairs()[:5]
    trainer = DPO_CASE.untrained(base, tmp_path / "out", rows, **options)
    assert (trainer.ref_model is None) is bool(options)
    stir(trainer.model)
    trainer.model.eval()
    loss = trainer.compute_loss(trainer.model, trainer._prepare_inputs(batch_of(trainer)))
    reference = AutoModelForCausalLM.from_pretrained(base).eval()
    expected = by_hand(trainer, reference, rows)
    assert abs(expected - math.log(2)) > 1e-3
    assert loss.item() == pytest.approx(expected, abs=1e-5)


def test_trl_reads_the_batch_that_we_make():
    theirs = DataCollatorForPreference(pad_token_id=PAD)(
        [{"prompt_ids": [5, 6], "chosen_ids": [7, 8], "rejected_ids": [9]}]
    )
    ours = PairCollator(PAD, 64)(
        [
            {
                "prompt": [5, 6], "chosen": [7, 8], "chosen_mask": [1, 1],
                "rejected": [9], "rejected_mask": [1],
            }
        ]
    )  # fmt: skip
    check_same_batch(ours, theirs)


def test_trl_gets_our_rows_untouched(base: Path, tmp_path: Path):
    rows = token_pairs()
    trainer = DPO_CASE.untrained(base, tmp_path / "out", rows)
    [batch, *_] = trainer.get_train_dataloader()
    sides = [row.prompt + side for row in rows for side in (row.chosen, row.rejected)]
    for ids, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True):
        assert ids[mask.bool()].tolist() in sides
    for row, column in zip(rows, trainer.train_dataset, strict=True):
        assert all(column[name] == getattr(row, name) for name in COLUMNS)


def test_trl_alone_would_train_the_users_words(base: Path, tmp_path: Path):
    """The reason for our mask.  If this fails, TRL has learned better, and ours may go."""
    trainer = DPOTrainer(
        model=str(base),
        args=DPOConfig(
            str(tmp_path), use_cpu=True, bf16=False, report_to="none", gradient_checkpointing=False
        ),
        train_dataset=datasets.Dataset.from_dict(
            {
                "prompt": [[{"role": "user", "content": "one four"}]],
                "chosen": [[
                    {"role": "assistant", "content": "alpha"},
                    {"role": "user", "content": "three"},
                    {"role": "assistant", "content": "delta"},
                ]],
                "rejected": [[{"role": "assistant", "content": "beta"}]],
            }
        ),
        processing_class=CHAT.tokenizer,
    )  # fmt: skip
    check_users_words_are_trained(trainer)


# --- from play to a checkpoint -------------------------------------------------------------------


def test_the_same_seed_gives_the_same_pairs_and_weights(base: Path, tmp_path: Path):
    outcomes = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        rollout = RolloutTable(max_new_tokens=3, seed=seed)
        final = train("dpo", config(base, rollout=rollout), tmp_path / name)
        outcomes.append(((tmp_path / name / "pairs.jsonl").read_bytes(), weights(final)))
    (pairs_a, a), (pairs_b, b), (pairs_c, _) = outcomes
    assert pairs_a == pairs_b != pairs_c
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_an_adapter_is_trained_further(base: Path, tmp_path: Path):
    first = train(
        "dpo", config(base, trainer={"lora_r": 4, "learning_rate": 0.03}), tmp_path / "first"
    )
    options = {"logging_steps": 1, "save_steps": 1, "max_steps": 3}
    again = config(first, trainer=options)
    final = train("dpo", again, tmp_path / "second")
    # The reference is the adapter as it was, not the model without it.
    assert logged(tmp_path / "second")[1]["loss"] == pytest.approx(math.log(2), abs=1e-5)
    assert any(not torch.equal(weights(final)[name], old) for name, old in weights(first).items())
    assert {path.name for path in final.iterdir()} == {path.name for path in first.iterdir()}
    check_plays(final)


def test_recorded_runs_are_compared(base: Path, tmp_path: Path):
    runs = [recording(tmp_path / name, name) for name in ("wins", "loses")]
    data = DataTable(runs=runs)
    train("dpo", config(base, data=data, games=GamesTable()), tmp_path / "out")
    first = logged(tmp_path / "out")[0]
    assert (first["episodes"], first["success"], first["episodes_played"]) == (12, 0.5, 0)
    rows = DPO_CASE.learned(tmp_path / "out")
    assert len(rows) == 6 * 3  # a, the question aside, and b
    for row in rows:
        said = CHAT.tokenizer.decode(
            [i for i, own in zip(row.chosen, row.chosen_mask, strict=True) if own]
        )
        assert set(said.split()) == {"alpha", "beta", "<end>"}


# --- what is refused -----------------------------------------------------------------------------


def test_nothing_to_compare_is_said_in_a_line(base: Path, tmp_path: Path):
    with pytest.raises(ConfigError, match=r"none of the 64 episodes .* lower trainer\.min_margin"):
        train("dpo", config(base, trainer={"min_margin": 2.0}), tmp_path)
    assert not (tmp_path / "pairs.jsonl").exists()


def test_a_choice_of_pairs(base: Path, tmp_path: Path):
    train("dpo", config(base, trainer={"max_pairs": 5}), tmp_path)
    first = logged(tmp_path)[0]
    assert first["rows"] == 5 < first["pairs"]


# --- learning ------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(LIFT))
@pytest.mark.parametrize("seed", LIFT_SEEDS)
def test_preferences_lift_a_beginner_on_unseen_instances(tmp_path: Path, seed: int, kind: str):
    beginner = make_beginner(tmp_path, seed)
    count, options = LIFT[kind]
    wanted = config_from(beginner, seed, count, {**LIFT_COMMON, **options})
    trained = train("dpo", wanted, tmp_path / "out")
    start, change = lift(beginner, trained, seed)
    print({name: value for name, value in logged(tmp_path / "out")[0].items() if name != "step"})
    assert 0.2 < start < 0.6
    assert change.difference > LIFT_MARGIN
    assert change.p < LIFT_P
