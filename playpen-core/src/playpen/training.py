"""The trainer side: the `Trainer` base class, its configuration, and what it is given.

Which trainer runs is a name; everything else is one configuration file with the tables
``[learner] [teacher] [games] [data] [rollout] [trainer]``.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar

import msgspec
from rich.console import Console

from playpen.episode import Episode
from playpen.errors import PlaypenError
from playpen.game import Game
from playpen.instance import (
    SPLITS,
    Instance,
    InstanceError,
    parse_instances,
    read_instances,
    ready_instances,
)
from playpen.player import did_you_mean
from playpen.plugins import PluginError, get_game, load, registry
from playpen.report.tables import PlayProgress
from playpen.runner import Cast, create_run, make_cast, make_players, play_run
from playpen.store import Run

Positive = Annotated[int, msgspec.Meta(ge=1)]


class ConfigError(PlaypenError, ValueError):
    """A training configuration cannot be used.  Names the key, the value and the remedy."""


class LearnerTable(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """``[learner]``: the model that is trained.

    `roles` are the roles it learns; all that it played, if left out.
    """

    player: str
    roles: list[str] | None = None


class TeacherTable(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """``[teacher]``: who demonstrates, or plays the roles that the learner does not hold."""

    player: str = "program:oracle"


class GamesTable(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """``[games]``: what is played.

    Attributes:
        names: games.
        split: split of the games' own instances.
        levels: make instances of these levels instead of the ready ones.
        per_level: how many instances of each level to make.
        seed: seed of the generators.
        files: per game, a clembench instances file to use instead.
    """

    names: list[str] = []
    split: str = "train"
    levels: list[str] | None = None
    per_level: Positive | None = None
    seed: int = 0
    files: dict[str, str] = {}


class DataTable(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """``[data]``: recorded episodes to learn from, and which of them.

    Attributes:
        runs: run directories; if none, the teacher plays `[games]` first.
        outcomes: of ``success``, ``lose``, ``abort``.
        min_score: smallest main score.
        players: labels of players whose replies are learned; all if left out.
    """

    runs: list[str] = []
    outcomes: tuple[str, ...] = ("success",)
    min_score: float | None = None
    players: list[str] | None = None


class RolloutTable(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """``[rollout]``: how episodes are played.  `episodes` is per game."""

    episodes: Positive | None = None
    seed: int = 0
    concurrency: Positive = 64


class TrainConfig(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A whole training configuration; `trainer` holds the options of the chosen trainer."""

    learner: LearnerTable
    teacher: TeacherTable = msgspec.field(default_factory=TeacherTable)
    games: GamesTable = msgspec.field(default_factory=GamesTable)
    data: DataTable = msgspec.field(default_factory=DataTable)
    rollout: RolloutTable = msgspec.field(default_factory=RolloutTable)
    trainer: dict[str, Any] = {}


