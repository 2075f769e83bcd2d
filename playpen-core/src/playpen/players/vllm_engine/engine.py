"""vLLM's asynchronous engine on a thread and an event loop of its own.

The engine is bound to the loop that first used it, but every roll-out has a new one: so the engine
keeps its own, and requests are handed over.
"""

from __future__ import annotations

import asyncio
import atexit
import itertools
import logging
import math
import multiprocessing
import os
import re
import signal
import sys
import tempfile
import textwrap
import threading
import weakref
from collections import Counter
from collections.abc import Collection, Coroutine, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, nullcontext, suppress
from multiprocessing import resource_tracker
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeVar

import msgspec

from playpen.player import PlayerError
from playpen.players.checkpoints import cause
from playpen.players.vllm_engine.watchdog import OWNER, Watchdog

T = TypeVar("T")

RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""Ranks of adapters that vLLM makes room for."""

ADAPTERS_AT_ONCE = 2
"""Adapters that can be in one batch: a learner's and an opponent's."""

GRACE = 30
"""Seconds that the engine's processes have to end by themselves: merely importing takes some."""


class EngineSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What makes an engine: players that agree on all of it share one.

    Attributes:
        model: directory of a checkpoint, or name of a model on the hub.
        written: when the directory was last written to.
        adapter_rank: highest rank of the adapters it is to run; 0 for none.
        cuts: sample with `top_p` or `top_k`, and tell the log-probabilities from before the cut.
        revision, dtype, tensor_parallel_size, max_model_len, gpu_memory_utilization,
            quantization, enforce_eager, max_num_seqs: as in `VllmOptions`.
    """

    model: str
    written: int
    revision: str | None
    dtype: str
    tensor_parallel_size: int
    max_model_len: int | None
    gpu_memory_utilization: float | None
    quantization: str | None
    enforce_eager: bool
    max_num_seqs: int | None
    adapter_rank: int
    cuts: bool


class Adapter(msgspec.Struct, frozen=True):
    """A LoRA adapter: its directory, when that was last written to, and its highest rank."""

    folder: Path
    written: int
    rank: int


class Generated(NamedTuple):
    """Sampled ids, a stop included, and the log-probability of each.

    The log-probabilities are those after temperature (1 where the temperature is 0), before the
    cuts of `top_k` and `top_p`.
    """

    sampled: list[int]
    logprobs: list[float]


class Engine:
    """A running engine.

    Attributes:
        positions: how many ids the model can read and write together.
        stops: ids that end a reply, by the model's generation configuration.
        dtype: the data type of the weights.
        version: vLLM's.
    """

    def __init__(self, settings: EngineSettings) -> None:
        """Start the engine and wait until it is ready.

        Raises:
            PlayerError: it does not start; one line that says why.
        """
        self.name = f"vllm:{settings.model}"
        self.users = 0
        self.settings = settings
        self._numbers = itertools.count(1)
        self._adapters: dict[Adapter, int] = {}
        self._adapter_users: Counter[Adapter] = Counter()
        self._adapters_lock = threading.Lock()
        self._worker = _Worker(self.name, settings)
        weakref.finalize(self, self._worker.stop)
        config = self._worker.engine.vllm_config.model_config
        self.positions: int = config.max_model_len
        self.dtype = str(config.dtype).removeprefix("torch.")
        stops = config.try_get_generation_config().get("eos_token_id") or []
        self.stops = frozenset([stops] if isinstance(stops, int) else stops)
        self.version: str = sys.modules["vllm"].__version__

    @property
    def usable(self) -> bool:
        """Whether it still runs."""
        return self._worker.usable

    def load_adapter(self, adapter: Adapter) -> None:
        """Load an adapter for one more user, so that what is wrong with it shows now.

        Raises:
            PlayerError: it does not fit the model, or vLLM does not support it.
        """
        with self._adapters_lock:
            # vLLM knows the keys and values that it keeps by the adapter's name: each has its own.
            number = self._adapters.get(adapter) or next(self._numbers)
            self._worker.submit(self._worker.add_adapter(_lora_request(adapter, number))).result()
            self._adapters[adapter] = number
            self._adapter_users[adapter] += 1

    def unload_adapter(self, adapter: Adapter) -> None:
        """Let go of an adapter; with its last user vLLM drops it."""
        with self._adapters_lock:
            self._adapter_users[adapter] -= 1
            if self._adapter_users[adapter]:
                return
            del self._adapter_users[adapter]
            number = self._adapters.pop(adapter)
            with suppress(PlayerError):  # an engine that does not run has forgotten it
                self._worker.submit(self._worker.remove_adapter(number)).result()

    async def generate(
        self,
        ids: Sequence[int],
        *,
        limit: int,
        stops: frozenset[int],
        temperature: float,
        top_p: float,
        top_k: int,
        seed: int,
        adapter: Adapter | None = None,
    ) -> Generated:
        """Sample what follows `ids`; called from any event loop.

        Args:
            ids: what the model reads first.
            limit: most ids to sample.
            stops: ids after which the reply is complete.
            temperature: as in `VllmOptions`.
            top_p: as in `VllmOptions`.
            top_k: as in `VllmOptions`.
            seed: of the sampling.
            adapter: one that was loaded.

        Raises:
            PlayerError: generation failed, or the engine was closed.
        """
        from vllm import SamplingParams

        parameters = SamplingParams(
            max_tokens=limit,
            # The stops are ours alone: vLLM would add those that it finds with the model.
            ignore_eos=True,
            stop_token_ids=sorted(stops),
            temperature=temperature,
            top_p=top_p,
            top_k=top_k,
            seed=seed,
            logprobs=0,  # of the sampled ids only
            flat_logprobs=True,
            detokenize=False,
        )
        lora = None if adapter is None else _lora_request(adapter, self._adapters[adapter])
        request = f"playpen-{next(self._numbers)}"
        sampling = self._worker.sample(list(ids), parameters, request, lora)
        future = self._worker.submit(sampling)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise PlayerError(f"{self.name} was closed") from None

    def stop(self) -> None:
        """End the engine and its processes; whoever waits for a reply gets an error."""
        self._worker.stop()


# --- sharing -------------------------------------------------------------------------------------

_engines: weakref.WeakValueDictionary[EngineSettings, Engine] = weakref.WeakValueDictionary()
_engines_lock = threading.Lock()


def acquire(settings: EngineSettings) -> Engine:
    """The engine of these settings, for one more user: the one that runs already, if there is one.

    Raises:
        PlayerError: it does not start; one line that says why.
    """
    # Engines are made for ranks of a few sizes, so adapters of different ranks often share one.
    rank = next((size for size in RANKS if size >= settings.adapter_rank), settings.adapter_rank)
    if settings.adapter_rank:
        settings = msgspec.structs.replace(settings, adapter_rank=rank)
    with _engines_lock:
        engine = _engines.get(settings)
        if engine is None or not engine.usable:
            engine = _engines[settings] = Engine(settings)
        engine.users += 1
        return engine


def release(engine: Engine) -> None:
    """Let go of an engine; with its last user it ends."""
    with _engines_lock:
        engine.users -= 1
        if engine.users:
            return
        if _engines.get(engine.settings) is engine:
            del _engines[engine.settings]
        engine.stop()


# --- the thread ----------------------------------------------------------------------------------

_running: set[_Worker] = set()


def _stop_all() -> None:
    for worker in list(_running):
        worker.stop()


class _Worker:
    """The thread that holds vLLM's engine, and its event loop.

    It does not refer to the `Engine`: when that is freed, the thread is stopped.
    """

    def __init__(self, name: str, settings: EngineSettings) -> None:
        self.name = name
        self.engine: Any = None
        self._settings = settings
        self._closing = False
        self._lock = threading.RLock()
        self._requests: set[asyncio.Task[Any]] = set()
        self._log: IO[bytes] | None = None
        self._started = 0
        self._loop = asyncio.new_event_loop()
        self._ready: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        earlier = set(multiprocessing.active_children())
        self._thread.start()
        try:
            self._ready.result()
        except PlayerError:
            self._thread.join()
            raise
        except BaseException:  # Ctrl-C, while the model is loaded
            self.stop(wait=False)
            while self._thread.is_alive():
                for process in set(multiprocessing.active_children()) - earlier:
                    process.kill()
                self._thread.join(timeout=0.1)
            raise

    @property
    def usable(self) -> bool:
        return not self._closing and not self.engine.errored

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Run a coroutine on the engine's loop; cancelling the future cancels it there."""
        with self._lock:
            if self._closing:
                work.close()
                raise PlayerError(f"{self.name} was closed")
            return asyncio.run_coroutine_threadsafe(work, self._loop)

    def stop(self, wait: bool = True) -> None:
        """End the engine, its processes and the thread."""
        with self._lock:
            if not self._closing:
                self._closing = True
                # If it is still starting, the loop stops as soon as it runs.
                self._loop.call_soon_threadsafe(self._loop.stop)
        if wait and threading.current_thread() is not self._thread:
            self._thread.join()

    async def sample(self, ids: list[int], parameters: Any, request: str, lora: Any) -> Generated:
        """Have a reply generated.  Cancelling it aborts the request."""
        from vllm.inputs import tokens_input

        with self._request("generation failed"):
            async for output in self.engine.generate(
                tokens_input(ids), parameters, request, lora_request=lora
            ):
                if output.finished:
                    return self._generated(output.outputs[0])
        raise PlayerError(f"{self.name}: generation failed: the engine gave no reply")

    def _generated(self, output: Any) -> Generated:
        if output.finish_reason not in ("stop", "length"):
            raise PlayerError(f"{self.name}: generation failed: {output.finish_reason}")
        sampled = list(output.token_ids)
        logprobs = list(output.logprobs.logprobs)
        if len(logprobs) != len(sampled) or not all(map(math.isfinite, logprobs)):
            raise PlayerError(
                f"{self.name}: the model gave no finite probabilities; try dtype=float32"
            )
        return Generated(sampled, logprobs)

    async def add_adapter(self, lora: Any) -> None:
        with self._request(f"the adapter {lora.lora_path} cannot be loaded"):
            await self.engine.add_lora(lora)

    async def remove_adapter(self, number: int) -> None:
        with self._request(f"the adapter {number} cannot be removed"):
            await self.engine.remove_lora(number)

    @contextmanager
    def _request(self, what: str) -> Iterator[None]:
        """Keep count of the task, and turn what vLLM raises into errors for people."""
        task = asyncio.current_task()
        assert task is not None
        self._requests.add(task)
        try:
            yield
        except PlayerError:
            raise
        except Exception as error:  # of many kinds
            if self.engine.errored:
                raise PlayerError(f"{self.name}: the engine died: {self._first_error()}") from None
            reason = _one_line(error.__cause__ or error)
            raise PlayerError(f"{self.name}: {what}: {reason}") from error
        finally:
            self._requests.discard(task)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self.engine = self._start()
        except Exception as error:  # vLLM raises nearly everything here
            with self._lock:
                self._closing = True
                self._loop.close()
            self._ready.set_exception(PlayerError(f"{self.name}: {self._why(error)}"))
            self._close_log()
            return
        # Registered last, run first: before multiprocessing waits for the engine's process.
        atexit.unregister(_stop_all)
        atexit.register(_stop_all)
        _running.add(self)
        self._ready.set_result(None)
        try:
            self._loop.run_forever()
        finally:
            self._end()

    def _start(self) -> Any:
        """Start vLLM in this thread, without its output unless the user asked for it."""
        if os.environ.get("VLLM_LOGGING_LEVEL", "ERROR") == "ERROR":  # TRL sets it to that
            # Unlinked: it lives as long as the processes that write to it.
            self._log = tempfile.TemporaryFile()  # noqa: SIM115
        os.environ["VLLM_NO_USAGE_STATS"] = "1"
        # Ctrl-C is for us: were the engine's processes interrupted too, replies would end early.
        # They inherit the mask of this thread.  The tracker, if started later, would reset it.
        resource_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        with _written_to(self._log) if self._log is not None else nullcontext():
            arguments = _arguments(self._settings)
            from vllm.v1.engine.async_llm import AsyncLLM

            class ShutDownByUs(AsyncLLM):  # type: ignore[misc]  # vLLM is not always installed
                def __del__(self) -> None:
                    """Nothing: what it would do fails at the end of a program, and says so."""

            self._silence()
            if self._closing:
                raise PlayerError("interrupted")
            os.environ[OWNER] = str(os.getpid())
            engine = ShutDownByUs.from_engine_args(arguments)
            self._silence()  # it has set up its logging again
        if self._log is not None:
            self._started = os.fstat(self._log.fileno()).st_size
        return engine

    def _silence(self) -> None:
        """Let vLLM write nothing in this process: what matters is raised."""
        if self._log is not None:
            logging.getLogger("vllm").setLevel(logging.CRITICAL)

    def _end(self) -> None:
        loop = self._loop
        loop.run_until_complete(asyncio.sleep(0))  # what was handed over last begins
        self._cancel(self._requests)
        self.engine.shutdown(timeout=GRACE)
        self.engine = None
        self._cancel(asyncio.all_tasks(loop))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
        self._close_log()
        _running.discard(self)

    def _cancel(self, tasks: Collection[asyncio.Task[Any]]) -> None:
        cancelled = list(tasks)
        for task in cancelled:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*cancelled, return_exceptions=True))

    def _close_log(self) -> None:
        if self._log is not None:
            self._log.close()

    def _why(self, error: Exception) -> str:
        """The cause of a failed start: what the processes wrote, if it is theirs."""
        if "initialization failed" in str(error):
            return f"the engine does not start: {self._first_error()}"
        return _one_line(error)

    def _first_error(self) -> str:
        """The first error that the engine's processes wrote since the engine runs, or starts."""
        if self._log is None:
            return "see what vLLM has written above"
        # Not read as a file: its position is where the processes write.
        number = self._log.fileno()
        written = os.pread(number, os.fstat(number).st_size - self._started, self._started)
        for line in written.decode("utf-8", "replace").splitlines():
            if match := _RAISED.search(line):
                return match[1]
        return "it says nothing of the cause; set VLLM_LOGGING_LEVEL=INFO to see its log"


