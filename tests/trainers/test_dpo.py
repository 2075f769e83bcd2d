"""The trainer `dpo`: what is trained, where pairs come from, what is refused, how it resumes."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args, get_type_hints

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
from trl import DPOConfig, DPOTrainer
from trl.trainer.dpo_trainer import DataCollatorForPreference

from playpen import get_game, make_player
from playpen import play as play_episodes
from playpen.instance_sets import parse_instances
from playpen.rewards import Rewards, ScoreReward
from playpen.runner import create_run, make_cast, play_run
from playpen.training import (
    ConfigError,
    DataTable,
    GamesTable,
    LearnerTable,
    RolloutTable,
    TeacherTable,
    train,
)
from playpen.training.plan import plan_training
from playpen_trainers.dpo import DialogueDPOTrainer, DPOOptions
from playpen_trainers.preferences import trainer as preference_trainer
from playpen_trainers.preferences.collators import PairCollator
from playpen_trainers.preferences.dialogue_pairs import dialogue_pairs
from playpen_trainers.preferences.returns import role_returns
from playpen_trainers.preferences.rows import TokenPair
from playpen_trainers.seats import Seating

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

CHAT = chat_format()
PAD = CHAT.tokenizer.pad_token_id

COLUMNS = ("prompt", "chosen", "chosen_mask", "rejected", "rejected_mask")

Built = Callable[..., DialogueDPOTrainer]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_base(tmp_path_factory.mktemp("models") / "base")


def pairs() -> list[TokenPair]:
    """Pairs of one to three turns, with empty replies and side questions."""
    episodes = scripted(
        "alpha beta, hidden, gamma, delta",
        "beta, hidden, gamma, alpha",
        "beta, hidden, gamma, ",
        "delta, boom",
        "boom",
        ", beta, gamma, delta",
    )
    rewards = Rewards([ScoreReward(ScoreReward.Options(aborted=-1.0))])
    parts = role_returns([(episode, ("a",)) for episode in episodes], rewards, share_fault=False)
    found = dialogue_pairs(CHAT, parts, match="all")
    assert len({len(row.chosen) for row in found}) > 3
    return found


@pytest.fixture
def build(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Built:
    """Makes the trainer of `dpo` with the pairs given, just before it would train."""
    made: list[DialogueDPOTrainer] = []

    def caught(trainer: Any, run: Any, *_: Any) -> Path:
        made.append(trainer)
        return Path(run.output)

    def make(rows: list[TokenPair], **options: Any) -> DialogueDPOTrainer:
        output = tmp_path / str(len(made))
        output.mkdir()
        lines = [msgspec.json.encode(line) for line in ({}, *rows)]
        (output / "pairs.jsonl").write_bytes(b"\n".join(lines))
        monkeypatch.setattr(preference_trainer, "fit", caught)
        train("dpo", config(base, games=GamesTable(), trainer=options), output)
        return made[-1]

    return make


def batch_of(trainer: DialogueDPOTrainer) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = trainer.data_collator(list(trainer.train_dataset))
    return found


def expected_of(rows: list[TokenPair]) -> list[list[bool]]:
    chosen = [own_tokens(CHAT, row.prompt, row.chosen) for row in rows]
    return chosen + [own_tokens(CHAT, row.prompt, row.rejected) for row in rows]


# --- gradients -----------------------------------------------------------------------------------


@pytest.mark.parametrize("rank", [0, 4], ids=["full", "lora"])
def test_exactly_the_learners_own_tokens_are_trained(build: Built, rank: int):
    rows = pairs()
    trainer = build(rows, lora_r=rank)
    expected = expected_of(rows)
    check_gradient(trainer, batch_of(trainer), expected)
    stir(trainer.model)
    check_gradient(trainer, batch_of(trainer), expected)
    found = trained_tokens(trainer, batch_of(trainer)).sum(dim=1).tolist()
    assert 1 in found  # a reply that is empty but for the end of its turn
    assert len(set(found)) > 3


@pytest.mark.parametrize("by", [-1, 1])
@pytest.mark.parametrize("rank", [0, 4], ids=["full", "lora"])
def test_a_mask_that_is_shifted_by_a_token_is_noticed(build: Built, by: int, rank: int):
    rows = pairs()
    trainer = build(rows, lora_r=rank)
    with pytest.raises(AssertionError, match="wrongly trained"):
        check_gradient(trainer, shifted(batch_of(trainer), by), expected_of(rows))


LOSSES = get_args(get_type_hints(DPOOptions)["loss_type"])


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_trains_the_same_tokens(build: Built, loss: str):
    rows = pairs()
    trainer = build(rows, loss_type=loss, label_smoothing=0.1)
    stir(trainer.model)
    check_gradient(trainer, batch_of(trainer), expected_of(rows))


def test_pairs_of_single_replies(build: Built):
    rows = [
        TokenPair(
            prompt=row.prompt, chosen=row.chosen[:2], chosen_mask=row.chosen_mask[:2],
            rejected=row.rejected[:1], rejected_mask=row.rejected_mask[:1], game="talk",
            instance="", role="a", better="", worse="", turn=0, difference=1.0, error=0.1,
        )
        for row in pairs()
        if row.chosen_mask[:2] == [1, 1] and row.rejected_mask[:1] == [1]
    ]  # fmt: skip
    assert len(rows) > 2
    trainer = build(rows)
    check_gradient(trainer, batch_of(trainer), expected_of(rows))


def test_an_all_masked_row_is_not_trained(build: Built):
    rows = pairs()
    trainer = build(rows)
    masked = msgspec.structs.replace(
        rows[1],
        chosen_mask=[0] * len(rows[1].chosen),
        rejected_mask=[0] * len(rows[1].rejected),
    )
    columns = [{name: getattr(row, name) for name in COLUMNS} for row in (rows[0], masked)]
    expected = expected_of([rows[0], rows[1]])
    expected[1], expected[3] = [False], [False]
    check_gradient(trainer, trainer.data_collator(columns), expected)
    alone = trainer.data_collator(columns[1:])
    assert not trained_tokens(trainer, alone).any()


@pytest.mark.parametrize("limit", [8, 9, 12, 20])
def test_what_is_beyond_the_limit_is_not_trained(build: Built, limit: int):
    rows = pairs()
    trainer = build(rows, max_length=limit)
    fit = [
        row
        for row in rows
        if any(own_tokens(CHAT, row.prompt, row.chosen)[:limit])
        and any(own_tokens(CHAT, row.prompt, row.rejected)[:limit])
    ]
    assert 0 < len(fit) == len(trainer.train_dataset)
    batch = batch_of(trainer)
    assert batch["input_ids"].size(1) <= limit
    check_gradient(trainer, batch, [row[:limit] for row in expected_of(fit)])


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_the_adapters_dropout_is_used(build: Built, dropout: float):
    """TRL switches all dropout off unless it is told not to."""
    trainer = build(pairs(), lora_r=4, lora_dropout=dropout)
    stir(trainer.model)
    trainer.model.train()
    batch = trainer._prepare_inputs(batch_of(trainer))
    first, again = (trainer.compute_loss(trainer.model, batch).item() for _ in range(2))
    assert (first != again) is bool(dropout)


# --- contract with TRL ---------------------------------------------------------------------------


def by_hand(trainer: DialogueDPOTrainer, reference: Any, rows: list[TokenPair]) -> float:
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
def test_the_loss_is_that_of_the_paper(build: Built, base: Path, options: dict[str, Any]):
    rows = pairs()[:5]
    trainer = build(rows, **options)
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
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        assert torch.equal(ours[name], value), name


def test_trl_gets_our_rows_untouched(build: Built):
    rows = pairs()
    trainer = build(rows)
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
    [batch] = trainer.get_train_dataloader()
    trained = trained_tokens(trainer, batch)[0]
    said = CHAT.tokenizer.convert_ids_to_tokens(batch["input_ids"][0][trained].tolist())
    assert said == ["alpha", "<end>", "<user>", "three", "<end>", "<assistant>", "delta", "<end>"]
    with pytest.raises(AssertionError, match="wrongly trained"):
        check_gradient(trainer, batch, [spoken(CHAT, ids) for ids in batch["input_ids"].tolist()])


# --- from play to a checkpoint -------------------------------------------------------------------


def logged(output: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    [file] = folder.glob("*model.safetensors")
    return load_file(file)


@pytest.mark.parametrize("kind", ["dialogue", "turn"])
@pytest.mark.parametrize("rank", [0, 4], ids=["full", "lora"])
def test_from_play_to_a_player(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, rank: int
):
    register_talk(monkeypatch)
    options = {"pairs": kind, "lora_r": rank, "logging_steps": 1, "save_steps": 2}
    final = train("dpo", config(base, trainer=options), tmp_path)
    assert final == tmp_path / "final"
    saved = {path.name for path in final.iterdir()}
    assert ("adapter_model.safetensors" if rank else "model.safetensors") in saved
    assert not any(name.endswith((".bin", ".pt", ".pkl")) for name in saved)
    first, *others = logged(tmp_path)
    lines = (tmp_path / "pairs.jsonl").read_text().splitlines()
    assert first["episodes"] == 64 and first["pairs"] == len(lines) - 1 == first["rows"] > 4
    assert first["sampled_tokens"] > first["trained_tokens"] > 0
    assert (first["episodes_played"] > 64) is (kind == "turn")
    assert [line["step"] for line in others] == [1, 2]
    for line in lines[1:]:
        row = msgspec.json.decode(line, type=TokenPair)
        assert row.game == "talk" and row.role in ("a", "b") and row.difference > 0
        assert (row.turn is None, row.error is None) == ((kind == "dialogue"),) * 2
        assert any(own_tokens(CHAT, row.prompt, row.chosen))
    game = get_game("talk")
    [instance] = parse_instances(game.generate("validation", n=1), game)
    [episode] = play_episodes(game, make_player(f"hf:{final}?max_new_tokens=3"), [instance])
    assert episode.failure is None and episode.trajectory("a") is not None


def test_the_same_seed_gives_the_same_pairs_and_weights(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    register_talk(monkeypatch)
    outcomes = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        rollout = RolloutTable(max_new_tokens=3, seed=seed)
        final = train("dpo", config(base, rollout=rollout), tmp_path / name)
        outcomes.append(((tmp_path / name / "pairs.jsonl").read_bytes(), weights(final)))
    (pairs_a, a), (pairs_b, b), (pairs_c, _) = outcomes
    assert pairs_a == pairs_b != pairs_c
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_an_adapter_is_trained_further(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    register_talk(monkeypatch)
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
    game = get_game("talk")
    [instance] = parse_instances(game.generate("validation", n=1), game)
    [episode] = play_episodes(game, make_player(f"hf:{final}?max_new_tokens=3"), [instance])
    assert episode.failure is None


class Killed(BaseException):
    pass


@pytest.mark.parametrize(
    ("kind", "rank", "further"),
    [("dialogue", 0, False), ("turn", 0, False), ("dialogue", 4, False), ("dialogue", 4, True)],
    ids=["full", "turn", "lora", "lora further"],
)
def test_resumed_training_gives_the_same_weights(
    base: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    rank: int,
    further: bool,
):
    register_talk(monkeypatch)
    if further:
        trained = {"lora_r": rank, "learning_rate": 0.03}
        base = train("dpo", config(base, trainer=trained), tmp_path / "before")
    options = {
        "max_steps": 4, "save_steps": 2, "logging_steps": 1, "lora_r": rank, "lora_dropout": 0.1,
        "pairs": kind,
    }  # fmt: skip
    wanted = config(base, trainer=options)
    undisturbed = weights(train("dpo", wanted, tmp_path / "undisturbed"))

    output = tmp_path / "killed"
    original = DialogueDPOTrainer.training_step
    steps = []

    def dies(self: Any, *args: Any, **kwargs: Any) -> Any:
        steps.append(self.state.global_step)
        if steps[-1] == 3:
            raise Killed
        return original(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(DialogueDPOTrainer, "training_step", dies)
        with pytest.raises(Killed):
            train("dpo", wanted, output)
    assert steps == [0, 1, 2, 3]
    with monkeypatch.context() as patch:
        patch.setattr(Seating, "run", lambda self, jobs: pytest.fail("played again"))
        resumed = weights(train("dpo", wanted, output))
    assert all(torch.equal(resumed[name], undisturbed[name]) for name in undisturbed)
    [full, cut] = [
        [(line["step"], line.get("loss")) for line in logged(tmp_path / name)]
        for name in ("undisturbed", "killed")
    ]
    assert full == cut


def recording(folder: Path, speaker: str) -> Path:
    game = get_game("talk")
    found = parse_instances(game.generate("train", n=6), game, split="train")
    spec = f"program:tests.trainers.test_dpo:{speaker}"
    run = create_run(folder, {"talk": found}, make_cast([(None, spec)]))
    play_run(run)
    return folder


def wins(conversation: Any) -> str:
    return "alpha beta"


def loses(conversation: Any) -> str:
    return "delta"


def test_recorded_runs_are_compared(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    register_talk(monkeypatch)
    runs = [str(recording(tmp_path / name, name)) for name in ("wins", "loses")]
    data = DataTable(runs=runs)
    train("dpo", config(base, data=data, games=GamesTable()), tmp_path / "out")
    first = logged(tmp_path / "out")[0]
    assert (first["episodes"], first["success"], first["episodes_played"]) == (12, 0.5, 0)
    lines = (tmp_path / "out" / "pairs.jsonl").read_bytes().splitlines()[1:]
    rows = [msgspec.json.decode(line, type=TokenPair) for line in lines]
    assert len(rows) == 6 * 3  # a, the question aside, and b
    for row in rows:
        said = CHAT.tokenizer.decode(
            [i for i, own in zip(row.chosen, row.chosen_mask, strict=True) if own]
        )
        assert set(said.split()) == {"alpha", "beta", "<end>"}


@pytest.mark.parametrize("trainer", ["dpo", "kto"])
def test_the_plan_counts_recordings_that_nobody_won(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trainer: str
):
    register_talk(monkeypatch)
    data = DataTable(runs=[str(recording(tmp_path / "loses", "loses"))])
    wanted = config(base, data=data, games=GamesTable())
    plan = plan_training(trainer, wanted, tmp_path / "out")
    assert plan.parts["recordings"].startswith("6 episodes of ")
    with pytest.raises(ConfigError, match="passes the filters"):
        plan_training("sft", wanted, tmp_path / "out")


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "trainer", "line"),
    [
        (
            {"data": DataTable(runs=["a", "b"])},
            {"pairs": "turn"},
            r"data\.runs = \['a', 'b'\]: .* leave data\.runs out, or write trainer\.pairs = 'dia",
        ),
        ({}, {"samples": 1}, r"trainer\.samples = 1: .* at least 2 episodes on each instance"),
        ({}, {"pairs": "turn", "candidates": 1}, r"trainer\.candidates = 1: .* at least 2"),
        ({}, {"pairs": "turn", "continuations": 1}, r"trainer\.continuations = 1: .* at least 2"),
        ({}, {"loss_type": "exo_pair"}, r"trainer\.label_smoothing = 0: .* say 1e-3"),
        ({}, {"label_smoothing": 0.5}, r"trainer\.label_smoothing = 0\.5: write less than 0\.5"),
        ({}, {"pairs": "turns"}, r"trainer.*pairs"),
        ({}, {"loss_type": "sigmoidal"}, r"trainer.*loss_type"),
        ({}, {"betta": 0.1}, r"betta.*beta"),
        (
            {"learner": LearnerTable(player="openai:gpt-5@http://localhost:1/v1")},
            {},
            r"learner\.player = 'openai:gpt-5.*' cannot be trained; name a model as hf:NAME",
        ),
        (
            {"learner": LearnerTable(player="program:oracle", roles=["a"])},
            {},
            r"learner\.player = 'program:oracle' cannot be trained",
        ),
    ],
)
def test_wrong_configurations_are_refused_before_anything_is_loaded(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes, trainer, line: str
):
    register_talk(monkeypatch)
    monkeypatch.setattr(preference_trainer, "seated_learner", lambda *_: pytest.fail("loaded"))
    with pytest.raises(ConfigError, match=line) as caught:
        train("dpo", config(base, trainer=trainer, **changes), tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_missing_partner_is_refused(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    register_talk(monkeypatch)
    alone = config(base, learner=LearnerTable(player=f"hf:{base}", roles=["a"]))
    with pytest.raises(ConfigError, match=r"learner\.roles = \['a'\]: nobody plays b"):
        train("dpo", alone, tmp_path / "out")


def test_a_teacher_holds_the_other_role(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    register_talk(monkeypatch)
    wanted = config(
        base,
        learner=LearnerTable(player=f"hf:{base}", roles=["a"]),
        teacher=TeacherTable(player="program:tests.trainers.test_dpo:wins"),
    )
    train("dpo", wanted, tmp_path)
    lines = (tmp_path / "pairs.jsonl").read_bytes().splitlines()[1:]
    assert {msgspec.json.decode(line, type=TokenPair).role for line in lines} == {"a"}


def test_nothing_to_compare_is_said_in_a_line(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    register_talk(monkeypatch)
    with pytest.raises(ConfigError, match=r"none of the 64 episodes .* lower trainer\.min_margin"):
        train("dpo", config(base, trainer={"min_margin": 2.0}), tmp_path)
    assert not (tmp_path / "pairs.jsonl").exists()


def test_pairs_that_do_not_fit_are_refused(build: Built):
    with pytest.raises(ConfigError, match=r"within 3 tokens; raise trainer\.max_length"):
        build(pairs(), max_length=3)


def test_pairs_that_do_not_fit_are_left_out_with_a_warning(build: Built):
    with pytest.warns(UserWarning, match="have nothing to train within 9 tokens"):
        build(pairs(), max_length=9)


def test_a_choice_of_pairs(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    register_talk(monkeypatch)
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
