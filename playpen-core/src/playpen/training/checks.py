"""What can be known to be wrong with a training configuration before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from playpen.game import Game
from playpen.instance import SPLITS, InstanceError
from playpen.instance_sets import read_instances
from playpen.player import did_you_mean
from playpen.plugins import PluginError, get_game
from playpen.training.config import ConfigError, TrainConfig, read_tables

_OUTCOMES = ("success", "lose", "abort")


def read_config(path: str | Path, overrides: Sequence[str] = ()) -> TrainConfig:
    """Read a configuration and check what every trainer needs.

    Args:
        path: a TOML file.
        overrides: ``table.key=value`` texts; the value is TOML, or else a plain text.

    Raises:
        ConfigError: names the file, the key, the value and the remedy.
    """
    config = read_tables(path, overrides)
    check_config(config, str(path))
    return config


def check_config(config: TrainConfig, source: str) -> None:
    """Check what every trainer needs: games, splits, levels, files, roles, filters.

    Args:
        config: the configuration.
        source: its file, for messages.

    Raises:
        ConfigError: names the file, the key, the value and the remedy.
    """
    games, data = config.games, config.data
    if not games.names and not data.runs:
        raise ConfigError(f"{source}: name games in [games] names, or recorded runs in [data] runs")
    if games.split not in SPLITS:
        raise ConfigError(f"{source}: games.split = {games.split!r}; choose train or validation")
    if games.split == "test":
        raise ConfigError(f"{source}: games.split = 'test': the test split is not for training")
    for outcome in data.outcomes:
        if outcome not in _OUTCOMES:
            raise ConfigError(
                f"{source}: data.outcomes has {outcome!r}; choose among {', '.join(_OUTCOMES)}"
            )
    try:
        played = {name: get_game(name) for name in games.names}
    except PluginError as error:
        raise ConfigError(f"{source}: games.names: {error}") from None
    _check_roles(config, played, source)
    _check_levels(config, played, source)
    _check_files(config, played, source)


def _check_roles(config: TrainConfig, played: Mapping[str, Game], source: str) -> None:
    roles = {role for game in played.values() for role in game.role_names()}
    for role in config.learner.roles or ():
        if played and role not in roles:
            raise ConfigError(
                f"{source}: learner.roles has {role!r}{did_you_mean(role, roles)} "
                f"The games have {', '.join(sorted(roles))}."
            )


def _check_levels(config: TrainConfig, played: Mapping[str, Game], source: str) -> None:
    wanted = config.games.levels
    if wanted is None or not played:
        return
    known = {level for game in played.values() for level in game.levels()}
    for level in wanted:
        if level not in known:
            raise ConfigError(
                f"{source}: games.levels has {level!r}, which no game has"
                f"{did_you_mean(level, known)} Levels: {', '.join(sorted(known)) or 'none'}."
            )
    for name, game in played.items():
        if name not in config.games.files and not set(wanted) & set(game.levels()):
            raise ConfigError(
                f"{source}: games.levels = {wanted} has no level of {name!r}; "
                f"its levels: {', '.join(game.levels()) or 'none'}"
            )


def _check_files(config: TrainConfig, played: Mapping[str, Game], source: str) -> None:
    for name, file in config.games.files.items():
        if name not in played:
            raise ConfigError(
                f"{source}: games.files has {name!r}, which games.names does not have"
                f"{did_you_mean(name, config.games.names)} "
                f"It has {', '.join(config.games.names)}."
            )
        try:
            read_instances(file, played[name])
        except InstanceError as error:
            raise ConfigError(f"{source}: games.files: {error}") from None


def require_partner(config: TrainConfig) -> None:
    """Check that somebody holds the roles that the learner does not.

    Raises:
        ConfigError: a game has roles that nobody plays.
    """
    wanted = config.learner.roles
    if wanted is None or config.teacher.player is not None:
        return
    for name in config.games.names:
        others = [role for role in get_game(name).role_names() if role not in wanted]
        if others:
            raise ConfigError(
                f"learner.roles = {wanted}: nobody plays {', '.join(others)} in {name!r}; "
                'add [teacher] player = "SPEC", or leave learner.roles out for self-play'
            )
