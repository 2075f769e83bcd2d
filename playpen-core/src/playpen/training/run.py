"""The trainer side: the `Trainer` base class, and the `TrainingRun` that it is given."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import msgspec
from rich.console import Console

from playpen.conversation import derive_seed
from playpen.episode import Episode
from playpen.game import Game
from playpen.instance import Instance
from playpen.instance_sets import parse_instances, read_instances, ready_instances
from playpen.plugins import PluginError, get_game, load, registry
from playpen.rewards import RewardFunction, Rewards
from playpen.runner import Cast, create_run, make_cast, make_players, play_run
from playpen.store import Run
from playpen.terminal.tables import PlayProgress
from playpen.training.config import TABLES, ConfigError, TrainConfig, convert
from playpen.training.contamination import HeldOut


class Trainer:
    """Base class of trainers.

    A subclass declares its options as a struct (typed, with defaults) in `Options`, and writes
    `train`.  The directory that it returns must be usable as an ``hf:`` player.
    """

    Options: ClassVar[type[msgspec.Struct]]

    tables: ClassVar[tuple[str, ...]] = TABLES
    """The shared tables that it reads; its documentation leaves the others out."""

    def __init__(self, options: Any) -> None:
        self.options = options

    def check(self, run: TrainingRun) -> None:
        """Refuse a configuration that this trainer cannot use, before anything is loaded.

        Raises:
            ConfigError: names the key, the value and the remedy.
        """

    def recordings(self, run: TrainingRun) -> list[tuple[Episode, tuple[str, ...]]]:
        """The episodes of ``[data] runs`` that it would learn from, each with the roles to learn.

        Those to imitate, unless a trainer wants others.

        Raises:
            ConfigError: there are none, or one is of a test split.
        """
        return run.demonstrations()

    def train(self, run: TrainingRun) -> Path:
        """Train the learner.

        Returns:
            The directory of the final checkpoint.
        """
        raise NotImplementedError


class TrainingRun:
    """What a trainer works with.

    Attributes:
        config: the resolved configuration.
        output: where checkpoints, recorded episodes and logs go.
        learner: spec string of the model to train.
    """

    def __init__(self, trainer: str, config: TrainConfig, output: str | Path) -> None:
        self.trainer = trainer
        self.config = config
        self.output = Path(output)
        self.learner = config.learner.player

    @cached_property
    def _held_out(self) -> HeldOut:
        return HeldOut.registered(self.config.games.held_out)

    def games(self) -> dict[str, Game]:
        """The games of the configuration by name."""
        return {name: get_game(name) for name in self.config.games.names}

    def instances(self, *, renewal: int = 0) -> dict[str, list[Instance]]:
        """Per game, the instances to train on.

        Args:
            renewal: 0 for the configured ones; other numbers give new ones from the generators,
                of the same levels and the same split.

        Raises:
            InstanceError: a file is not valid for its game.
            ConfigError: an instance is held out from training.
        """
        table = self.config.games
        games = self.games()
        found: dict[str, list[Instance]] = {}
        for name, game in games.items():
            if name in table.files:
                found[name] = read_instances(table.files[name], game)
                self._held_out.refuse(
                    found[name],
                    games,
                    f"games.files: {table.files[name]}",
                    tests=True,
                    remedy="take them out of the file, or the test means nothing",
                )
                continue
            if table.levels is None and table.per_level is None and not renewal:
                found[name] = ready_instances(game, table.split)
            else:
                seed = derive_seed("renewal", table.seed, renewal) if renewal else table.seed
                found[name] = self._generated(game, table.split, seed, table.per_level)
            # Of another split than the test split by how they are made.
            if table.leave_out:
                kept = [i for i in found[name] if not self._held_out.where(game, i, tests=False)]
                found[name] = kept
            self._held_out.refuse(
                found[name],
                games,
                "games.names",
                tests=False,
                remedy="write games.leave_out = true to train without them",
            )
        return found

    def validation_instances(self) -> dict[str, list[Instance]]:
        """Per game, the instances that ``[eval]`` measures on: of the validation split.

        They are of the levels that are trained on, spread evenly over them.

        Raises:
            ConfigError: a game has none.
        """
        wanted = self.config.eval.episodes
        found: dict[str, list[Instance]] = {}
        for name, game in self.games().items():
            if self.config.games.levels is None:
                instances = ready_instances(game, "validation")
            else:
                instances = self._generated(game, "validation", self.config.games.seed, None)
            if not instances:
                raise ConfigError(f"eval: {name!r} has no validation instances")
            found[name] = _spread(instances, wanted)
        return found

    def _generated(self, game: Game, split: str, seed: int, count: int | None) -> list[Instance]:
        wanted = self.config.games.levels
        known = game.levels()
        levels = known if wanted is None else [level for level in wanted if level in known]
        return [
            instance
            for level in levels
            for instance in parse_instances(
                game.generate(split, seed=seed, level=level, n=count),
                game,
                source=f"{game.name} ({level})",
                split=split,
            )
        ]

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
        players = make_players(cast.specs)
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
                players=players,
            )
        with PlayProgress(Console(stderr=True)) as progress:
            play_run(run, planned=progress.planned, finished=progress.finished, players=players)
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
        data = self.config.data
        runs = [Run.open(path) for path in data.runs]
        if not runs:
            teacher = self.config.teacher.player or "program:oracle"
            runs = [self.play("demonstrations", make_cast([(None, teacher)]))]
        else:
            for run in runs:
                self._refuse_held_out(run)
        kept: list[tuple[Episode, tuple[str, ...]]] = []
        seen = 0
        for run in runs:
            for episode in run.episodes():
                seen += 1
                if episode.split == "test":
                    raise ConfigError(
                        f"{run.path}: {episode.name} is of the test split; "
                        "train on other episodes, or the test means nothing"
                    )
                if self._wanted(episode, any_outcome) and (roles := self._learned_roles(episode)):
                    kept.append((episode, roles))
        if not kept:
            raise ConfigError(
                f"none of the {seen} episodes passes the filters of [data] and [learner] roles"
            )
        # A run holds episodes as they ended, which is a matter of timing.
        kept.sort(key=lambda found: found[0].key)
        return kept

    def _refuse_held_out(self, run: Run) -> None:
        """Refuse a recording of instances that are held out, however they are called there."""
        wanted = {(episode.game, episode.instance) for episode in run.episodes()}
        played = [i for i in run.instances() if (i.game, i.hash) in wanted and i.split != "test"]
        self._held_out.refuse(
            played,
            {name: get_game(name) for name in run.config.assignments},
            str(run.path),
            tests=True,
            remedy="train on other episodes, or the test means nothing",
        )

    def _wanted(self, episode: Episode, any_outcome: bool) -> bool:
        data = self.config.data
        names = self.config.games.names
        if names and episode.game not in names:
            return False
        score = episode.main_score
        return any_outcome or (
            episode.ending in data.outcomes
            and (data.min_score is None or (score is not None and score >= data.min_score))
        )

    def _learned_roles(self, episode: Episode) -> tuple[str, ...]:
        wanted, players = self.config.learner.roles, self.config.data.players
        return tuple(
            role
            for role, player in episode.players.items()
            if (wanted is None or role in wanted) and (players is None or player in players)
        )

    def log(self, step: int, values: Mapping[str, Any]) -> None:
        """Record numbers: a line of ``metrics.jsonl``, and the observers are told.

        Of several processes only the first one does.
        """
        if not leads():
            return
        line = msgspec.json.encode({"step": step, **values})
        with (self.output / "metrics.jsonl").open("ab") as file:
            file.write(line + b"\n")
        registry().manager.hook.playpen_train_logged(step=step, values=dict(values))

    def forget_after(self, step: int) -> None:
        """Take back what was logged after a step: training goes on from there once more."""
        path = self.output / "metrics.jsonl"
        if not path.exists():
            return
        lines = path.read_bytes().splitlines(keepends=True)
        # A fresh start keeps nothing; step 0 was measured before the first step, and is done.
        kept = [x for x in lines if x.endswith(b"\n") and step and _step_of(x) <= step]
        unfinished = path.with_suffix(".tmp")
        unfinished.write_bytes(b"".join(kept))
        unfinished.replace(path)


def leads() -> bool:
    """Whether this process is the first, or only, one of a training (torchrun's `RANK`)."""
    return os.environ.get("RANK", "0") == "0"


def _spread(instances: list[Instance], wanted: int) -> list[Instance]:
    """So many of the instances: as many of each level, if it has them, from all over it."""
    levels: dict[str, list[Instance]] = {}
    for instance in instances:
        levels.setdefault(instance.experiment.name, []).append(instance)
    chosen: dict[str, list[Instance]] = {}
    left = wanted
    for done, (level, cards) in enumerate(sorted(levels.items(), key=lambda item: len(item[1]))):
        count = min(len(cards), left // (len(levels) - done))
        chosen[level] = [cards[place * len(cards) // count] for place in range(count)]
        left -= count
    return [instance for level in levels for instance in chosen[level]]


def _step_of(line: bytes) -> int:
    return msgspec.json.decode(line, type=_Logged).step


class _Logged(msgspec.Struct):
    step: int


def make_trainer(name: str, config: TrainConfig) -> Trainer:
    """Make the trainer of a name, with its options checked.

    The options are those of ``[trainer]`` and of ``[trainer.NAME]``; the tables of other trainers
    are passed over.

    Raises:
        PluginError: unknown trainer, or it cannot be imported.
        ConfigError: an option is unknown or has a wrong value.
    """
    plugins = registry()
    spec = plugins.find("trainer", plugins.trainers, name)
    cls = load(spec.path, what=f"the trainer {name!r}")
    # [trainer.NAME] is for that trainer alone, so that one file serves several.
    named = {
        key: value
        for key, value in config.trainer.items()
        if key in plugins.trainers and isinstance(value, dict)
    }
    common = {key: value for key, value in config.trainer.items() if key not in named}
    trainer: Trainer = cls(convert(common | named.get(name, {}), cls.Options, "[trainer]"))
    return trainer
