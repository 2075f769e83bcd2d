"""The same work in another process: another hash seed, another day, another folder.

``python -m playpen.testing.other_process`` reads an `Order` from its standard input and writes an
`Answer` to its standard output.  `observe` does the same work in the process of the checks.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

import msgspec

from playpen.conversation import Conversation
from playpen.episode import Said
from playpen.game import Game
from playpen.instance import Experiment, Instance
from playpen.testing.driver import drive, lines_of, reciter
from playpen.testing.findings import reason

TIME_LIMIT = 300
"""Seconds after which another process is given up."""
_LATER = 400 * 24 * 3600
"""Seconds by which the clock of another process is ahead."""


class Generate(msgspec.Struct, frozen=True, tag="generate"):
    """Make instances; the lines are experiments and instances."""

    split: str
    level: str | None
    seed: int


class Recite(msgspec.Struct, frozen=True, tag="recite"):
    """Play with given replies; the lines are events and outcome."""

    experiment: str
    config: dict[str, Any]
    data: dict[str, Any]
    split: str | None
    replies: list[Said]


class SelfPlay(msgspec.Struct, frozen=True, tag="selfplay"):
    """Let the oracles play; the lines are events and outcome."""

    experiment: str
    config: dict[str, Any]
    data: dict[str, Any]
    split: str | None


Work: TypeAlias = Generate | Recite | SelfPlay


class Order(msgspec.Struct, frozen=True):
    """Which game (a class, by its module, the module's file and its name), and what to do."""

    module: str
    file: str | None
    name: str
    work: list[Work]


class Answer(msgspec.Struct, frozen=True):
    """The lines of each piece of work.

    Attributes:
        lines: what came of each piece.
        impossible: why the game cannot be made in another process, if it cannot.
        failed: how the process ended, if it did not do its work.
    """

    lines: list[list[str]] = []
    impossible: str | None = None
    failed: str | None = None


def observe(game: Game, work: Work) -> list[str]:
    """Do a piece of work and write down what comes of it; an error is a line, too."""
    try:
        match work:
            case Generate(split, level, seed):
                document = game.generate(split, seed=seed, level=level)
                return [
                    msgspec.json.encode(part, enc_hook=repr).decode()
                    for experiment in document["experiments"]
                    for part in [
                        {k: v for k, v in experiment.items() if k != "game_instances"},
                        *experiment["game_instances"],
                    ]
                ]
            case Recite(replies=replies):
                return lines_of(drive(game, _instance(game, work), reciter(replies)).episode)
            case SelfPlay():
                oracles = {role: game.oracle(role) for role in game.role_names()}

                def speak(conversation: Conversation) -> str:
                    return oracles[conversation.role](conversation)

                return lines_of(drive(game, _instance(game, work), speak).episode)
    except Exception as error:
        return [f"raised {reason(error)}"]


def _instance(game: Game, work: Recite | SelfPlay) -> Instance:
    return Instance(game.name, Experiment(work.experiment, work.config), work.data, work.split)


def recite(instance: Instance, replies: Sequence[Said]) -> Recite:
    """The work of giving an instance some replies."""
    experiment = instance.experiment
    return Recite(
        experiment.name, experiment.config, dict(instance.data), instance.split, list(replies)
    )


def self_play(instance: Instance) -> SelfPlay:
    """The work of letting the oracles play an instance."""
    experiment = instance.experiment
    return SelfPlay(experiment.name, experiment.config, dict(instance.data), instance.split)


# --- the side that asks --------------------------------------------------------------------------


def observe_elsewhere(game: Game, work: Sequence[Work], hash_seed: int) -> Answer:
    """Do some work in a fresh process, with a hash seed of its own."""
    cls = type(game)
    module = sys.modules.get(cls.__module__)
    order = Order(cls.__module__, getattr(module, "__file__", None), cls.__qualname__, [*work])
    path = os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path)
    with tempfile.TemporaryDirectory() as folder:
        try:
            done = subprocess.run(  # noqa: S603 - our own interpreter and module
                [sys.executable, "-m", __name__],
                input=msgspec.json.encode(order),
                capture_output=True,
                cwd=folder,
                env={
                    **os.environ,
                    "PYTHONPATH": path,
                    "PYTHONHASHSEED": str(hash_seed),
                    "TZ": "ELSEWHERE-11:30",
                },
                timeout=TIME_LIMIT,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Answer(failed=f"it did not come to an end within {TIME_LIMIT} seconds")
    if done.returncode != 0:
        errors = done.stderr.decode(errors="replace").strip().splitlines() or ["without a word"]
        return Answer(failed=f"it ended with code {done.returncode}: {errors[-1]}")
    return msgspec.json.decode(done.stdout, type=Answer)


# --- the other side ------------------------------------------------------------------------------


def _main() -> None:
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    # What the game or its libraries print must not end up in the answer.
    with contextlib.redirect_stdout(sys.stderr):
        _set_the_clock_forward()
        try:
            game = _find(order)
        except Exception as error:
            answer = Answer(impossible=reason(error))
        else:
            answer = Answer([observe(game, work) for work in order.work])
    sys.stdout.buffer.write(msgspec.json.encode(answer))


def _find(order: Order) -> Game:
    """Make the game, from its module or, if that has no importable name, from its file."""
    module: ModuleType
    try:
        module = importlib.import_module(order.module)
    except ImportError:
        if order.file is None:
            raise
        spec = importlib.util.spec_from_file_location(order.module, order.file)
        if spec is None or spec.loader is None:
            raise
        module = importlib.util.module_from_spec(spec)
        sys.modules[order.module] = module
        spec.loader.exec_module(module)
    target: Any = module
    for name in order.name.split("."):
        target = getattr(target, name)
    game: Game = target()
    return game


def _set_the_clock_forward() -> None:
    """Let the functions of `time` tell a later time, before the game can import them."""
    for name in ("time", "monotonic", "perf_counter"):
        real, real_ns = getattr(time, name), getattr(time, f"{name}_ns")
        setattr(time, name, lambda real=real: real() + _LATER)
        setattr(time, f"{name}_ns", lambda real_ns=real_ns: real_ns() + _LATER * 10**9)


if __name__ == "__main__":
    _main()
