"""Which tokens `grpo` and `rloo` train: gradients through the trainer's own `compute_loss`.

Parts are made by hand, laid out by the trainer, and followed down to the log-probability of each
token.  What should be trained is written down here, apart from the code that lays it out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_args, get_type_hints

import pytest
import torch
from tests.trainers.online_kit import bare_trainer, tiny_base
from tests.trainers.recorder import laid_out
from transformers import AutoModelForCausalLM
from trl.trainer.utils import shuffle_sequence_dict, split_tensor_dict

from playpen.conversation import Reply, TokenTrace, trajectory
from playpen_trainers.grpo import DialogueGRPOTrainer, GRPOOptions, trimmed
from playpen_trainers.online_rows import OnlineRow, online_rows
from playpen_trainers.rloo import RLOOOptions

pytestmark = pytest.mark.usefixtures("online_games")

END = 4
LOSSES = get_args(get_type_hints(GRPOOptions)["loss_type"])


class Turn(NamedTuple):
    """What a role read before a reply, what it sampled, and how good that was."""

    read: list[int]
    said: list[int]
    advantage: float
    aside: bool = False


class Trained(NamedTuple):
    """What should become of one row: all its ids, and the advantage of each that is trained."""

    ids: list[int]
    advantages: list[float | None]


RoleSample = list[Turn]


def turn(read: int, said: int, advantage: float, *, aside: bool = False) -> Turn:
    """A turn of so many ids read, and so many sampled with the end of turn as the last one."""
    words = [5 + (7 * read + 3 * number) % 20 for number in range(read + said)]
    return Turn([2, *words[: read - 1]], [*words[read : read + said - 1], END], advantage, aside)


def truth(part: RoleSample, limit: int = 10**6) -> list[Trained]:
    """The rows of a part, from the turns alone."""
    main = Trained([], [])
    rows: list[Trained] = []
    for one in part:
        if not one.aside and main not in rows:
            rows.append(main)
        row = main
        if one.aside:
            row = Trained(list(main.ids), [None] * len(main.ids))
            rows.append(row)
        row.ids.extend([*one.read, *one.said])
        row.advantages.extend([None] * len(one.read))
        row.advantages.extend([one.advantage] * len(one.said))
    cut = [Trained(row.ids[:limit], row.advantages[:limit]) for row in rows]
    return [row for row in cut if any(value is not None for value in row.advantages)]


class Bench:
    """A trainer whose log-probabilities are watched."""

    def __init__(self, trainer: DialogueGRPOTrainer) -> None:
        self.trainer = trainer
        self.model: Any = trainer.model
        self._limit = 10**6
        self._seen: list[torch.Tensor] = []
        original = trainer._get_per_token_logps_and_entropies

        def watched(*args: Any, **kwargs: Any) -> Any:
            logps, *others = original(*args, **kwargs)
            if logps.requires_grad:
                logps.retain_grad()
                self._seen.append(logps)
            return (logps, *others)

        trainer._get_per_token_logps_and_entropies = watched  # type: ignore[method-assign]

    def stir(self) -> None:
        """Move the trained weights a little away from where training started."""
        torch.manual_seed(7)
        with torch.no_grad():
            for weight in self.model.parameters():
                if weight.requires_grad:
                    weight += 0.05 * torch.randn_like(weight)

    def rows(self, parts: Sequence[RoleSample], limit: int = 10**6) -> list[OnlineRow]:
        """The rows as a roll-out would give them, sampled by the model as it is."""
        found: list[OnlineRow] = []
        for part in parts:
            replies: list[tuple[Reply, bool]] = []
            history: list[int] = []
            for one in part:
                logprobs = self.sampled(history + one.read, one.said)
                begun = any(kept for _, kept in replies)
                trace = TokenTrace(one.read, one.said, logprobs, begun)
                replies.append((Reply("", tokens=trace), not one.aside))
                if not one.aside:
                    history += one.read + one.said
            made = trajectory("a", replies)
            assert made is not None
            found += online_rows(made.rows, [one.advantage for one in part], limit)
        return found

    @torch.no_grad()
    def sampled(self, read: list[int], said: list[int]) -> list[float]:
        """The log-probabilities of what was sampled, from one plain pass over one row."""
        if not said:
            return []
        self.model.eval()
        logits = self.model(input_ids=torch.tensor([read + said])).logits[0].float()
        self.model.train()
        logprobs = torch.log_softmax(logits / self.trainer.temperature, dim=-1)
        places = range(len(read) - 1, len(read) + len(said) - 1)
        return [float(logprobs[place, token]) for place, token in zip(places, said, strict=True)]

    def slices(self, rows: list[OnlineRow], *, shuffled: bool = False) -> list[dict[str, Any]]:
        """The batch as TRL cuts it up before it computes losses."""
        self.model.eval()  # as while a roll-out is laid out
        batch = laid_out(self.trainer, rows)
        self.model.train()
        if shuffled:
            batch = shuffle_sequence_dict(batch)
        return split_tensor_dict(batch, self.trainer._options.generation_steps)

    def gradients(self, batch: dict[str, Any]) -> tuple[float, torch.Tensor]:
        """Loss, and its gradient by the log-probability of each id of the completions."""
        self._seen.clear()
        self.model.zero_grad()
        loss = self.trainer.compute_loss(self.model, batch)
        loss.backward()
        [logps] = self._seen
        assert logps.grad is not None
        return loss.item(), logps.grad

    def weight_gradient(self) -> float:
        """The largest gradient of any weight after the last loss."""
        found = [w.grad.abs().max().item() for w in self.model.parameters() if w.grad is not None]
        return max(found, default=0.0)


class Wrong(AssertionError):
    """A token was trained that should not be, or the other way round."""


def check(
    batches: Sequence[dict[str, Any]],
    gradients: Sequence[torch.Tensor],
    expected: Sequence[Trained],
    *,
    neutral_too: bool = False,
) -> None:
    """Gradients are non-zero exactly where something is to be learned, with the right sign.

    Args:
        batches: slices of a laid-out batch.
        gradients: of the log-probabilities of their completions.
        expected: every row that should be there, in any order.
        neutral_too: with a divergence from a reference, tokens without an advantage count too.
    """
    left = list(expected)
    for batch, gradient in zip(batches, gradients, strict=True):
        if not torch.isfinite(gradient).all():
            raise Wrong("a gradient is not finite")
        for row in range(len(gradient)):
            shown = batch["prompt_mask"][row].bool()
            spoken = batch["completion_mask"][row].bool()
            prompt = batch["prompt_ids"][row][shown].tolist()
            ids = prompt + batch["completion_ids"][row][spoken].tolist()
            beyond = gradient[row][~spoken]
            if beyond.any():
                raise Wrong("padding is trained")
            values = [0.0] * len(prompt) + gradient[row][spoken].tolist()
            if ids == [0, 0]:
                if any(values):
                    raise Wrong("a row that only fills the batch is trained")
                continue
            match = [one for one in left if one.ids[: len(ids)] == ids and _ends(one, len(ids))]
            if not match:
                raise Wrong(f"a row that should not be there: {ids}")
            for place, (value, advantage) in enumerate(
                zip(values, match[0].advantages, strict=False)
            ):
                wanted = advantage is not None and (neutral_too or advantage != 0)
                if wanted != (value != 0):
                    raise Wrong(f"token {place} of {ids} has gradient {value}: {match[0]}")
                if not neutral_too and advantage and math.copysign(1, value * advantage) > 0:
                    raise Wrong(f"token {place} of {ids} is moved the wrong way: {match[0]}")
            left.remove(match[0])
    if left:
        raise Wrong(f"rows are missing: {left}")


def _ends(row: Trained, length: int) -> bool:
    """Nothing that is trained comes after so many ids."""
    return all(value is None for value in row.advantages[length:])


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_base(tmp_path_factory.mktemp("models") / "base")


MakeBench = Callable[..., Bench]


@pytest.fixture
def bench(base: Path, tmp_path: Path) -> MakeBench:
    """Make a watched trainer with the given options."""

    def make(
        options: type[GRPOOptions] = GRPOOptions, temperature: float = 1.0, **chosen: Any
    ) -> Bench:
        values = {"per_device_train_batch_size": 8, "num_generations": 4, **chosen}
        return Bench(bare_trainer(base, tmp_path, options(**values), temperature=temperature))

    return make


def verify(
    bench: Bench,
    parts: Sequence[RoleSample],
    *,
    limit: int = 10**6,
    shuffled: bool = False,
    neutral_too: bool = False,
) -> list[torch.Tensor]:
    """Lay out, cut up, and check every slice; gives the gradients."""
    batches = bench.slices(bench.rows(parts, limit), shuffled=shuffled)
    gradients = [bench.gradients(batch)[1] for batch in batches]
    expected = [row for part in parts for row in truth(part, limit)]
    check(batches, gradients, expected, neutral_too=neutral_too)
    return gradients


VARIED: list[RoleSample] = [
    [turn(4, 3, 1.0)],
    [turn(3, 2, -1.0), turn(2, 4, -1.0), turn(5, 1, -1.0)],
    [turn(6, 2, 0.5), turn(1, 1, 0.5)],
    [turn(2, 5, -0.25)],
]
EMPTY: list[RoleSample] = [
    [turn(4, 1, 1.0)],
    [turn(3, 1, -1.0), turn(2, 1, -1.0)],
    [turn(3, 4, 0.5), turn(2, 1, 0.5), turn(2, 2, 0.5)],
]
ASIDES: list[RoleSample] = [
    [turn(3, 2, 1.0), turn(2, 3, 1.0, aside=True), turn(4, 2, 1.0)],
    [turn(3, 3, -1.0, aside=True), turn(4, 2, -1.0)],
    [turn(5, 2, 0.5), turn(2, 1, 0.5), turn(3, 2, 0.5, aside=True)],
]
BY_TURN: list[RoleSample] = [
    [turn(3, 2, 1.0), turn(2, 3, -0.5), turn(2, 2, 0.25)],
    [turn(4, 3, -1.0), turn(2, 2, 0.0), turn(3, 1, 2.0)],
    [turn(3, 2, 0.5), turn(2, 3, -0.75, aside=True), turn(4, 2, 1.0)],
]
NEUTRAL: list[RoleSample] = [
    [turn(4, 3, 1.0)],
    [turn(3, 2, 0.0), turn(2, 4, 0.0)],
    [turn(5, 2, -1.0)],
]
ALL = {
    "numbers of turns": VARIED,
    "empty replies": EMPTY,
    "side questions": ASIDES,
    "advantages by turn": BY_TURN,
    "neutral parts": NEUTRAL,
}


# --- each kind of row, each loss -----------------------------------------------------------------


@pytest.mark.parametrize("parts", ALL.values(), ids=ALL)
def test_the_learners_own_tokens_are_trained_and_no_others(
    bench: MakeBench, parts: list[RoleSample]
) -> None:
    verify(bench(), parts)


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_trains_the_same_tokens(bench: MakeBench, loss: str) -> None:
    assert len(LOSSES) == 8
    verify(bench(loss_type=loss), [*VARIED, *EMPTY, *ASIDES, *BY_TURN, *NEUTRAL])


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_at_any_temperature(bench: MakeBench, temperature: float) -> None:
    verify(bench(temperature=temperature), [*VARIED, *ASIDES])


def test_rloo_trains_the_same_tokens(bench: MakeBench) -> None:
    """A whole row is one action, so all of it moves by the same amount."""
    made = bench(RLOOOptions)
    assert made.trainer.importance_sampling_level == "sequence"
    gradients = verify(made, [*VARIED, *EMPTY, *ASIDES])
    for row in gradients[0]:
        assert len(set(row[row != 0].tolist())) == 1


@pytest.mark.parametrize("off_policy", ["sampler", "trainer"])
def test_with_an_adapter(bench: MakeBench, off_policy: str) -> None:
    made = bench(lora_r=4, off_policy=off_policy)
    made.stir()
    verify(made, [*VARIED, *ASIDES, *BY_TURN])
    trained = [name for name, weight in made.model.named_parameters() if weight.grad is not None]
    assert trained and all("lora_" in name for name in trained)
    assert made.weight_gradient() > 0


def test_one_ratio_for_a_row_would_mix_its_replies(bench: MakeBench) -> None:
    """Why advantages by turn are refused with it."""
    with pytest.raises(Wrong):
        verify(bench(importance_sampling_level="sequence"), BY_TURN)


def test_the_loss_of_a_token_is_its_share_of_the_advantage(bench: MakeBench) -> None:
    """The default loss is a mean over all trained tokens of the generation batch."""
    [gradient] = verify(bench(), VARIED)
    tokens = sum(len(one.said) for part in VARIED for one in part)
    advantages = [[one.advantage] * len(one.said) for part in VARIED for one in part]
    expected = sorted(-value / tokens for values in advantages for value in values)
    assert sorted(gradient[gradient != 0].tolist()) == pytest.approx(expected, rel=1e-3)


# --- nothing to train ----------------------------------------------------------------------------


def test_a_reply_that_had_no_room_is_no_row(bench: MakeBench) -> None:
    """Its trace is empty: nothing was fed, nothing sampled."""
    nothing = Turn([], [], 1.0)
    made = bench()
    assert made.rows([[nothing]]) == []
    rows = made.rows([[turn(4, 2, 1.0), nothing], [turn(3, 2, -1.0)]])
    assert [sum(row.mask) for row in rows] == [2, 2]
    [batch] = made.slices(rows)
    _, gradient = made.gradients(batch)
    check([batch], [gradient], [*truth([turn(4, 2, 1.0)]), *truth([turn(3, 2, -1.0)])])


def test_a_row_whose_tokens_are_all_masked_is_not_trained(bench: MakeBench) -> None:
    made = bench()
    rows = made.rows([[turn(4, 3, 1.0)], [turn(3, 3, -1.0)]])
    silent = rows[1]._replace(mask=[0, 0, 0], advantages=[-1.0] * 3)
    [batch] = made.slices([rows[0], silent])
    loss, gradient = made.gradients(batch)
    assert math.isfinite(loss)
    assert gradient[0].all()
    assert not gradient[1].any()


@pytest.mark.parametrize(("beta", "level"), [(0.0, "token"), (0.1, "sequence")])
@pytest.mark.parametrize("loss", LOSSES)
def test_a_batch_whose_rows_were_all_dropped_teaches_nothing(
    bench: MakeBench, loss: str, beta: float, level: str
) -> None:
    made = bench(loss_type=loss, beta=beta, importance_sampling_level=level)
    made.stir()
    for batch in made.slices([]):
        found, gradient = made.gradients(batch)
        assert found == 0
        assert not gradient.any()
        assert made.weight_gradient() == 0


@pytest.mark.parametrize("loss", LOSSES)
def test_a_batch_without_advantages_teaches_nothing(bench: MakeBench, loss: str) -> None:
    """All episodes of each group ended alike."""
    alike = [[turn(4, 3, 0.0)], [turn(3, 2, 0.0), turn(2, 2, 0.0)]]
    made = bench(loss_type=loss)
    verify(made, alike)
    assert made.weight_gradient() == 0


# --- truncation ----------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", range(1, 16))
def test_what_is_beyond_the_limit_is_not_trained(bench: MakeBench, limit: int) -> None:
    """Cut in the prompt, in a reply, at its end, and between replies."""
    parts: list[RoleSample] = [
        [turn(3, 3, 1.0), turn(2, 4, -0.5), turn(2, 1, 0.25)],
        [turn(5, 2, -1.0), turn(2, 2, 1.0, aside=True), turn(1, 3, 0.5)],
    ]
    made = bench()
    rows = made.rows(parts, limit)
    assert all(len(row.prompt) + len(row.completion) <= limit for row in rows)
    verify(made, parts, limit=limit)


def test_the_limit_is_the_models_own_or_a_smaller_one(bench: MakeBench) -> None:
    assert bench().trainer._limit == 96
    assert bench(max_length=20).trainer._limit == 20
    assert bench(max_length=1000).trainer._limit == 96


# --- the divergence from the reference -----------------------------------------------------------


@pytest.mark.parametrize("rank", [0, 4], ids=["full", "adapter"])
def test_parts_without_an_advantage_are_still_held_to_the_reference(
    bench: MakeBench, rank: int
) -> None:
    made = bench(beta=0.1, lora_r=rank)
    made.stir()  # at the start the gradient of the divergence is 0
    verify(made, [*NEUTRAL, *ASIDES, *BY_TURN], neutral_too=True)


def test_with_an_adapter_the_reference_is_the_model_without_it(
    bench: MakeBench, base: Path
) -> None:
    made = bench(beta=0.1, lora_r=4)
    made.stir()
    row = VARIED[1]
    [batch] = made.slices(made.rows([row]))
    own = AutoModelForCausalLM.from_pretrained(base)
    [whole] = truth(row)
    with torch.no_grad():
        logprobs = own(input_ids=torch.tensor([whole.ids])).logits[0].log_softmax(dim=-1)
    mask = batch["tool_mask"][0].bool()
    places = [n for n, value in enumerate(whole.advantages) if value is not None]
    expected = [float(logprobs[n - 1, whole.ids[n]]) for n in places]
    assert batch["ref_per_token_logps"][0][mask].tolist() == pytest.approx(expected, abs=1e-5)
    stirred = batch["sampling_per_token_logps"][0][mask]
    assert (stirred - batch["ref_per_token_logps"][0][mask]).abs().max() > 0.01


def test_an_adapter_that_was_trained_before_is_its_own_reference(
    bench: MakeBench, tmp_path: Path
) -> None:
    """The second training of an adapter starts from it, not from the model beneath."""
    first = bench(lora_r=4)
    first.stir()
    folder = tmp_path / "adapter"
    first.trainer.save_model(str(folder))
    first.trainer._learner.tokenizer.save_pretrained(folder)
    options = GRPOOptions(beta=0.1, per_device_train_batch_size=8, num_generations=4)
    again = Bench(bare_trainer(folder, tmp_path / "again", options))
    [batch] = again.slices(again.rows(VARIED))
    mask = batch["tool_mask"].bool()
    gap = batch["ref_per_token_logps"][mask] - batch["sampling_per_token_logps"][mask]
    assert gap.abs().max() < 1e-4
    again.stir()
    verify(again, NEUTRAL, neutral_too=True)


# --- generation batches that are used for several passes -----------------------------------------


@pytest.mark.parametrize("accumulation", [1, 4])
def test_slices_of_a_generation_batch(bench: MakeBench, accumulation: int) -> None:
    """Six rows in four slices: two rows only fill the batch."""
    made = bench(
        steps_per_generation=4,
        gradient_accumulation_steps=accumulation,
        per_device_train_batch_size=2,
    )
    parts = [*VARIED, *NEUTRAL[:2]]
    rows = made.rows(parts)
    assert len(rows) == 6
    batches = made.slices(rows)
    assert [len(batch["prompt_ids"]) for batch in batches] == [2, 2, 2, 2]
    verify(made, parts, shuffled=True)


@pytest.mark.parametrize("count", range(1, 9))
def test_any_number_of_rows_is_cut_into_equal_slices(bench: MakeBench, count: int) -> None:
    made = bench(steps_per_generation=4, per_device_train_batch_size=2)
    verify(made, [[turn(3, 2, 1.0)]] * count, shuffled=True)


def test_slices_weigh_as_much_as_the_whole(bench: MakeBench) -> None:
    """Cut into four slices whose gradients add up, a step is the same as in one piece."""
    whole = verify(bench(), VARIED)[0]
    pieces = verify(
        bench(steps_per_generation=4, gradient_accumulation_steps=4, per_device_train_batch_size=2),
        VARIED,
    )
    assert torch.allclose(torch.cat(pieces), whole)


def test_a_slice_is_as_wide_as_its_own_rows(bench: MakeBench) -> None:
    """And neither its rows nor its loss are others than those of the padded slice."""
    made = bench(steps_per_generation=8, per_device_train_batch_size=1)
    slices = made.slices(made.rows([*VARIED, *NEUTRAL[:2]]))
    widths = set()
    for padded in slices:
        cut = trimmed(padded)
        assert cut.keys() == padded.keys()
        read, said = padded["prompt_mask"].bool(), padded["completion_mask"].bool()
        assert cut["prompt_mask"].all() and cut["completion_mask"].all()
        assert torch.equal(cut["prompt_ids"], padded["prompt_ids"][:, read[0]])
        for name in ("completion_ids", "tool_mask", "advantages", "sampling_per_token_logps"):
            assert torch.equal(cut[name], padded[name][:, said[0]])
        losses = [made.trainer.compute_loss(made.trainer.model, x).item() for x in (padded, cut)]
        assert losses[0] == pytest.approx(losses[1], abs=1e-6)
        widths.add((cut["prompt_ids"].size(1), cut["completion_ids"].size(1)))
    assert len(widths) > 2


@pytest.mark.parametrize("off_policy", ["sampler", "trainer"])
def test_a_batch_that_is_used_twice(bench: MakeBench, off_policy: str) -> None:
    made = bench(num_iterations=2, off_policy=off_policy, epsilon=10.0)
    parts = [*VARIED, *ASIDES]
    batches = made.slices(made.rows(parts))
    expected = [row for part in parts for row in truth(part)]
    first = [made.gradients(batch)[1] for batch in batches]
    check(batches, first, expected)
    made.stir()  # stands for the first update
    second = [made.gradients(batch)[1] for batch in batches]
    check(batches, second, expected)
    # The second time, tokens count by how much more probable they have become since.
    assert not torch.allclose(first[0], second[0])
    mask = batches[0]["tool_mask"].bool()
    old = batches[0]["old_per_token_logps"]
    assert torch.allclose(old[mask], batches[0]["sampling_per_token_logps"][mask], atol=1e-5)


def test_a_token_that_was_clipped_is_not_pushed_further(bench: MakeBench) -> None:
    made = bench(epsilon=0.2)
    [row] = made.rows([[turn(4, 2, 1.0)]])
    lucky = row._replace(logprobs=[row.logprobs[0] - 1.0, row.logprobs[1] + 1.0])
    [batch] = made.slices([lucky])
    _, [gradient] = made.gradients(batch)
    assert gradient[0] == 0  # nearly three times as probable as when it was sampled
    assert gradient[1] < 0


# --- the checker itself --------------------------------------------------------------------------


def shifted(tensor: torch.Tensor, by: int) -> torch.Tensor:
    return torch.roll(tensor, by, dims=1)


@pytest.mark.parametrize("by", [1, -1])
@pytest.mark.parametrize("key", ["tool_mask", "advantages", "completion_ids"])
@pytest.mark.parametrize("parts", ALL.values(), ids=ALL)
def test_what_is_shifted_by_one_token_is_noticed(
    bench: MakeBench, parts: list[RoleSample], key: str, by: int
) -> None:
    made = bench()
    [batch] = made.slices(made.rows(parts))
    batch[key] = shifted(batch[key], by)
    if key == "tool_mask":  # where the mask alone decides
        batch["advantages"] = torch.ones_like(batch["advantages"])
        parts = [[one._replace(advantage=1.0) for one in part] for part in parts]
    _, gradient = made.gradients(batch)
    with pytest.raises(Wrong):
        check([batch], [gradient], [row for part in parts for row in truth(part)])


@pytest.mark.parametrize("by", [1, -1])
def test_a_trainer_that_shifts_its_mask_is_noticed(
    bench: MakeBench, monkeypatch: pytest.MonkeyPatch, by: int
) -> None:
    made = bench()
    slices = made.slices

    def wrong(rows: list[OnlineRow], **how: Any) -> list[dict[str, Any]]:
        batches = slices(rows, **how)
        for batch in batches:
            batch["tool_mask"] = shifted(batch["tool_mask"], by)
            batch["advantages"] = shifted(batch["advantages"], by)
        return batches

    monkeypatch.setattr(made, "slices", wrong)
    with pytest.raises(Wrong):
        verify(made, VARIED)


def test_an_advantage_with_the_wrong_sign_is_noticed(bench: MakeBench) -> None:
    made = bench()
    [batch] = made.slices(made.rows(VARIED))
    batch["advantages"] = -batch["advantages"]
    with pytest.raises(Wrong, match="wrong way"):
        check([batch], [made.gradients(batch)[1]], [row for part in VARIED for row in truth(part)])


def test_a_missing_row_is_noticed(bench: MakeBench) -> None:
    made = bench()
    [batch] = made.slices(made.rows(VARIED[1:]))
    with pytest.raises(Wrong, match="missing"):
        check([batch], [made.gradients(batch)[1]], [row for part in VARIED for row in truth(part)])
