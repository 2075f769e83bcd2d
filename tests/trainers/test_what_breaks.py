"""Where TRL's GRPO bites (1.16), and that ours does not suffer from it.

A test whose name begins with ``test_trl`` pins what TRL does; when it fails, TRL has shifted, and
what we do about it is to be looked at again.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from tests.trainers.online_kit import (
    HERE,
    bare_trainer,
    config,
    raw_trl,
    register_games,
    steps_of,
    tiny_base,
    trl_batch,
)
from tests.trainers.recorder import Recorder, laid_out
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import GRPOConfig, GRPOTrainer
from trl.trainer.utils import shuffle_sequence_dict, split_tensor_dict

from playpen.rewards import RewardTable, partner_broke_it
from playpen.training import ConfigError, TeacherTable, train
from playpen_trainers import grpo as grpo_module
from playpen_trainers.grpo import DialogueGRPOTrainer, GRPOOptions
from playpen_trainers.online import RoleSample
from playpen_trainers.online_rows import OnlineRow

pytestmark = pytest.mark.filterwarnings("ignore:You are using 'rollout_func'")

END = 4


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_base(tmp_path_factory.mktemp("models") / "base")


@pytest.fixture(autouse=True)
def _games(monkeypatch: pytest.MonkeyPatch) -> None:
    register_games(monkeypatch)


def rollout_of(**changes: Any) -> Callable[..., dict[str, Any]]:
    """A roll-out function that gives four rows; `changes` replace what it gives."""
    given = {
        "prompt_ids": [[2, 5, 3]] * 4,
        "completion_ids": [[6, 7, 8, 9, 10, END], [6, 7, END], [8, 9, 10, END], [8, END]],
        "logprobs": None,
        "reward": [1.0, 0.0, 1.0, 0.0],
        **changes,
    }
    return lambda prompts, trainer: given


def trained_logps(trainer: Any, batch: dict[str, Any]) -> torch.Tensor:
    """Which log-probabilities get a gradient."""
    kept: list[torch.Tensor] = []
    original = trainer._get_per_token_logps_and_entropies

    def watched(*args: Any, **kwargs: Any) -> Any:
        logps, *others = original(*args, **kwargs)
        logps.retain_grad()
        kept.append(logps)
        return (logps, *others)

    trainer._get_per_token_logps_and_entropies = watched
    trainer.compute_loss(trainer.model, batch).backward()
    [logps] = kept
    assert logps.grad is not None
    return logps.grad != 0


# --- exactly one completion per prompt -----------------------------------------------------------


def test_trl_takes_exactly_one_completion_per_prompt(base: Path, tmp_path: Path) -> None:
    twice = {
        "prompt_ids": [[2, 5, 3]] * 8,
        "completion_ids": [[6, END]] * 8,
        "reward": [0.0] * 8,
    }
    batch = trl_batch(raw_trl(base, tmp_path, rollout_of(**twice)))
    with pytest.raises(IndexError):
        shuffle_sequence_dict(batch)


def test_an_episode_gives_as_many_rows_as_it_has(
    base: Path, tmp_path: Path, recorder: Recorder
) -> None:
    """Two roles, and the questions aside of one of them."""
    train("grpo", config(base, max_steps=1), tmp_path / "out")
    [batch] = recorder.played
    assert len(batch.episodes) == 8
    assert len(recorder.batches[0]["prompt_ids"]) == sum(
        len(part.rows) for part in batch.parts if part.use != "drop"
    )
    assert len(recorder.batches[0]["prompt_ids"]) >= 3 * 8 - 4


# --- empty completions ---------------------------------------------------------------------------


def test_trl_breaks_on_an_empty_completion(base: Path, tmp_path: Path) -> None:
    ids = [[6, END], [], [6, END], [6, END]]
    with pytest.raises(IndexError):
        trl_batch(raw_trl(base, tmp_path, rollout_of(completion_ids=ids)))


def test_replies_without_a_token_are_no_rows(tmp_path: Path, recorder: Recorder) -> None:
    """The painter's prompt leaves no room in so short a context: it says nothing, and loses."""
    short = tiny_base(tmp_path / "short", context=12)
    share = RewardTable(partner_fault="share")
    train("grpo", config(short, max_steps=1, reward=share), tmp_path / "out")
    replies = [r for e in recorder.played[0].episodes for r in e.replies("painter")]
    assert any(r.reply.stop_reason == "context" for r in replies)
    assert any(not r.reply.tokens.sampled for r in replies if r.reply.tokens)
    assert recorder.rows[0]
    assert all(any(row.mask) for row in recorder.rows[0])
    [line] = steps_of(tmp_path / "out")
    assert line["loss"] == line["loss"]  # not NaN


