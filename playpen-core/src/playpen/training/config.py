"""The configuration of a training: one TOML file, the same for every trainer.

Its tables are ``[learner] [teacher] [games] [data] [rollout] [reward] [eval] [trainer]``; the last
one holds the options of the trainer that is chosen by name.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import msgspec

from playpen.bounds import (
    AboveZeroBelowOne,
    FromZeroToOne,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)
from playpen.errors import PlaypenError
from playpen.option_docs import (
    REQUIRED,
    bare_type,
    json_schemas,
    options_of,
    plain,
    toml_template,
    type_in_words,
)
from playpen.player import did_you_mean
from playpen.plugins import RECIPE, PluginError, load, read_recipe, registry
from playpen.rewards import RewardOptions, RewardTable
from playpen.store import Run, RunError


class ConfigError(PlaypenError, ValueError):
    """A training configuration cannot be used.  Names the key, the value and the remedy."""


class LearnerTable(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """``[learner]``: the model that is trained.

    Attributes:
        player: spec of the model, ``hf:NAME`` or ``hf:DIRECTORY``.
        roles: the roles it learns; all of every game if left out (self-play).
    """

    player: str
    roles: list[str] | None = None


class TeacherTable(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """``[teacher]``: who demonstrates, and who plays with the learner.

    Attributes:
        player: spec of the player that demonstrates (the games' oracles if left out), and that
            holds the roles which the learner does not.
        partners: specs of further players that the learner meets.
        partner_share: share of the groups in which one role that the learner could hold is given
            to a partner: one of `partners`, or the learner as it was at a snapshot.
        snapshot_every: optimiser steps between two snapshots of the learner; 0 takes none.
        snapshots: how many snapshots are kept, the newest ones.
        choice: which partner is met: ``uniform``, ``recent`` (later snapshots more often) or
            ``hard`` (those more often with whom the learner earns less).
    """

    player: str | None = None
    partners: list[str] = []
    partner_share: FromZeroToOne = 0.5
    snapshot_every: NonNegativeInt = 0
    snapshots: PositiveInt = 4
    choice: Literal["uniform", "recent", "hard"] = "uniform"


class GamesTable(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """``[games]``: what is played.

    Attributes:
        names: games, by the names that `playpen list games` shows.
        split: split of the games' own instances.
        levels: make instances of these levels instead of the ready ones; a level that a game does
            not have is passed over for it.
        per_level: how many instances of each level to make.
        seed: seed of the generators.
        files: per game, a clembench instances file to use instead.
        curriculum: which instance comes next in online training: ``uniform``, ``levels`` (from
            the first level to the last), or ``success`` (levels that the learner wins half of the
            time most often).
        fresh: make new instances when all have been played once, instead of repeating them.
        held_out: hash lists of instances that must not be trained on (`playpen instances hashes`
            writes them), beside those of ``[held_out] files`` in playpen.toml.
        leave_out: train without such instances where the games' own generators made them, instead
            of refusing.
    """

    names: list[str] = []
    split: str = "train"
    levels: list[str] | None = None
    per_level: PositiveInt | None = None
    seed: int = 0
    files: dict[str, str] = {}
    curriculum: Literal["uniform", "levels", "success"] = "uniform"
    fresh: bool = False
    held_out: list[str] = []
    leave_out: bool = False


class DataTable(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """``[data]``: recorded episodes to learn from, which of them, and what is mixed in.

    Attributes:
        runs: run directories; if none, the teacher plays `[games]` first.
        splits: which recorded episodes are learned from, by the split of their instance:
            ``train``, ``validation``, or ``unknown`` (of an imported file, say).
        outcomes: of ``success``, ``lose``, ``abort``.
        min_score: smallest main score.
        players: labels of players whose replies are learned; all if left out.
        chat: general chats to mix in: a JSON Lines file whose lines have ``messages``, or the
            name of a dataset with that column.
        chat_split: split of a named dataset.
        chat_weight: rows of general chat for each row of play.
    """

    runs: list[str] = []
    splits: tuple[Literal["train", "validation", "unknown"], ...] = ("train",)
    outcomes: tuple[str, ...] = ("success",)
    min_score: float | None = None
    players: list[str] | None = None
    chat: str | None = None
    chat_split: str = "train"
    chat_weight: NonNegativeFloat = 0.1


class RolloutTable(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """``[rollout]``: how episodes are played.

    Attributes:
        episodes: how many are played for each game, where a trainer plays before it trains.
        seed: of chance moves, sampling, and the choice of instances and partners.
        concurrency: episodes in flight.
        temperature: of the learner's replies when it plays to learn.
        max_new_tokens: longest reply of the learner in tokens; its game's own limit if smaller.
        engine: what plays the learner while it trains: transformers (``hf``), in this process and
            with the weights as they are; or ``vllm``, in processes of its own, which is given the
            adapter before each roll-out (of LoRA learners only, in a training of one process).
        gpu_memory_utilization: share of the accelerator's memory that vLLM takes; the training has
            the rest.
    """

    episodes: PositiveInt | None = None
    seed: int = 0
    concurrency: PositiveInt = 64
    temperature: PositiveFloat = 1.0
    max_new_tokens: PositiveInt = 100
    engine: Literal["hf", "vllm"] = "hf"
    gpu_memory_utilization: AboveZeroBelowOne = 0.3


class EvalTable(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """``[eval]``: play on validation instances while training.

    Attributes:
        every: optimiser steps between two evaluations; 0 for none.
        episodes: instances per game.
        temperature: of the learner's replies; 0 takes the most probable token.
        metric: what decides which checkpoint is best: ``success`` (share of won episodes),
            ``played`` (share that broke no rule), ``score`` (mean main score, aborted as 0).
        patience: stop after this many evaluations without a better one; 0 never stops.
        keep_best: the result is the best checkpoint, not the last one.
    """

    every: NonNegativeInt = 0
    episodes: PositiveInt = 100
    temperature: NonNegativeFloat = 0.0
    metric: Literal["success", "played", "score"] = "success"
    patience: NonNegativeInt = 0
    keep_best: bool = True


class TrainConfig(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A whole training configuration; `trainer` holds the options of the chosen trainer."""

    learner: LearnerTable
    teacher: TeacherTable = msgspec.field(default_factory=TeacherTable)
    games: GamesTable = msgspec.field(default_factory=GamesTable)
    data: DataTable = msgspec.field(default_factory=DataTable)
    rollout: RolloutTable = msgspec.field(default_factory=RolloutTable)
    reward: RewardTable = msgspec.field(default_factory=RewardTable)
    eval: EvalTable = msgspec.field(default_factory=EvalTable)
    trainer: dict[str, Any] = {}


TABLES = tuple(name for name in TrainConfig.__struct_fields__ if name != "trainer")
"""The tables that all trainers share."""


def read_tables(path: str | Path, overrides: Sequence[str] = ()) -> TrainConfig:
    """Read a configuration file; whether it makes sense is for `check_config` to say.

    Args:
        path: a TOML file, ``recipe:NAME``, or the ``train.json`` of an earlier training.
        overrides: ``table.key=value`` texts; the value is TOML, or else a plain text.

    Raises:
        ConfigError: names the file, the key, the value and the remedy.
        PluginError: there is no such recipe.
    """
    recipe = str(path).startswith(RECIPE)
    try:
        if recipe:
            text = read_recipe(str(path).removeprefix(RECIPE))
        else:
            text = Path(path).read_text(encoding="utf-8")
        stored = not recipe and Path(path).suffix == ".json"
        tables = _stored_tables(text, str(path)) if stored else tomllib.loads(text)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None
    for override in overrides:
        _override(tables, override)
    config: TrainConfig = convert(tables, TrainConfig, str(path))
    return config


def _stored_tables(text: str, path: str) -> dict[str, Any]:
    """The tables of a ``train.json``, which holds them as they were resolved."""
    try:
        return msgspec.json.decode(text, type=_Stored).config
    except msgspec.DecodeError as error:
        raise ConfigError(f"{path}: not the train.json of a training: {error}") from None


class _Stored(msgspec.Struct):
    config: dict[str, Any]


def games_trained_on(checkpoint: Path) -> list[str] | None:
    """The games of the training that a directory is the result of, or a part of.

    They are those of ``[games] names`` in the nearest ``train.json``, in it or up to three
    directories above, else those of its ``[data] runs`` that are still there; `None` if there is
    no such file, or if it names no games.
    """
    for folder in (checkpoint, *checkpoint.absolute().parents[:3]):
        if (folder / "train.json").is_file():
            config = read_tables(folder / "train.json")
            names = dict.fromkeys(config.games.names)
            for path in [] if names else config.data.runs:
                with contextlib.suppress(RunError):
                    names |= dict.fromkeys(Run.open(path).config.assignments)
            return list(names) or None
    return None


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


def convert(tables: Mapping[str, Any], kind: type[Any], source: str) -> Any:
    """The tables as the typed thing they are meant to be.

    Args:
        tables: the content of a TOML file, or of one table of it.
        kind: a struct.
        source: the file, or ``[NAME]`` for the content of the table of that name.

    Raises:
        ConfigError: an unknown key (with a suggestion), or a value that does not fit; names the
            key, the value and what is expected.
    """
    place, key = f"{source}: ", ""
    if source.startswith("[") and source.endswith("]"):
        place, key = "", source[1:-1]
    fault = _unknown_key(tables, kind, key) or _not_finite(tables, key)
    if fault is None:
        try:
            return msgspec.convert(tables, kind)
        except msgspec.ValidationError as error:
            fault = _misfit(tables, kind, key, error)
    raise ConfigError(place + fault)


# --- what is wrong with a configuration ----------------------------------------------------------


def _unknown_key(value: Any, hint: Any, key: str) -> str | None:
    """A misspelt key with a suggestion, which msgspec's own message does not have."""
    fields = _fields(hint)
    if fields is not None and isinstance(value, Mapping):
        known: Iterable[str] = sorted(fields)
        for name in value:
            if name not in fields:
                return (
                    f"unknown key {_join(key, name)!r}{did_you_mean(name, known)} "
                    f"Known: {', '.join(known) or 'none'}."
                )
    faults = (_unknown_key(inner, kind, path) for path, inner, kind in _parts(value, hint, key))
    return next(filter(None, faults), None)


def _not_finite(value: Any, key: str) -> str | None:
    """A number that no option can mean, and that the stored configuration could not hold."""
    if isinstance(value, float) and not math.isfinite(value):
        return f"{key} = {value}: a finite number is expected"
    inner: Iterable[tuple[str, Any]] = ()
    if isinstance(value, Mapping):
        inner = ((_join(key, name), part) for name, part in value.items())
    elif isinstance(value, list):
        inner = ((f"{key}[{index}]", part) for index, part in enumerate(value))
    return next(filter(None, (_not_finite(part, path) for path, part in inner)), None)


def _misfit(value: Any, hint: Any, key: str, error: msgspec.ValidationError) -> str:
    """The innermost key whose value does not fit, with the value and what is expected."""
    for path, inner, kind in _parts(value, hint, key):
        try:
            msgspec.convert(inner, kind)
        except msgspec.ValidationError as cause:
            return _misfit(inner, kind, path, cause)
    kind = bare_type(hint)
    if _fields(kind) is not None and isinstance(value, Mapping):
        own = str(error).partition(" - at ")[0]  # of the struct's own check
        return _missing(value, kind, key) or f"{key}: {own}"
    choices = get_args(kind) if get_origin(kind) is Literal else ()
    article = "" if choices or kind is bool else "a "
    meant = did_you_mean(str(value), map(str, choices)).rstrip(".")
    return f"{key} = {_shown(value)}: {article}{type_in_words(hint)} is expected{meant}"


def _missing(value: Mapping[str, Any], kind: type[msgspec.Struct], key: str) -> str | None:
    """A required key that is not there, with its meaning."""
    fields = _fields(kind) or {}
    for option in options_of(kind):
        if option.default == REQUIRED and option.name not in value:
            path, inner = _join(key, option.name), bare_type(fields[option.name])
            needed = _missing({}, inner, path) if _fields(inner) is not None else None
            return needed or f"{path} is missing: {plain(option.meaning) or option.type}"
    return None


def _shown(value: Any) -> str:
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _join(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name


def _fields(hint: Any) -> dict[str, Any] | None:
    """Types of the keys of a table that declares them, by name."""
    kind = bare_type(hint)
    if not (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
        return None
    return {field.encode_name: field.type for field in msgspec.structs.fields(kind)}


def _parts(value: Any, hint: Any, key: str) -> Iterator[tuple[str, Any, Any]]:
    """What a table or list consists of: key, value and declared type of each."""
    kind, fields = bare_type(hint), _fields(hint)
    origin, arguments = get_origin(kind), get_args(kind)
    if isinstance(value, Mapping) and (fields is not None or origin is dict):
        for name, inner in value.items():
            declared = fields.get(name) if fields is not None else arguments[1]
            if declared is not None:
                yield _join(key, name), inner, declared
    elif isinstance(value, list) and origin in (list, tuple):
        several = origin is list or Ellipsis in arguments
        kinds = itertools.repeat(arguments[0]) if several else arguments
        for index, (inner, declared) in enumerate(zip(value, kinds, strict=False)):
            yield f"{key}[{index}]", inner, declared


# --- documentation -------------------------------------------------------------------------------


def reward_options(name: str) -> type[RewardOptions]:
    """The class that declares the options of a reward.

    Raises:
        PluginError: there is no such reward, or it cannot be imported.
    """
    plugins = registry()
    spec = plugins.find("reward", plugins.rewards, name)
    options: type[RewardOptions] = load(spec.path, what=f"the reward {name!r}").Options
    return options


def documented_tables(
    options: type[msgspec.Struct], shared: Sequence[str] = TABLES
) -> dict[str, type[msgspec.Struct]]:
    """The tables of a configuration file by name, each with the class that declares its keys.

    Args:
        options: the trainer's own.
        shared: the shared tables that the trainer reads.
    """
    tables: dict[str, type[msgspec.Struct]] = {}
    for name, kind in (_fields(TrainConfig) or {}).items():
        if name in shared:
            tables[name] = kind
        if name == "reward" and name in shared:
            tables |= {f"reward.terms.{term}": reward_options(term) for term in RewardTable().terms}
    return {**tables, "trainer": options}


def template(trainer: str, tables: Mapping[str, type[msgspec.Struct]]) -> str:
    """A configuration file with all options at their defaults, each under its meaning.

    It can be used once ``learner.player`` is set; the game in it is an example.
    """
    title = (
        f"All options of playpen train {trainer}, at their defaults: set learner.player and "
        "games.names.  What is commented out has no default."
    )
    return toml_template(title, tables, {"games.names": list(registry().games)[:1]})


def schema(options: type[msgspec.Struct]) -> dict[str, Any]:
    """One JSON Schema (draft 2020-12) of a whole configuration file.

    Args:
        options: the trainer's own.
    """
    rewards: dict[str, type[msgspec.Struct]] = {}
    for name in registry().rewards:
        with contextlib.suppress(
            PluginError
        ):  # one that does not import leaves the others as they are
            rewards[name] = reward_options(name)
    tables = [kind for name, kind in (_fields(TrainConfig) or {}).items() if name in TABLES]
    (whole, own, *others), schemas = json_schemas(
        [TrainConfig, options, *tables, *rewards.values()]
    )
    schemas["TrainConfig"]["properties"]["trainer"] = own
    terms = schemas["RewardTable"]["properties"]["terms"]
    terms["properties"] = {
        **{name: {"type": "object"} for name in registry().rewards},
        **dict(zip(rewards, others[len(tables) :], strict=True)),
    }
    terms["additionalProperties"] = False
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **whole, "$defs": schemas}
