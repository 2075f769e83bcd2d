"""Playing on validation instances while training: learning curve, best checkpoint, early stop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import transformers
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from playpen.episode import Episode
from playpen.training import ConfigError, TrainingRun
from playpen_trainers.checkpointing import save
from playpen_trainers.learner import Learner
from playpen_trainers.seats import Seating

_BEST = "best"


class Validation(TrainerCallback):
    """Plays the validation instances every so many steps, the first time before the first step.

    The learner holds the roles that it learns, the teacher holds the others.
    """

    name = "validation"

    def __init__(self, run: TrainingRun, learner: Learner, seating: Seating) -> None:
        self._run = run
        self._learner = learner
        self._seating = seating
        self._table = run.config.eval
        self._instances = run.validation_instances() if self._table.every else {}
        self._trainer: transformers.Trainer | None = None
        self._best: float | None = None
        self._best_step = 0
        self._worse = 0

    def attach(self, trainer: transformers.Trainer) -> None:
        """Watch a trainer."""
        self._trainer = trainer
        if self._table.every:
            trainer.add_callback(self)

    def state(self) -> dict[str, Any]:
        """Best value, its step, and how many evaluations were not better since."""
        return {"best": self._best, "step": self._best_step, "worse": self._worse}

    def restore(self, state: dict[str, Any]) -> None:
        """Take up what was kept."""
        self._best, self._best_step = state["best"], state["step"]
        self._worse = state["worse"]
        if self._table.keep_best and not (self._run.output / _BEST).is_dir():
            self._best = None  # the process died while another one took its place

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Measure where training starts."""
        if state.global_step == 0:
            self._measure(state, control)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Measure every so many steps."""
        if state.global_step % self._table.every == 0:
            self._measure(state, control)

    def result(self, final: Path) -> Path:
        """The checkpoint that a training is for: the best one, if that is wanted, or the last."""
        wanted = self._table.every and self._table.keep_best and self._best is not None
        return self._run.output / _BEST if wanted else final

    def values(self, model: Any) -> dict[str, float]:
        """Play the validation instances with the learner's weights as they are.

        Returns:
            The `measures` over all games; with several games also those of each, as ``NAME/GAME``.
        """
        was_training = model.training
        model.eval()
        try:
            player = self._seating.learner_player(
                model, self._learner.tokenizer, temperature=self._table.temperature
            )
            episodes = self._seating.play(self._instances, player)
        finally:
            model.train(was_training)
        values = measures(episodes)
        for name in self._instances:
            alone = [episode for episode in episodes if episode.game == name]
            if len(self._instances) > 1:
                values |= {f"{key}/{name}": value for key, value in measures(alone).items()}
        return values

    def _measure(self, state: TrainerState, control: TrainerControl) -> None:
        assert self._trainer is not None
        values = self.values(self._trainer.accelerator.unwrap_model(self._trainer.model))
        self._run.log(state.global_step, {f"eval/{key}": value for key, value in values.items()})
        value = values[self._table.metric]
        if self._best is None or value > self._best:
            self._best, self._best_step, self._worse = value, state.global_step, 0
            if self._table.keep_best and state.is_world_process_zero:
                save(self._trainer, self._learner, self._run.output / _BEST)
            return
        self._worse += 1
        if self._table.patience and self._worse >= self._table.patience:
            control.should_training_stop = True


def measures(episodes: list[Episode]) -> dict[str, float]:
    """Shares of won and of played episodes, and the mean main score with aborted ones as 0.

    Raises:
        ConfigError: every episode failed; gives the first cause.
    """
    judged = [episode for episode in episodes if episode.failure is None]
    if not judged:
        cause = episodes[0].failure.message if episodes and episodes[0].failure else "none played"
        raise ConfigError(f"eval: every episode failed: {cause}")
    count = len(judged)
    return {
        "success": sum(episode.success for episode in judged) / count,
        "played": sum(not episode.aborted for episode in judged) / count,
        "score": sum(episode.main_score or 0.0 for episode in judged) / count,
        "episodes": count,
    }