class Trainer:
    """Base class of trainers.

    A subclass declares its options as a struct (typed, with defaults) in `Options`, and writes
    `train`.  The directory that it returns must be usable as an ``hf:`` player.
    """

    Options: ClassVar[type[msgspec.Struct]]

    def __init__(self, options: Any) -> None:
        self.options = options

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

    def games(self) -> dict[str, Game]:
        """The games of the configuration by name."""
        return {name: get_game(name) for name in self.config.games.names}

    def instances(self) -> dict[str, list[Instance]]:
        """Per game, the instances to train on.

        Raises:
            InstanceError: a file is not valid for its game.
        """
        table = self.config.games
        found: dict[str, list[Instance]] = {}
        for name, game in self.games().items():
            if name in table.files:
                found[name] = read_instances(table.files[name], game)
            elif table.levels is None and table.per_level is None:
                found[name] = ready_instances(game, table.split)
            else:
                found[name] = [
                    instance
                    for level in table.levels or game.levels()
                    for instance in parse_instances(
                        game.generate(table.split, seed=table.seed, level=level, n=table.per_level),
                        game,
                        source=f"{name} ({level})",
                        split=table.split,
                    )
                ]
        return found

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

    def demonstrations(self) -> list[tuple[Episode, tuple[str, ...]]]:
        """Episodes to imitate, each with the roles whose replies are learned.

        They come from ``[data] runs``; without any, the teacher plays the games now.

        Raises:
            ConfigError: nothing is left after filtering, or an episode is of a test split.
        """
        data = self.config.data
        runs = [Run.open(path) for path in data.runs]
        if not runs:
            runs = [self.play("demonstrations", make_cast([(None, self.config.teacher.player)]))]
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
                if self._wanted(episode) and (roles := self._learned_roles(episode)):
                    kept.append((episode, roles))
        if not kept:
            raise ConfigError(
                f"none of the {seen} episodes passes the filters of [data] and [learner] roles"
            )
        return kept

    def _wanted(self, episode: Episode) -> bool:
        data = self.config.data
        names = self.config.games.names
        kind = "success" if episode.success else "lose" if episode.lose else "abort"
        score = episode.main_score
        return (
            kind in data.outcomes
            and (not names or episode.game in names)
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
        """Record numbers: a line of ``metrics.jsonl``, and the observers are told."""
        line = msgspec.json.encode({"step": step, **values})
        with (self.output / "metrics.jsonl").open("ab") as file:
            file.write(line + b"\n")
        registry().manager.hook.playpen_train_logged(step=step, values=dict(values))


def read_config(path: str | Path, overrides: Sequence[str] = ()) -> TrainConfig:
    """Read a training configuration.

    Args:
        path: a TOML file.
        overrides: ``table.key=value`` texts; the value is TOML, or else a plain text.

    Raises:
        ConfigError: names the file, the key, the value and the remedy.
    """
    try:
        tables = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None
    for override in overrides:
        _override(tables, override)
    config: TrainConfig = _convert(tables, TrainConfig, str(path))
    _check(config, str(path))
    return config


def make_trainer(name: str, config: TrainConfig) -> Trainer:
    """Make the trainer of a name, with its options checked.

    Raises:
        PluginError: unknown trainer, or it cannot be imported.
        ConfigError: an option is unknown or has a wrong value.
    """
    plugins = registry()
    spec = plugins.find("trainer", plugins.trainers, name)
    cls = load(spec.path, what=f"the trainer {name!r}")
    trainer: Trainer = cls(_convert(config.trainer, cls.Options, "[trainer]"))
    return trainer


def train(name: str, config: TrainConfig, output: str | Path) -> Path:
    """Run a trainer and return the directory of its final checkpoint.

    The resolved configuration is stored as ``train.json`` beside it; a training with the same
    configuration is continued.

    Raises:
        ConfigError, PluginError, InstanceError, RunError: something does not fit; nothing was
            loaded yet.
    """
    trainer = make_trainer(name, config)
    run = TrainingRun(name, config, output)
    run.output.mkdir(parents=True, exist_ok=True)
    resolved = {**msgspec.to_builtins(config), "trainer": msgspec.to_builtins(trainer.options)}
    encoded = msgspec.json.encode({"trainer": name, "config": resolved})
    document = msgspec.json.format(encoded, indent=2) + b"\n"
    file = run.output / "train.json"
    if file.exists() and file.read_bytes() != document:
        raise ConfigError(
            f"{run.output} holds a training with another configuration (see {file.name}); "
            "choose another directory with -o, or remove it"
        )
    file.write_bytes(document)
    return trainer.train(run)


def _override(tables: dict[str, Any], text: str) -> None:
    path, equals, value = text.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise ConfigError(f"--set {text}: write --set table.key=value")
    try:
        parsed: Any = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value.strip()
    for key in keys[:-1]:
        tables = tables.setdefault(key, {})
        if not isinstance(tables, dict):
            raise ConfigError(f"--set {text}: {key} is not a table")
    tables[keys[-1]] = parsed


def _convert(tables: Mapping[str, Any], kind: type[Any], source: str) -> Any:
    _refuse_unknown(tables, kind, source, "")
    try:
        return msgspec.convert(tables, kind)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{source}: {error}") from None


def _refuse_unknown(tables: Mapping[str, Any], kind: type[Any], source: str, path: str) -> None:
    """Name a misspelt key with a suggestion, which msgspec's own message does not have."""
    fields = {field.encode_name: field.type for field in msgspec.structs.fields(kind)}
    for key, value in tables.items():
        if key not in fields:
            known: Iterable[str] = sorted(fields)
            raise ConfigError(
                f"{source}: unknown key {path + key!r}{did_you_mean(key, known)} "
                f"Known: {', '.join(known)}."
            )
        inner = fields[key]
        if (
            isinstance(inner, type)
            and issubclass(inner, msgspec.Struct)
            and isinstance(value, dict)
        ):
            _refuse_unknown(value, inner, source, f"{path}{key}.")


def _check(config: TrainConfig, source: str) -> None:
    games = config.games
    if not games.names and not config.data.runs:
        raise ConfigError(f"{source}: name games in [games] names, or recorded runs in [data] runs")
    if games.split not in SPLITS:
        raise ConfigError(f"{source}: games.split = {games.split!r}; choose train or validation")
    if games.split == "test":
        raise ConfigError(f"{source}: games.split = 'test': the test split is not for training")
    for outcome in config.data.outcomes:
        if outcome not in ("success", "lose", "abort"):
            raise ConfigError(
                f"{source}: data.outcomes has {outcome!r}; choose among success, lose, abort"
            )
    try:
        played = {name: get_game(name) for name in games.names}
    except PluginError as error:
        raise ConfigError(f"{source}: games.names: {error}") from None
    for name in games.files:
        if name not in played:
            raise ConfigError(
                f"{source}: games.files has {name!r}, which games.names does not have"
                f"{did_you_mean(name, games.names)} It has {', '.join(games.names)}."
            )
    roles = {role for game in played.values() for role in game.role_names()}
    for role in config.learner.roles or ():
        if played and role not in roles:
            raise ConfigError(
                f"{source}: learner.roles has {role!r}{did_you_mean(role, roles)} "
                f"The games have {', '.join(sorted(roles))}."
            )
    for name, game in played.items():
        for level in games.levels or ():
            if level not in game.levels():
                raise ConfigError(
                    f"{source}: games.levels has {level!r}, which {name!r} does not have"
                    f"{did_you_mean(level, game.levels())} "
                    f"Its levels: {', '.join(game.levels()) or 'none'}."
                )
        if name in games.files:
            try:
                read_instances(games.files[name], game)
            except InstanceError as error:
                raise ConfigError(f"{source}: games.files: {error}") from None
