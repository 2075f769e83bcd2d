"""What `grpo` relies on in TRL; each test fails when TRL's behaviour shifts."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.trainers.online_kit import bare_trainer, raw_trl, tiny_base, trl_batch
from tests.trainers.recorder import laid_out
from trl.trainer.utils import shuffle_sequence_dict, split_tensor_dict

from playpen_trainers.grpo import GRPOOptions
from playpen_trainers.online_rows import OnlineRow

pytestmark = pytest.mark.usefixtures("online_games")

PROMPTS = [[2, 5, 6, 3], [2, 7, 3], [2, 8, 9, 10, 3], [2, 11, 3]]
COMPLETIONS = [[12, 13, 4, 5, 14, 4], [15, 4], [16, 6, 7, 4], [17, 18, 4]]
MASKS = [[1, 1, 1, 0, 1, 1], [1, 1], [1, 0, 0, 1], [1, 1, 1]]
LOGPROBS = [[-1.0, -2.0, -3.0, 0.0, -1.5, -2.5], [-3.0, -2.0], [-1.0, 0.0, 0.0, -2.0], [-2.0] * 3]
REWARDS = [1.0, 0.0, 0.5, 2.0]
KEYS = {
    "prompt_ids",
    "prompt_mask",
    "completion_ids",
    "completion_mask",
    "tool_mask",
    "advantages",
    "sampling_per_token_logps",
    "num_items_in_batch",
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_base(tmp_path_factory.mktemp("models") / "base")


def rollout(prompts: list[str], trainer: Any) -> dict[str, Any]:
    return {
        "prompt_ids": PROMPTS,
        "completion_ids": COMPLETIONS,
        "logprobs": LOGPROBS,
        "env_mask": MASKS,
        "reward": REWARDS,
    }


def rows_with(advantages: list[float]) -> list[OnlineRow]:
    return [
        OnlineRow(prompt, completion, mask, logprobs, [value * m for m in mask])
        for prompt, completion, mask, logprobs, value in zip(
            PROMPTS, COMPLETIONS, MASKS, LOGPROBS, advantages, strict=True
        )
    ]


def both(
    base: Path, folder: Path, ours: dict[str, Any], **theirs: Any
) -> tuple[Any, dict[str, Any], Any, dict[str, Any]]:
    """TRL's trainer with its batch, and ours with the batch that it makes of the same rows."""
    raw = raw_trl(base, folder / "raw", rollout, **theirs)
    expected = trl_batch(raw)
    options = GRPOOptions(per_device_train_batch_size=4, num_generations=2, **ours)
    own = bare_trainer(base, folder / "own", options)
    return raw, expected, own, laid_out(own, rows_with(expected["advantages"].tolist()))


def test_the_version_is_the_one_that_was_looked_into() -> None:
    assert importlib.metadata.version("trl").startswith("1.16.")
    [pinned] = [
        need for need in importlib.metadata.requires("playpen-trainers") or () if "trl" in need
    ]
    assert set(pinned.removeprefix("trl").split(",")) == {">=1.16", "<1.17"}


@pytest.mark.parametrize(
    ("ours", "theirs", "more"),
    [
        ({"off_policy": "trainer"}, {}, set()),
        (
            {"off_policy": "trainer", "num_iterations": 2},
            {"num_iterations": 2},
            {"old_per_token_logps"},
        ),
        (
            {"off_policy": "trainer", "steps_per_generation": 2, "beta": 0.1},
            {"steps_per_generation": 2, "per_device_train_batch_size": 2, "beta": 0.1},
            {"old_per_token_logps", "ref_per_token_logps"},
        ),
        (
            {
                "off_policy": "trainer",
                "steps_per_generation": 2,
                "gradient_accumulation_steps": 2,
            },
            {
                "steps_per_generation": 2,
                "gradient_accumulation_steps": 2,
                "per_device_train_batch_size": 2,
            },
            set(),
        ),
    ],
    ids=["plain", "two passes", "two updates", "accumulated"],
)
def test_our_batch_is_trls_batch(
    base: Path, tmp_path: Path, ours: dict[str, Any], theirs: dict[str, Any], more: set[str]
) -> None:
    _, expected, _, found = both(base, tmp_path, ours, **theirs)
    assert set(expected) == KEYS | more
    assert set(found) == set(expected)
    for key, tensor in expected.items():
        assert found[key].dtype == tensor.dtype, key
        assert found[key].device == tensor.device, key
        if key == "advantages":  # theirs are per row, ours per token
            assert tensor.shape == (4,)
            assert found[key].shape == expected["completion_ids"].shape
        else:
            assert found[key].shape == tensor.shape, key
    for key in (*KEYS - {"tool_mask", "advantages"}, *more):
        assert torch.allclose(found[key].double(), expected[key].double(), atol=1e-6), key
    # Beyond a row's end TRL's mask is 1 and ours 0; both count only where there is a completion.
    there = expected["completion_mask"]
    assert torch.equal(found["tool_mask"] * there, expected["tool_mask"] * there)


