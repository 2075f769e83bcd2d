"""What a plug-in can bring: every hook of Playpen on one page.

A plug-in is a module (or class) named by an entry point in the group ``playpen``::

    [project.entry-points.playpen]
    my-pack = "my_pack.plugin"

It implements any of the hooks below, marked with ``@playpen.hookimpl``.  Specs name what they
stand for by a dotted path (``"package.module:Name"``), which is imported only when it is used:
keep the plug-in module free of heavy imports.

A hookspec is a promise: changing one needs a line in the changelog.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import msgspec
import pluggy

if TYPE_CHECKING:
    import click

    from playpen.episode import Episode
    from playpen.store import Run
    from playpen.training import TrainingRun

hookspec = pluggy.HookspecMarker("playpen")
hookimpl = pluggy.HookimplMarker("playpen")


class GameSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A game: `path` names a subclass of `playpen.Game`.

    `published` names a list of hashes, ``"package:folder/file.tsv.xz"``, of the instances that
    were published for it: see `playpen.provenance`.  Scores over others are not called clemscore.
    """

    name: str
    path: str
    summary: str
    roles: tuple[str, ...]
    languages: tuple[str, ...] = ("en",)
    suites: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    published: str | None = None


class PlayerSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of player: `path` names a subclass of `playpen.Player`.

    `scheme` is what its spec strings begin with; `extra` is what to install when it does not
    import (``"playpen-core[hf]"``).
    """

    scheme: str
    path: str
    summary: str
    extra: str | None = None


class ExecutorSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A place where runs are played: `path` names a subclass of `playpen.runner.Executor`.

    `scheme` is what its spec strings begin with; `extra` is what to install when it does not
    import (``"playpen-core[ray]"``).
    """

    scheme: str
    path: str
    summary: str
    extra: str | None = None


class TrainerSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A trainer: `path` names a subclass of `playpen.training.Trainer`."""

    name: str
    path: str
    summary: str


class RewardSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A reward: `path` names a subclass of `playpen.rewards.RewardFunction`."""

    name: str
    path: str
    summary: str


class RecipeSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A training configuration: `path` names a file of a package, ``"package:folder/file.toml"``.

    ``playpen train TRAINER -c recipe:NAME`` reads it.
    """

    name: str
    path: str
    summary: str


@hookspec
def playpen_games() -> Iterable[GameSpec]:
    """Games of a pack.

    Called once, when a game is first looked up or listed.  Must be cheap: import nothing heavy.

    Returns:
        One `GameSpec` for each game.
    """
    return ()


@hookspec
def playpen_players() -> Iterable[PlayerSpec]:
    """Kinds of players.

    Called once, when a player is first looked up or listed.  Must be cheap.

    Returns:
        One `PlayerSpec` for each scheme.
    """
    return ()


@hookspec
def playpen_executors() -> Iterable[ExecutorSpec]:
    """Places where runs are played, beside this process.

    Called once, when an executor is first looked up or listed.  Must be cheap.

    Returns:
        One `ExecutorSpec` for each scheme.
    """
    return ()


@hookspec
def playpen_trainers() -> Iterable[TrainerSpec]:
    """Trainers.

    Called once, when a trainer is first looked up or listed.  Must be cheap.

    Returns:
        One `TrainerSpec` for each trainer.
    """
    return ()


@hookspec
def playpen_rewards() -> Iterable[RewardSpec]:
    """Rewards for online training.

    Called once, when a reward is first looked up or listed.  Must be cheap.

    Returns:
        One `RewardSpec` for each reward.
    """
    return ()


@hookspec
def playpen_recipes() -> Iterable[RecipeSpec]:
    """Training configurations that are shipped with a distribution.

    Called once, when a recipe is first looked up or listed.  Must be cheap.

    Returns:
        One `RecipeSpec` for each file.
    """
    return ()


@hookspec
def playpen_commands(cli: click.Group) -> None:
    """Add commands to the ``playpen`` command line.

    Called whenever the command line starts, so it must be cheap: import inside the commands.

    Args:
        cli: the group to add to, with ``cli.add_command`` or ``@cli.command()``.
    """


@hookspec
def playpen_run_started(run: Run) -> None:
    """A run begins or is resumed.

    A `PlaypenError` that is raised here ends it before anything is played.  What else observers
    raise, here and in later hooks, becomes a warning, and the run goes on.

    Args:
        run: its directory, with the configuration written.
    """


@hookspec
def playpen_episode_finished(run: Run | None, episode: Episode) -> None:
    """An episode ended, failed ones included; its line is already written.

    Args:
        run: the run it belongs to; `None` for roll-outs that are not recorded.
        episode: the record.
    """


@hookspec
def playpen_run_finished(run: Run, completed: bool) -> None:
    """A run stops.

    Args:
        run: its directory.
        completed: whether everything planned was played.
    """


@hookspec
def playpen_train_started(run: TrainingRun) -> None:
    """A training begins or is continued; nothing is loaded or played yet.

    A `PlaypenError` that is raised here ends it before it costs anything.

    Args:
        run: its configuration and its output directory.
    """


@hookspec
def playpen_train_finished(run: TrainingRun) -> None:
    """A training stops, be it at its end or by an error.

    Args:
        run: its configuration and its output directory.
    """


@hookspec
def playpen_train_logged(step: int, values: dict[str, Any]) -> None:
    """A trainer logged numbers.

    Args:
        step: optimiser step.
        values: name to number.
    """
