"""``ray:``: a run's episodes are played by workers of a Ray cluster, each with its own players.

The run directory stays with the process that started the run: it hands out one episode at a time
and writes down what comes back, so that resuming, scores and files are those of a local run.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import ray
from ray.exceptions import RayError, RayTaskError

from playpen.bounds import NonNegativeFloat, PositiveInt
from playpen.cast import Cast
from playpen.episode import Episode, Failure
from playpen.instance import Instance
from playpen.player import PlayerError
from playpen.rollout import LoopYield, play_episode
from playpen.runner import Executor, SeatedGames, Unit
from playpen.store import Run, RunConfig


class RayOptions(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Options of the executor ``ray``.

    Attributes:
        workers: how many processes play; each makes the run's players for itself.
        cpus: of each worker, for Ray's book-keeping.
        gpus: of each worker.
    """

    workers: PositiveInt = 1
    cpus: NonNegativeFloat = 1.0
    gpus: NonNegativeFloat = 0.0


class _Worker:
    """An actor: one set of players, and the episodes in flight on it."""

    def __init__(self, config: bytes, instances: list[Instance]) -> None:
        self._config = msgspec.json.decode(config, type=RunConfig)
        self._instances = instances
        self._cast = Cast(self._config.players)
        self._games = SeatedGames(self._config, self._cast)
        self._loop_yield = LoopYield()

    async def ready(self) -> None:
        """Return once the players are there."""

    async def play(self, number: int, blank: bytes) -> bytes:
        """Play the episode of a unit; it is passed and returned as it is written to files."""
        episode = msgspec.json.decode(blank, type=Episode)
        job = self._games.job(self._instances[number], episode)
        await play_episode(job, self._loop_yield, self._config.limits)
        return msgspec.json.encode(episode)

    async def close(self) -> None:
        """Let go of the players."""
        await self._cast.release()


class RayExecutor(Executor):
    """``ray:[ADDRESS]?workers=2``: Ray's own default address, or a cluster started on this machine.

    Packs and extras must be installed on the machines of the cluster.  The episodes in
    flight on a worker that ends count as failed attempts; `playpen resume` plays them again.
    """

    Options = RayOptions
    options: RayOptions

    def play(
        self,
        run: Run,
        units: Iterator[Unit],
        record: Callable[[Episode], None],
        *,
        concurrency: int,
    ) -> None:
        """Play units; the workers share the `concurrency` evenly."""
        began = not ray.is_initialized()
        try:
            if began:
                self._connect()
            asyncio.run(self._play(run, units, record, concurrency))
        finally:
            if began:
                ray.shutdown()

    def _connect(self) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            ray.init(
                address=self.target or None,
                include_dashboard=False if not self.target else None,
                logging_level=logging.ERROR,
                log_to_driver=False,
            )
        except (ConnectionError, ValueError, RuntimeError) as error:
            reason = str(error).strip().splitlines()[0]
            raise PlayerError(f"ray:{self.target}: no cluster can be used: {reason}") from None

    async def _play(
        self,
        run: Run,
        units: Iterator[Unit],
        record: Callable[[Episode], None],
        concurrency: int,
    ) -> None:
        options = self.options
        make: Any = ray.remote(_Worker).options(
            num_cpus=options.cpus,
            num_gpus=options.gpus,
            max_restarts=-1,
            max_concurrency=concurrency + 1,
        )
        shared = ray.put(list(run.instances()))
        config = msgspec.json.encode(run.config)
        workers = [make.remote(config, shared) for _ in range(options.workers)]
        await asyncio.gather(*map(_ready, workers))

        async def work(worker: Any) -> None:
            for unit in units:
                episode = await _played(worker, unit)
                record(episode)
                if episode.failure is not None:
                    await _ready(worker)  # while it begins anew, it would refuse everything

        async with asyncio.TaskGroup() as group:
            for place in range(concurrency):
                group.create_task(work(workers[place % len(workers)]))
        await asyncio.gather(*(worker.close.remote() for worker in workers))


async def _ready(worker: Any) -> None:
    """Wait for a worker, also for one that begins anew because its process died.

    Raises:
        PlayerError: it cannot begin; gives the cause.
    """
    try:
        await worker.ready.options(max_task_retries=-1).remote()
    except RayError as error:
        raise PlayerError(f"a worker cannot begin: {_cause(error)}") from None


async def _played(worker: Any, unit: Unit) -> Episode:
    blank = msgspec.json.encode(unit.episode)
    try:
        done: bytes = await worker.play.remote(unit.number, blank)
    except RayError as error:
        unit.episode.failure = Failure("player", f"a worker of Ray failed: {_cause(error)}")
        return unit.episode
    return msgspec.json.decode(done, type=Episode)


def _cause(error: RayError) -> str:
    """One line that says what went wrong, without Ray's traceback."""
    if isinstance(error, RayTaskError) and error.cause is not None:
        return f"{type(error.cause).__name__}: {error.cause}"
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    # Where a constructor failed, the cause is in the last line of what Ray prints.
    return lines[-1] if lines else type(error).__name__