# --- everything masked ---------------------------------------------------------------------------


def test_trl_counts_the_reward_of_a_row_that_is_masked(base: Path, tmp_path: Path) -> None:
    masks = [[0] * 6, [1] * 3, [1] * 4, [1] * 2]
    found = trl_batch(raw_trl(base, tmp_path, rollout_of(env_mask=masks)))
    assert found["advantages"][1] == pytest.approx(-0.5 / (0.5**0.5 + 1e-4))


def test_trl_stands_a_batch_that_is_masked_as_a_whole(base: Path, tmp_path: Path) -> None:
    masks = [[0] * 6, [0] * 3, [0] * 4, [0] * 2]
    trainer = raw_trl(base, tmp_path, rollout_of(env_mask=masks))
    loss = trainer.compute_loss(trainer.model, trl_batch(trainer))
    assert loss.item() == 0


def test_a_part_that_is_left_out_does_not_count_in_its_group(
    base: Path, tmp_path: Path, recorder: Recorder
) -> None:
    """The wisher breaks a rule in many second rounds, which is not the painter's doing."""
    spoiled = config(
        base,
        max_steps=1,
        roles=["painter"],
        teacher=TeacherTable(player=f"{HERE}:spoil"),
        per_device_train_batch_size=16,
        num_generations=8,
        scale_rewards="none",
        reward=RewardTable(terms={"outcome": {"aborted": -5.0}}),
    )
    train("grpo", spoiled, tmp_path / "out")
    [batch] = recorder.played
    dropped = [part for part in batch.parts if part.use == "drop"]
    kept = [part for part in batch.parts if part.use == "train"]
    assert dropped and kept

    def expected(members: list[RoleSample]) -> list[float]:
        values = []
        for part in kept:
            group = [p.returns[0] for p in members if p.group == part.group]
            values += [part.returns[0] - sum(group) / len(group)] * len(part.rows)
        return values

    found = [row.advantages[-1] for row in recorder.rows[0]]
    assert found == pytest.approx(expected(kept))
    assert found != pytest.approx(expected(batch.parts))
    assert steps_of(tmp_path / "out")[0]["dropped"] > 0


# --- masks that are too short or too long --------------------------------------------------------


@pytest.mark.parametrize(
    "masks",
    [
        [[1] * 7, [1] * 3, [1] * 4, [1] * 2],
        [[1] * 5, [1] * 3, [1] * 4, [1] * 2],
    ],
    ids=["too long", "longest row too short"],
)
def test_trl_breaks_on_a_mask_of_another_length(
    base: Path, tmp_path: Path, masks: list[list[int]]
) -> None:
    with pytest.raises(RuntimeError, match="size of tensor"):
        trl_batch(raw_trl(base, tmp_path, rollout_of(env_mask=masks)))


def test_trl_trains_foreign_tokens_if_the_mask_of_a_shorter_row_is_too_short(
    base: Path, tmp_path: Path
) -> None:
    masks = [[1] * 6, [1] * 3, [0], [1] * 2]  # none of the third row's four tokens is ours
    trainer = raw_trl(base, tmp_path, rollout_of(env_mask=masks))
    assert trained_logps(trainer, trl_batch(trainer))[2].tolist() == [
        False,
        *[True] * 3,
        *[False] * 2,
    ]


def test_a_mask_that_is_too_short_trains_nothing_foreign(base: Path, tmp_path: Path) -> None:
    options = GRPOOptions(per_device_train_batch_size=4, num_generations=2)
    trainer = bare_trainer(base, tmp_path, options)
    long = OnlineRow([2], [6, 7, 8, END], [1] * 4, [-1.0] * 4, [1.0] * 4)
    short = OnlineRow([2], [6, 7, END], [1], [-1.0], [1.0])
    batch = laid_out(trainer, [long, short])
    assert batch["tool_mask"][1].tolist() == [1, 0, 0, 0]
    assert batch["advantages"][1].tolist() == [1.0, 0.0, 0.0, 0.0]


def test_masks_are_as_long_as_what_they_mask(
    base: Path, tmp_path: Path, recorder: Recorder
) -> None:
    train("grpo", config(base), tmp_path / "out")
    assert len(recorder.rows) == 2
    for rows, batch in zip(recorder.rows, recorder.batches, strict=True):
        for row in rows:
            lengths = {len(row.completion), len(row.mask), len(row.logprobs), len(row.advantages)}
            assert len(lengths) == 1
            assert row.prompt
        foreign = batch["completion_mask"] == 0
        assert not batch["tool_mask"][foreign].any()
        assert not batch["advantages"][batch["tool_mask"] == 0].any()


