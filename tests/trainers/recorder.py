"""What a training plays and learns from, recorded; and trainers stopped before their first step.

Here alone do tests reach into how a batch is laid out.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import transformers

from playpen.episode import Episode
from playpen.rollout import Job
from playpen.training import TrainConfig, train
from playpen_trainers.grpo import DialogueGRPOTrainer
from playpen_trainers.online import Batch, OnlineRollouts
from playpen_trainers.online_rows import OnlineRow
from playpen_trainers.seats import Seating


class Recorder:
    """Records what trainings do while a test runs.

    Attributes:
        episodes: every episode that was played, forks included.
        played: what was played for each generation batch.
        rows: the rows that were made of each.
        batches: the same as TRL's trainer gets them.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.episodes: list[Episode] = []
        self.played: list[Batch] = []
        self.rows: list[list[OnlineRow]] = []
        self.batches: list[dict[str, Any]] = []
        run, play, lay_out = Seating.run, OnlineRollouts.play, DialogueGRPOTrainer._lay_out

        def recorded_run(seating: Seating, jobs: Iterable[Job]) -> None:
            jobs = list(jobs)
            run(seating, jobs)
            self.episodes += [job.episode for job in jobs]

        def recorded_play(rollouts: OnlineRollouts, *args: Any) -> Batch:
            self.played.append(play(rollouts, *args))
            return self.played[-1]

        def recorded_layout(trainer: Any, rows: list[OnlineRow]) -> dict[str, Any]:
            self.rows.append(rows)
            self.batches.append(lay_out(trainer, rows))
            return self.batches[-1]

        monkeypatch.setattr(Seating, "run", recorded_run)
        monkeypatch.setattr(OnlineRollouts, "play", recorded_play)
        monkeypatch.setattr(DialogueGRPOTrainer, "_lay_out", recorded_layout)


def laid_out(trainer: Any, rows: list[OnlineRow]) -> dict[str, Any]:
    """The batch that our trainer makes of rows."""
    batch: dict[str, Any] = trainer._lay_out(rows)
    return batch


class _Ready(BaseException):
    """TRL's trainer is about to train."""


def untrained(name: str, config: TrainConfig, output: Path) -> Any:
    """TRL's trainer of a training, stopped before its first step."""
    ready: list[Any] = []

    def stop(trainer: Any, *_: Any, **__: Any) -> None:
        ready.append(trainer)
        raise _Ready

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transformers.Trainer, "train", stop)
        with pytest.raises(_Ready):
            train(name, config, output)
    [trainer] = ready
    return trainer
