"""What holds of all trainers that learn from preferences: `dpo` and `kto`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.trainers.gradients import check_gradient, trained_tokens
from tests.trainers.online_kit import logged
from tests.trainers.preference_kit import (
    DPO_CASE,
    HERE,
    KTO_CASE,
    Case,
    batch_of,
    check_plays,
    config,
    recording,
    register_talk,
    shifted,
    stir,
    tiny_base,
    weights,
)

from playpen.training import (
    ConfigError,
    DataTable,
    GamesTable,
    LearnerTable,
    TeacherTable,
    plan_training,
    train,
)
from playpen_trainers.preferences import trainer as preference_trainer
from playpen_trainers.seats import Seating

both = pytest.mark.parametrize("case", [DPO_CASE, KTO_CASE], ids=lambda case: case.name)
full_and_lora = pytest.mark.parametrize("rank", [0, 4], ids=["full", "lora"])


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_base(tmp_path_factory.mktemp("models") / "base")


@pytest.fixture(autouse=True)
def _games(monkeypatch: pytest.MonkeyPatch) -> None:
    register_talk(monkeypatch)


# --- gradients -----------------------------------------------------------------------------------


@full_and_lora
@pytest.mark.parametrize(
    ("case", "options"),
    [
        (DPO_CASE, {}),
        (KTO_CASE, {"loss_type": "kto"}),
        (KTO_CASE, {"loss_type": "apo_zero_unpaired"}),
    ],
    ids=["dpo", "kto", "kto apo_zero_unpaired"],
)
def test_exactly_the_learners_own_tokens_are_trained(
    base: Path, tmp_path: Path, case: Case, options: dict[str, Any], rank: int
):
    rows = case.rows()
    trainer = case.untrained(base, tmp_path / "out", rows, lora_r=rank, **options)
    check_gradient(trainer, batch_of(trainer), case.expected(rows))
    stir(trainer.model)
    check_gradient(trainer, batch_of(trainer), case.expected(rows))
    counts = set(trained_tokens(trainer, batch_of(trainer)).sum(dim=1).tolist())
    if case is DPO_CASE:
        assert 1 in counts  # a reply that is empty but for the end of its turn
        assert len(counts) > 3
    else:
        assert counts == {2, 3, 4, 5}  # 3: one of the replies is empty


@both
@full_and_lora
@pytest.mark.parametrize("by", [-1, 1])
def test_a_mask_that_is_shifted_by_a_token_is_noticed(
    base: Path, tmp_path: Path, case: Case, rank: int, by: int
):
    rows = case.rows()
    trainer = case.untrained(base, tmp_path / "out", rows, lora_r=rank)
    with pytest.raises(AssertionError, match="wrongly trained"):
        check_gradient(trainer, shifted(batch_of(trainer), by), case.expected(rows))


@both
def test_an_all_masked_row_is_not_trained(base: Path, tmp_path: Path, case: Case):
    rows = case.rows()
    trainer = case.untrained(base, tmp_path / "out", rows)
    batch, expected = batch_of(trainer), case.expected(rows)
    for place in range(1, len(expected), len(rows)):  # each side of the second row
        batch["completion_mask"][place] = 0
        expected[place] = [False]
    check_gradient(trainer, batch, expected)
    batch["completion_mask"][:] = 0
    assert not trained_tokens(trainer, batch).any()


@both
@pytest.mark.parametrize("limit", [8, 9, 12, 20])
def test_what_is_beyond_the_limit_is_not_trained(
    base: Path, tmp_path: Path, case: Case, limit: int
):
    rows = case.rows()
    trainer = case.untrained(base, tmp_path / "out", rows, max_length=limit)
    fit = [row for row in rows if all(any(side[:limit]) for side in case.expected([row]))]
    assert 0 < len(fit) == len(trainer.train_dataset)
    batch = batch_of(trainer)
    widths = [ids.size(1) for name, ids in batch.items() if name.endswith("input_ids")]
    assert len(widths) == (1 if case is DPO_CASE else 2) and max(widths) <= limit
    check_gradient(trainer, batch, [side[:limit] for side in case.expected(fit)])


@both
def test_rows_that_do_not_fit_are_refused(base: Path, tmp_path: Path, case: Case):
    with pytest.raises(ConfigError, match=r"within 3 tokens; raise trainer\.max_length"):
        case.untrained(base, tmp_path / "out", case.rows(), max_length=3)


@both
def test_rows_that_do_not_fit_are_left_out_with_a_warning(base: Path, tmp_path: Path, case: Case):
    with pytest.warns(UserWarning, match="have nothing to train within 9 tokens"):
        case.untrained(base, tmp_path / "out", case.rows(), max_length=9)


# --- from play to a checkpoint -------------------------------------------------------------------


@full_and_lora
@pytest.mark.parametrize(
    ("case", "options"),
    [
        (DPO_CASE, {"pairs": "dialogue"}),
        (DPO_CASE, {"pairs": "turn"}),
        (KTO_CASE, {"label": "success"}),
        (KTO_CASE, {"label": "threshold"}),
        (KTO_CASE, {"label": "group"}),
    ],
    ids=lambda value: value.name if isinstance(value, Case) else "".join(value.values()),
)
def test_from_play_to_a_player(
    base: Path, tmp_path: Path, case: Case, options: dict[str, Any], rank: int
):
    options = {"lora_r": rank, "logging_steps": 1, "save_steps": 2, **options}
    final = train(case.name, config(base, trainer=options), tmp_path)
    assert final == tmp_path / "final"
    saved = {path.name for path in final.iterdir()}
    assert ("adapter_model.safetensors" if rank else "model.safetensors") in saved
    assert not any(name.endswith((".bin", ".pt", ".pkl")) for name in saved)
    first, *steps = logged(tmp_path)
    rows = case.learned(tmp_path)
    assert first["episodes"] == 64 and first["rows"] == len(rows) > 4
    assert first["sampled_tokens"] >= first["trained_tokens"] > 0
    assert (first["episodes_played"] > 64) is (options.get("pairs") == "turn")
    assert [line["step"] for line in steps] == [1, 2]
    assert all(any(own) for own in case.expected(rows))
    if case is DPO_CASE:
        assert first["pairs"] == len(rows) and first["sampled_tokens"] > first["trained_tokens"]
        assert all(row.game == "talk" and row.role in ("a", "b") for row in rows)
        assert all(row.difference > 0 for row in rows)
        forked = options["pairs"] == "turn"
        assert all((row.turn is None, row.error is None) == (not forked,) * 2 for row in rows)
    else:
        assert len(rows) > 8 and {row.role for row in rows} == {"a", "b"}
        desirable = sum(row.desirable for row in rows) / len(rows)
        assert first["desirable"] == pytest.approx(desirable)
    check_plays(final)


class Killed(BaseException):
    """The end of a training process."""


@pytest.mark.parametrize(
    ("case", "options", "further"),
    [
        (DPO_CASE, {}, False),
        (DPO_CASE, {"pairs": "turn"}, False),
        (DPO_CASE, {"lora_r": 4}, False),
        (DPO_CASE, {"lora_r": 4}, True),
        (KTO_CASE, {}, False),
        (KTO_CASE, {"lora_r": 4}, False),
    ],
    ids=["dpo full", "dpo turn", "dpo lora", "dpo lora further", "kto full", "kto lora"],
)
def test_resumed_training_gives_the_same_weights(
    base: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    case: Case,
    options: dict[str, Any],
    further: bool,
):
    if further:
        trained = {"learning_rate": 0.03, **options}
        base = train(case.name, config(base, trainer=trained), tmp_path / "before")
    often = {"max_steps": 4, "save_steps": 2, "logging_steps": 1, "lora_dropout": 0.1}
    wanted = config(base, trainer={**often, **options})
    undisturbed = weights(train(case.name, wanted, tmp_path / "undisturbed"))

    output = tmp_path / "killed"
    original = case.kind.trl_trainer.training_step
    steps = []

    def dies(self: Any, *args: Any, **kwargs: Any) -> Any:
        steps.append(self.state.global_step)
        if steps[-1] == 3:
            raise Killed
        return original(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(case.kind.trl_trainer, "training_step", dies)
        with pytest.raises(Killed):
            train(case.name, wanted, output)
    assert steps == [0, 1, 2, 3]
    assert (output / "checkpoints" / "checkpoint-2").is_dir()
    with monkeypatch.context() as patch:
        patch.setattr(Seating, "run", lambda self, jobs: pytest.fail("played again"))
        resumed = weights(train(case.name, wanted, output))
    assert all(torch.equal(resumed[name], undisturbed[name]) for name in undisturbed)
    full, cut = [
        [(line["step"], line.get("loss")) for line in logged(tmp_path / name)]
        for name in ("undisturbed", "killed")
    ]
    assert full == cut


@both
def test_the_plan_counts_recordings_that_nobody_won(base: Path, tmp_path: Path, case: Case):
    data = DataTable(runs=[recording(tmp_path / "loses", "loses")])
    wanted = config(base, data=data, games=GamesTable())
    plan = plan_training(case.name, wanted, tmp_path / "out")
    assert plan.parts["recordings"].startswith("6 episodes of ")
    with pytest.raises(ConfigError, match="passes the filters"):
        plan_training("sft", wanted, tmp_path / "out")


@both
def test_a_teacher_holds_the_other_role(base: Path, tmp_path: Path, case: Case):
    wanted = config(
        base,
        learner=LearnerTable(player=f"hf:{base}", roles=["a"]),
        teacher=TeacherTable(player=f"{HERE}:wins"),
    )
    train(case.name, wanted, tmp_path)
    assert {row.role for row in case.learned(tmp_path)} == {"a"}


# --- what is refused -----------------------------------------------------------------------------


@both
@pytest.mark.parametrize(
    ("learner", "line"),
    [
        (
            LearnerTable(player="openai:gpt-5@http://localhost:1/v1"),
            r"learner\.player = 'openai:gpt-5.*' cannot be trained; name a model as hf:NAME",
        ),
        (
            LearnerTable(player="program:oracle", roles=["a"]),
            r"learner\.player = 'program:oracle' cannot be trained",
        ),
        (
            LearnerTable(player="hf:BASE", roles=["a"]),
            r"learner\.roles = \['a'\]: nobody plays b",
        ),
    ],
    ids=["server", "program", "no partner"],
)
def test_a_learner_that_cannot_be_trained_is_refused(
    base: Path, tmp_path: Path, case: Case, learner: LearnerTable, line: str
):
    check_refused(case, base, tmp_path / "out", line, {}, learner=learner)


@pytest.mark.parametrize(
    ("case", "options", "line"),
    [
        (DPO_CASE, {"samples": 1}, r"trainer\.samples = 1: .* at least 2 episodes on each"),
        (DPO_CASE, {"pairs": "turn", "candidates": 1}, r"trainer\.candidates = 1: .* at least 2"),
        (
            DPO_CASE,
            {"pairs": "turn", "continuations": 1},
            r"trainer\.continuations = 1: .* at least 2",
        ),
        (DPO_CASE, {"loss_type": "exo_pair"}, r"trainer\.label_smoothing = 0: .* say 1e-3"),
        (DPO_CASE, {"label_smoothing": 0.5}, r"trainer\.label_smoothing = 0\.5: write less than"),
        (DPO_CASE, {"pairs": "turns"}, r"trainer.*pairs"),
        (DPO_CASE, {"loss_type": "sigmoidal"}, r"trainer.*loss_type"),
        (DPO_CASE, {"betta": 0.1}, r"betta.*beta"),
        (
            KTO_CASE,
            {"per_device_train_batch_size": 1},
            r"trainer\.per_device_train_batch_size = 1: .* write at least 2, or choose",
        ),
        (
            KTO_CASE,
            {"label": "group", "samples": 1},
            r"trainer\.samples = 1: the label 'group' needs",
        ),
        (KTO_CASE, {"label": "won"}, r"trainer.*label"),
        (KTO_CASE, {"loss_type": "sigmoid"}, r"trainer.*loss_type"),
        (KTO_CASE, {"desirable_weigth": 1.0}, r"desirable_weigth.*desirable_weight"),
    ],
)
def test_wrong_options_are_refused(
    base: Path, tmp_path: Path, case: Case, options: dict[str, Any], line: str
):
    check_refused(case, base, tmp_path / "out", line, options)


def test_replies_of_recordings_cannot_be_compared(base: Path, tmp_path: Path):
    check_refused(
        DPO_CASE,
        base,
        tmp_path / "out",
        r"data\.runs = \['a', 'b'\]: .* leave data\.runs out, or write trainer\.pairs = 'dia",
        {"pairs": "turn"},
        data=DataTable(runs=["a", "b"]),
    )


def check_refused(
    case: Case, base: Path, output: Path, line: str, options: dict[str, Any], **changes: Any
) -> None:
    """Assert that a configuration is refused in one line, before anything is loaded."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(preference_trainer, "seated_learner", lambda *_: pytest.fail("loaded"))
        with pytest.raises(ConfigError, match=line) as caught:
            train(case.name, config(base, trainer=options, **changes), output)
    assert "\n" not in str(caught.value)
    assert not output.exists()