# --- what an episode ends in ---------------------------------------------------------------------


def test_trl_drops_a_row_that_ends_in_a_foreign_message(base: Path, tmp_path: Path) -> None:
    ids = [[6, 7, END, 8, 9], [6, 7, END], [6, END], [7, END]]
    masks = [[1, 1, 1, 0, 0], [1] * 3, [1] * 2, [1] * 2]
    trainer = raw_trl(
        base,
        tmp_path,
        rollout_of(completion_ids=ids, env_mask=masks),
        mask_truncated_completions=True,
    )
    batch = trl_batch(trainer)
    assert trainer._metrics["train"]["completions/clipped_ratio"] == [0.25]
    assert not trained_logps(trainer, batch)[0].any()


def test_a_row_ends_in_the_learners_last_token(
    base: Path, tmp_path: Path, recorder: Recorder
) -> None:
    train("grpo", config(base), tmp_path / "out")
    ends = [row.completion[-1] for rows in recorder.rows for row in rows]
    assert all(row.mask[0] and row.mask[-1] for rows in recorder.rows for row in rows)
    # Replies that ran into the token limit are trained like those that were ended.
    assert END in ends and set(ends) != {END}
    for rows, batch in zip(recorder.rows, recorder.batches, strict=True):
        assert batch["tool_mask"].sum().item() == sum(sum(row.mask) for row in rows)
        assert batch["num_items_in_batch"].item() == sum(sum(row.mask) for row in rows)


# --- rows that are too long ----------------------------------------------------------------------


def test_trl_does_not_look_at_lengths(base: Path, tmp_path: Path) -> None:
    """The model has 96 positions, and completions should have at most 8 tokens."""
    ids = [[6] * 299 + [END]] * 4
    found = trl_batch(raw_trl(base, tmp_path, rollout_of(completion_ids=ids)))
    assert found["completion_ids"].shape == (4, 300)


@pytest.mark.parametrize("limit", [None, 18])
def test_no_row_is_longer_than_the_limit(
    tmp_path: Path, recorder: Recorder, limit: int | None
) -> None:
    short = tiny_base(tmp_path / "short", context=26)
    changes: dict[str, Any] = {} if limit is None else {"max_length": limit}
    train("grpo", config(short, **changes), tmp_path / "out")
    lengths = [len(row.prompt) + len(row.completion) for rows in recorder.rows for row in rows]
    assert max(lengths) <= (limit or 26)
    played = [len(r.ids) for batch in recorder.played for part in batch.parts for r in part.rows]
    if limit is not None:
        assert max(played) > limit  # it was played on, and cut for training
        assert max(lengths) == limit


# --- whose fault it was --------------------------------------------------------------------------


def test_trl_leaves_a_row_without_a_reward_out_of_its_group(base: Path, tmp_path: Path) -> None:
    rewards = [1.0, 0.0, 4.0, None]
    trainer = raw_trl(
        base, tmp_path, rollout_of(reward=rewards), num_generations=4, scale_rewards="none"
    )
    found = trl_batch(trainer)["advantages"]
    assert found.tolist() == pytest.approx([1 - 5 / 3, -5 / 3, 4 - 5 / 3, 0.0])


@pytest.mark.parametrize("fault", ["drop", "neutral", "share"])
def test_what_becomes_of_a_part_whose_partner_broke_the_game(
    base: Path, tmp_path: Path, recorder: Recorder, fault: Any
) -> None:
    spoiled = config(
        base,
        max_steps=1,
        roles=["painter"],
        teacher=TeacherTable(player=f"{HERE}:spoil"),
        per_device_train_batch_size=32,
        num_generations=16,
        scale_rewards="none",
        reward=RewardTable(terms={"outcome": {"aborted": -1.0}}, partner_fault=fault),
    )
    train("grpo", spoiled, tmp_path / "out")
    [batch], [rows] = recorder.played, recorder.rows
    broken = [part for part in batch.parts if partner_broke_it(part.episode, "painter")]
    whole = [part for part in batch.parts if part not in broken]
    assert broken and whole
    use = {"drop": "drop", "neutral": "neutral", "share": "train"}[fault]
    assert {part.use for part in broken} == {use}
    assert {part.use for part in whole} == {"train"}
    kept = [part for part in batch.parts if part.use != "drop"]
    assert len(rows) == sum(len(part.rows) for part in kept)
    counted = [part for part in batch.parts if part.use == "train"]
    place = 0
    for part in kept:
        group = [p.returns[0] for p in counted if p.group == part.group]
        value = part.returns[0] - sum(group) / len(group) if group else 0.0
        for _ in part.rows:
            wanted = value if part.use == "train" else 0.0
            assert rows[place].advantages[-1] == pytest.approx(wanted)
            place += 1