_RAISED = re.compile(
    r"(?:^|[\])] )(?:[\w.]+\.)?[A-Z]\w*(?:Error|Exception): (?!.*initialization failed)(.+)"
)
"""The last line of a traceback, with or without what a logger puts before it."""


def _arguments(settings: EngineSettings) -> Any:
    """What an engine is started with."""
    from vllm import AsyncEngineArgs
    from vllm.platforms import current_platform

    cpu = current_platform.is_cpu()
    arguments: dict[str, Any] = {
        "model": settings.model,
        "revision": settings.revision,
        "dtype": "float32" if cpu and settings.dtype == "auto" else settings.dtype,
        "tensor_parallel_size": settings.tensor_parallel_size,
        "max_model_len": settings.max_model_len,
        "gpu_memory_utilization": settings.gpu_memory_utilization,
        "quantization": settings.quantization,
        "enforce_eager": settings.enforce_eager,
        "max_num_seqs": settings.max_num_seqs,
        "load_format": "safetensors",
        "trust_remote_code": False,
        "skip_tokenizer_init": True,
        "generation_config": "vllm",  # no sampling options but ours
        "enable_prefix_caching": True,
        # Where a prompt is read in parts, vLLM takes back what it drew in between, which the
        # generators of CPUs cannot do: the engine would fail.
        "enable_chunked_prefill": False if cpu else None,
        "disable_log_stats": True,
        "worker_extension_cls": f"{Watchdog.__module__}.{Watchdog.__qualname__}",
        # After temperature, but after the cuts too, if there are any.
        "logprobs_mode": "processed_logprobs",
    }
    if settings.cuts:
        arguments["logprobs_mode"] = "processed_logits"
        arguments["logits_processors"] = ["playpen.players.vllm_engine.logprobs:LogitsAsLogprobs"]
        # The newer of vLLM's two model runners takes no processors of this kind.
        os.environ["VLLM_USE_V2_MODEL_RUNNER"] = "0"
    if settings.adapter_rank:
        arguments["enable_lora"] = True
        arguments["max_lora_rank"] = settings.adapter_rank
        arguments["max_loras"] = ADAPTERS_AT_ONCE
    return AsyncEngineArgs(**{name: v for name, v in arguments.items() if v is not None})


def _lora_request(adapter: Adapter, number: int) -> Any:
    from vllm.lora.request import LoRARequest

    return LoRARequest(f"adapter-{number}", number, str(adapter.folder))


@contextmanager
def _written_to(log: IO[bytes]) -> Iterator[None]:
    """Let this process, and those that it starts meanwhile, write to a file, not to the terminal.

    Ours alone have the terminal again afterwards.
    """
    streams = (sys.stdout, sys.stderr)
    saved = [os.dup(number) for number in (1, 2)]
    try:
        for stream in streams:
            stream.flush()
        for number in (1, 2):
            os.dup2(log.fileno(), number)
        yield
    finally:
        for stream in streams:
            stream.flush()
        for number, copy in zip((1, 2), saved, strict=True):
            os.dup2(copy, number)
            os.close(copy)


def _one_line(error: BaseException) -> str:
    """What an error of vLLM's says, in one line."""
    details = getattr(error, "errors", None)  # of pydantic
    if callable(details):
        text = str(details()[0]["msg"]).removeprefix("Value error, ")
    else:
        text = cause(error)
    return textwrap.shorten(text, 400, placeholder=" ...")
