"""Online training whose learner vLLM plays: every roll-out is by the weights of that step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.trainers.online_kit import config, register_games, steps_of, tiny_base

from playpen.training import EvalTable, RolloutTable, train
from playpen_trainers.grpo import DialogueGRPOTrainer
from playpen_trainers.online import Batch, OnlineRollouts

pytestmark = pytest.mark.vllm

VLLM = RolloutTable(max_new_tokens=4, engine="vllm", concurrency=32, temperature=0.8)


@pytest.fixture(autouse=True)
def _games(monkeypatch: pytest.MonkeyPatch) -> None:
    register_games(monkeypatch)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_base(tmp_path_factory.mktemp("base"))


class Watched:
    """What vLLM holds whenever a roll-out is over.

    Attributes:
        held: numbers of the adapters in vLLM, after each roll-out.
        known: how many adapters our engine knows then.
        saved: names of the adapters on disk then.
        engines: the engines that played.
        processes: their processes.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, output: Path) -> None:
        self.held: list[set[int]] = []
        self.known: list[int] = []
        self.saved: list[list[str]] = []
        self.engines: list[Any] = []
        self.processes: list[Any] = []
        play = OnlineRollouts.play

        def watched(rollouts: Any, player: Any, *arguments: Any) -> Batch:
            batch = play(rollouts, player, *arguments)
            engine = player._loaded[0]
            worker = engine._worker
            self.held.append(set(worker.submit(worker.engine.list_loras()).result()))
            self.known.append(len(engine._adapters))
            self.saved.append([path.name for path in output.rglob("rollout-adapter/*")])
            if engine not in self.engines:
                self.engines.append(engine)
                self.processes += worker.engine.engine_core.resources.engine_manager.processes
            return batch

        monkeypatch.setattr(OnlineRollouts, "play", watched)

    def check_nothing_is_left(self, output: Path) -> None:
        assert len(self.engines) == len(self.processes) == 1
        assert not self.engines[0].usable
        for process in self.processes:
            process.join(30)  # one that had to be killed ends a moment later
            assert not process.is_alive()
        assert not list(output.rglob("rollout-adapter"))


def test_each_roll_out_is_by_the_adapter_of_its_step(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gaps: list[tuple[float, float]] = []
    compare = DialogueGRPOTrainer._compare_with_sampler

    def compared(self: Any, output: dict[str, Any]) -> None:
        compare(self, output)
        mask = output["tool_mask"].bool()
        sampled = output["sampling_per_token_logps"]
        with torch.no_grad():
            now = self._logps(self.model, output)
            with self.model.disable_adapter():  # what an adapter begins as does nothing
                then = self._logps(self.model, output)
        gaps.append(((now - sampled).abs()[mask].max(), (then - sampled).abs()[mask].max()))

    monkeypatch.setattr(DialogueGRPOTrainer, "_compare_with_sampler", compared)
    output = tmp_path / "out"
    watched = Watched(monkeypatch, output)
    evaluation = EvalTable(every=3, episodes=4)  # plays too, before the first step
    options = {"lora_r": 4, "max_steps": 3, "learning_rate": 0.05}
    train("grpo", config(base, rollout=VLLM, evaluation=evaluation, **options), output)

    for_all_rows, by_the_first = zip(*gaps, strict=True)
    logged = [step["sampler_gap/max"] for step in steps_of(output)]
    assert len(logged) == len(gaps) == 3
    assert max(logged) < 1e-2
    assert max(for_all_rows) < 1e-2
    assert by_the_first[0] < 1e-2
    assert by_the_first[-1] > 5e-2
    assert [len(numbers) for numbers in watched.held] == [1, 1, 1]
    assert len(set.union(*watched.held)) == 3  # no number is used again
    assert watched.known == [1, 1, 1]
    assert [len(names) for names in watched.saved] == [1, 1, 1]
    watched.check_nothing_is_left(output)


def test_a_bare_learner_and_its_adapter_play_on_one_engine(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out"
    watched = Watched(monkeypatch, output)
    options = {"iterations": 2, "samples": 4, "lora_r": 4, "max_steps": 2, "learning_rate": 0.05}
    rft = config(base, rollout=VLLM, **options)
    del rft.trainer["num_generations"]
    train("rft", rft, output)
    assert [len(numbers) for numbers in watched.held] == [0, 1]
    watched.check_nothing_is_left(output)


def test_an_error_ends_the_engine_which_has_written_nothing(
    base: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    output = tmp_path / "out"
    watched = Watched(monkeypatch, output)

    def fail(*_: Any) -> None:
        raise ArithmeticError("something is wrong")

    monkeypatch.setattr(DialogueGRPOTrainer, "_lay_out", fail)
    with pytest.raises(ArithmeticError):
        train("grpo", config(base, rollout=VLLM, lora_r=4), output)
    assert "safetensors" not in "".join(capfd.readouterr())  # of its progress
    watched.check_nothing_is_left(output)