def test_a_batch_in_which_all_parts_are_left_out_is_stood(
    base: Path, tmp_path: Path, recorder: Recorder
) -> None:
    """The partner breaks the game at once, each time: there is nothing to learn from."""
    spoiled = config(base, roles=["painter"], teacher=TeacherTable(player=f"{HERE}:always_spoil"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        final = train("grpo", spoiled, tmp_path / "out")
    assert recorder.rows == [[], []]
    lines = steps_of(tmp_path / "out")
    assert [line["loss"] for line in lines] == [0, 0]
    assert all(line["grad_norm"] == 0 for line in lines)
    before = AutoModelForCausalLM.from_pretrained(base).state_dict()
    after = AutoModelForCausalLM.from_pretrained(final).state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


# --- the reference model -------------------------------------------------------------------------


def test_trl_loads_the_reference_from_the_path_in_the_models_configuration(
    base: Path, tmp_path: Path
) -> None:
    """So a model that was only made or changed in memory has none, or the wrong one."""
    model = AutoModelForCausalLM.from_pretrained(base)
    model.config._name_or_path = str(tmp_path / "nowhere")
    arguments = GRPOConfig(
        output_dir=str(tmp_path / "out"),
        beta=0.1,
        per_device_train_batch_size=4,
        num_generations=2,
        use_cpu=True,
        bf16=False,
        report_to="none",
    )
    with pytest.raises((OSError, ValueError)):
        GRPOTrainer(
            model=model,
            reward_funcs=str(base),
            args=arguments,
            processing_class=AutoTokenizer.from_pretrained(base),
            train_dataset=Dataset.from_dict({"prompt": ["say"]}),
        )


def test_the_reference_is_what_training_started_with(base: Path, tmp_path: Path) -> None:
    """Also where the learner was trained before: it is loaded from where that training saved it."""
    first = train("grpo", config(base, learning_rate=0.01), tmp_path / "first")
    second = config(first, beta=0.1, max_steps=3, learning_rate=0.01)
    final = train("grpo", second, tmp_path / "second")
    lines = steps_of(tmp_path / "second")
    assert lines[0]["kl"] < 1e-6  # against the base it would be much more
    assert lines[-1]["kl"] > 1e-3
    assert final.is_dir()


# --- defaults that bite --------------------------------------------------------------------------


def test_trl_saves_memory_where_there_is_none_to_save(tmp_path: Path) -> None:
    assert GRPOConfig(output_dir=str(tmp_path), use_cpu=True, bf16=False).gradient_checkpointing


@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradient_checkpointing_is_off_unless_wanted(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checkpointing: bool
) -> None:
    assert not GRPOOptions().gradient_checkpointing
    used = []
    original = DialogueGRPOTrainer.compute_loss

    def watched(self: Any, model: Any, *args: Any, **kwargs: Any) -> Any:
        used.append(model.is_gradient_checkpointing)
        return original(self, model, *args, **kwargs)

    monkeypatch.setattr(DialogueGRPOTrainer, "compute_loss", watched)
    wanted: dict[str, Any] = {"gradient_checkpointing": True} if checkpointing else {}
    train("grpo", config(base, max_steps=1, **wanted), tmp_path / "out")
    assert used == [checkpointing]


# --- the sampler's log-probabilities -------------------------------------------------------------


def test_trl_does_not_use_the_samplers_log_probabilities(base: Path, tmp_path: Path) -> None:
    """Without vLLM it takes note of them, and starts the ratio from its own."""
    wrong = [[-9.0] * 6, [-9.0] * 3, [-9.0] * 4, [-9.0] * 2]
    trainer = raw_trl(base, tmp_path, rollout_of(logprobs=wrong), num_iterations=2)
    found = trl_batch(trainer)
    assert found["sampling_per_token_logps"][0].tolist() == [-9.0] * 6
    assert (
        found["old_per_token_logps"][0].max() > -9 and found["old_per_token_logps"][0].min() != -9
    )
    alone = raw_trl(base, tmp_path, rollout_of(logprobs=wrong))
    assert "old_per_token_logps" not in trl_batch(alone)


@pytest.mark.parametrize("off_policy", ["sampler", "trainer"])
def test_the_ratio_starts_from_the_samplers_log_probabilities(
    base: Path, tmp_path: Path, off_policy: Any
) -> None:
    options = GRPOOptions(
        per_device_train_batch_size=4, num_generations=2, num_iterations=2, off_policy=off_policy
    )
    trainer = bare_trainer(base, tmp_path, options)
    found = laid_out(trainer, [OnlineRow([2], [6, END], [1, 1], [-9.0, -8.0], [1.0, 1.0])])
    expected = found["sampling_per_token_logps"]
    assert expected.tolist() == [[-9.0, -8.0]]
    assert torch.equal(found["old_per_token_logps"], expected) == (off_policy == "sampler")


# --- batches that do not divide ------------------------------------------------------------------


def test_trl_loses_rows_that_do_not_fill_a_slice() -> None:
    pieces: list[Any] = split_tensor_dict({"prompt_ids": torch.arange(6)[:, None]}, 4)
    assert sum(len(piece["prompt_ids"]) for piece in pieces) == 4


def test_no_row_is_lost_between_slices(
    base: Path, tmp_path: Path, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    optimised: list[int] = []
    original = DialogueGRPOTrainer.compute_loss

    def watched(self: Any, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        optimised.append(int(inputs["tool_mask"].sum()))
        return original(self, model, inputs, *args, **kwargs)

    monkeypatch.setattr(DialogueGRPOTrainer, "compute_loss", watched)
    four = config(
        base,
        max_steps=4,
        per_device_train_batch_size=3,
        num_generations=3,
        steps_per_generation=4,
        save_steps=4,
    )
    train("grpo", four, tmp_path / "out")
    [rows] = recorder.rows
    assert len(recorder.played[0].episodes) == 12
    assert len(optimised) == 4
    assert sum(optimised) == sum(sum(row.mask) for row in rows)
    assert len(recorder.batches[0]["prompt_ids"]) % 4 == 0


# --- resuming ------------------------------------------------------------------------------------


def test_trl_makes_a_batch_anew_when_it_resumes_within_it(base: Path, tmp_path: Path) -> None:
    """Neither the buffer nor the place in it is in a checkpoint: without a buffer it generates."""
    calls = []

    def rollout(prompts: list[str], trainer: Any) -> dict[str, Any]:
        calls.append(len(prompts))
        return rollout_of()(prompts, trainer)

    trainer = raw_trl(
        base, tmp_path, rollout, steps_per_generation=2, per_device_train_batch_size=2
    )
    trainer._step = 1  # in the middle of a generation batch
    trainer._prepare_inputs([{"prompt": "say"}] * 4)
    assert calls == [4]


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"steps_per_generation": 4, "save_steps": 3}, 4),
        ({"steps_per_generation": 4, "save_steps": 2}, 4),
        ({"steps_per_generation": 4, "gradient_accumulation_steps": 2, "save_steps": 3}, 2),
        ({"num_iterations": 3, "save_steps": 2}, 3),
        ({"steps_per_generation": 2, "num_iterations": 3, "save_steps": 4}, 6),
        # As many slices as there are passes in a step, each batch used twice
        ({"gradient_accumulation_steps": 4, "num_iterations": 2, "save_steps": 1}, 2),
    ],
)
def test_a_checkpoint_within_a_generation_batch_is_refused(
    base: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, Any],
    wanted: int,
) -> None:
    monkeypatch.setattr(grpo_module, "seated_learner", lambda *_: pytest.fail("weights loaded"))
    with pytest.raises(ConfigError) as caught:
        train("grpo", config(base, **options), tmp_path / "out")
    assert str(caught.value) == (
        f"trainer.save_steps = {options['save_steps']} would save in the middle of a generation "
        f"batch; choose a multiple of {wanted}"
    )


def test_a_training_goes_on_from_the_end_of_a_generation_batch(
    base: Path, tmp_path: Path, recorder: Recorder
) -> None:
    """The batch after the checkpoint is the one that an undisturbed training plays."""
    made = config(
        base,
        max_steps=4,
        per_device_train_batch_size=4,
        steps_per_generation=2,
        save_steps=2,
    )
    train("grpo", made, tmp_path / "out")
    assert len(recorder.played) == 2
    shutil.rmtree(tmp_path / "out" / "final")
    shutil.rmtree(tmp_path / "out" / "checkpoints" / "checkpoint-4")
    train("grpo", made, tmp_path / "out")
    assert len(recorder.played) == 3
    assert recorder.played[2].digest() == recorder.played[1].digest()
    assert recorder.played[2].digest() != recorder.played[0].digest()
    for key, tensor in recorder.batches[1].items():
        assert torch.equal(tensor, recorder.batches[2][key]), key
