"""The `TrainingRun` that a trainer is given."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from playpen.cast import Cast, make_cast
from playpen.episode import Episode
from playpen.fingerprints import TRAINED_ON
from playpen.game import Game
from playpen.instance import Instance
from playpen.plugins import PluginError, load, registry
from playpen.rewards import RewardFunction, Rewards
from playpen.runner import create_run, play_run
from playpen.store import Run
from playpen.terminal.console import open_console
from playpen.terminal.tables import PlayProgress
from playpen.training.config import ConfigError, TrainConfig, convert
from playpen.training.instances import TrainingInstances
from playpen.training.metrics_log import MetricsLog
from playpen.training.recordings import episodes_to_learn, refuse_held_out
from playpen.training.trained_on import TrainedOn


class TrainingRun:
    """What a trainer works with.

    Attributes:
        trainer: the trainer's name.
        config: the resolved configuration.
        output: where checkpoints, recorded episodes and logs go.
        learner: spec string of the model to train.
    """

    def __init__(self, trainer: str, config: TrainConfig, output: str | Path) -> None:
        self.trainer = trainer
        self.config = config
        self.output = Path(output)
        self.learner = config.learner.player
        self._instances = TrainingInstances(config)
        self._log = MetricsLog(self.output / "metrics.jsonl")
        self._trained_on = TrainedOn(self.output / TRAINED_ON)

    def games(self) -> dict[str, Game]:
        """The games of the configuration by name."""
        return self._instances.games()

    def instances(self, *, renewal: int = 0) -> dict[str, list[Instance]]:
        """Per game, the instances to train on.

        Args:
            renewal: 0 for the configured ones; other numbers give new ones from the generators,
                of the same levels and the same split.

        Raises:
            InstanceError: a file is not valid for its game.
            ConfigError: an instance is held out from training.
        """
        made = self._instances.training(renewal)
        if not self.config.data.runs:
            for instances in made.values():
                self._trained_on.add(instances)
        return made

    def record_trained_on(self) -> None:
        """From now on ``trained_on.tsv`` holds what was learned from, the learner's past included.

        Raises:
            ConfigError: the learner's own list is damaged.
        """
        self._trained_on.record(self.learner)

    def validation_instances(self) -> dict[str, list[Instance]]:
        """Per game, the instances that ``[eval]`` measures on: of the validation split.

        They are of the levels that are trained on, spread evenly over them.

        Raises:
            ConfigError: a game has none.
        """
        return self._instances.validation()

    def rewards(self) -> Rewards:
        """What ``[reward]`` names.

        Raises:
            ConfigError: there is no such reward, or an option of it is wrong.
        """
        table, plugins = self.config.reward, registry()
        terms = []
        for name, options in table.terms.items():
            try:
                spec = plugins.find("reward", plugins.rewards, name)
                kind: type[RewardFunction] = load(spec.path, what=f"the reward {name!r}")
            except PluginError as error:
                raise ConfigError(f"reward.terms: {error}") from None
            terms.append(kind(convert(options, kind.Options, f"[reward.terms.{name}]")))
        return Rewards(terms, table.discount)

    def play(self, name: str, cast: Cast) -> Run:
        """Play the training instances, recorded in the directory `name` of the output.

        A recording that is already there is continued, so that training resumes.
        """
        path = self.output / name
        rollout = self.config.rollout
        if (path / "run.json").exists():
            run = Run.open(path)
            if (run.config.players, run.config.seed) != (cast.specs, rollout.seed):
                raise ConfigError(
                    f"{path} holds episodes of other players or another seed; "
                    "choose another output directory, or remove it"
                )
        else:
            run = create_run(
                path,
                self.instances(),
                cast,
                episodes=rollout.episodes,
                seed=rollout.seed,
                concurrency=rollout.concurrency,
                split=self.config.games.split,
            )
        with PlayProgress(open_console(stderr=True)) as progress:
            play_run(run, cast, planned=progress.planned, finished=progress.finished)
        return run

    def demonstrations(self, *, any_outcome: bool = False) -> list[tuple[Episode, tuple[str, ...]]]:
        """Episodes to learn from, each with the roles whose replies are learned.

        They come from ``[data] runs``, ordered by identity; without any, the teacher plays the
        games now.

        Args:
            any_outcome: take them however they ended and whatever they scored: for those who
                compare, good and bad ones.

        Raises:
            ConfigError: nothing is left after filtering, or an episode is of a test split.
        """
        runs = [Run.open(path) for path in self.config.data.runs]
        for run in runs:
            refuse_held_out(run, self._instances.held_out)
        played = not runs
        if played:
            teacher = self.config.teacher.player or "program:oracle"
            with make_cast([(None, teacher)]) as cast:
                runs = [self.play("demonstrations", cast)]
        chosen = episodes_to_learn(runs, self.config, any_outcome=any_outcome, any_split=played)
        wanted = {(episode.game, episode.instance) for episode, _ in chosen}
        for run in runs:
            self._trained_on.add(i for i in run.instances() if (i.game, i.hash) in wanted)
        return chosen

    def log(self, step: int, values: Mapping[str, Any]) -> None:
        """Record numbers: a line of ``metrics.jsonl``, and the observers are told.

        Of several processes only the first one does.
        """
        self._log.log(step, values)

    def forget_after(self, step: int) -> None:
        """Take back what was logged after a step: training goes on from there once more."""
        self._log.forget_after(step)