def test_advantages_per_token_give_the_loss_of_advantages_per_row(
    base: Path, tmp_path: Path
) -> None:
    raw, expected, own, found = both(base, tmp_path, {"off_policy": "trainer"})
    assert found["advantages"].dim() == 2
    losses = []
    gradients = []
    for trainer, batch in ((raw, expected), (own, found)):
        trainer.model.zero_grad()
        loss = trainer.compute_loss(trainer.model, batch)
        loss.backward()
        losses.append(loss.item())
        gradients.append([w.grad.clone() for w in trainer.model.parameters()])
    assert losses[0] == pytest.approx(losses[1], abs=1e-7)
    assert losses[0] != 0
    for theirs, ours in zip(*gradients, strict=True):
        assert torch.allclose(theirs, ours, atol=1e-7)


def test_trls_advantages_are_what_ours_were_tested_against(base: Path, tmp_path: Path) -> None:
    found = trl_batch(raw_trl(base, tmp_path, rollout))["advantages"]
    pairs = torch.tensor(REWARDS).view(2, 2)
    expected = (pairs - pairs.mean(1, keepdim=True)) / (pairs.std(1, keepdim=True) + 1e-4)
    assert torch.allclose(found, expected.flatten())


def test_what_is_in_the_batch_is_shuffled_and_cut_up_together() -> None:
    batch: dict[str, Any] = {
        "prompt_ids": torch.arange(6)[:, None],
        "advantages": torch.arange(6)[:, None].repeat(1, 3).float(),
        "num_items_in_batch": torch.tensor(18),
    }
    shuffled: dict[str, Any] = shuffle_sequence_dict(batch)
    pieces: list[Any] = split_tensor_dict(shuffled, 3)
    assert [piece["num_items_in_batch"].item() for piece in pieces] == [18, 18, 18]
    seen: list[int] = []
    for piece in pieces:
        assert piece["prompt_ids"].shape == (2, 1)
        assert torch.equal(piece["advantages"][:, 0], piece["prompt_ids"][:, 0].float())
        seen += piece["prompt_ids"].flatten().tolist()
    assert sorted(seen) == list(range(6))


def test_a_generation_batch_is_made_once_for_all_its_passes(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TRL asks for it through the method that ours replaces, and then takes slices by number."""
    calls = []

    def made(inputs: list[Any]) -> dict[str, Any]:
        calls.append(len(inputs))
        masks = dict.fromkeys(("prompt_mask", "completion_mask"), torch.ones(8, 1))
        return {"prompt_ids": torch.arange(8)[:, None], **masks}

    options = GRPOOptions(
        per_device_train_batch_size=4,
        num_generations=2,
        steps_per_generation=2,
        num_iterations=2,
    )
    trainer = bare_trainer(base, tmp_path, options)
    monkeypatch.setattr(trainer, "_generate_and_score_completions", made)
    seen = []
    for step in range(8):
        trainer._step = step
        seen.append(sorted(trainer._prepare_inputs([{}] * 8)["prompt_ids"].flatten().tolist()))
    assert calls == [8, 8]
    for first in (0, 4):
        assert sorted(seen[first] + seen[first + 1]) == list(range(8))
        assert seen[first + 2 : first + 4] == seen[first : first + 2]
