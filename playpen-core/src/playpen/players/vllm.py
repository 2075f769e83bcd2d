"""``vllm:`` players: vLLM's engine, started by this program."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from transformers import PreTrainedTokenizerBase

from playpen.bounds import AboveZeroToOne, NonNegativeInt, PositiveInt
from playpen.chat_format import ChatFormat
from playpen.player import PlayerError
from playpen.players.checkpoints import cause, last_written, load_tokenizer, read_adapter
from playpen.players.local_model import LocalModelPlayer
from playpen.players.replies import Thinking
from playpen.players.vllm_engine.engine import Adapter, Engine, EngineSettings, acquire, release

# vLLM itself takes seconds to import, and is when a model is loaded.
if importlib.util.find_spec("vllm") is None:
    raise ModuleNotFoundError("No module named 'vllm'", name="vllm")


COLDEST = 0.01
"""Lowest temperature that vLLM samples with."""


class VllmOptions(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Options of a ``vllm:`` player.  Those without a value here have vLLM's own default.

    Attributes:
        temperature: 0 takes the most probable token; else from 0.01 to 2.
        max_new_tokens: limit of every reply.  Without it a reply has 300, or what its game allows.
        top_p: sample among the most probable tokens that together have this probability.
        top_k: sample among this many most probable tokens; 0 for no limit.
        dtype: ``auto`` is float32 on a CPU; elsewhere the checkpoint's own, but 16 bits for one
            of float32.
        tensor_parallel_size: over how many accelerators each layer is spread.
        max_model_len: longest conversation in tokens; without it, the model's own.
        gpu_memory_utilization: share of an accelerator's memory that the engine takes.
        quantization: a method of vLLM's (``fp8``, ``bitsandbytes``, ...); a checkpoint that is
            quantised already says so itself.
        enforce_eager: do not compile the model: starts sooner, runs slower.
        max_num_seqs: most replies that are generated together.
        thinking: ``strip`` hides reasoning from the game, ``keep`` leaves it in the reply.
        revision: of a model on the hub.
        chat_template: a Jinja file to use instead of the checkpoint's chat template.
    """

    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] = 0.0
    max_new_tokens: PositiveInt | None = None
    top_p: AboveZeroToOne = 1.0
    top_k: NonNegativeInt = 0
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    tensor_parallel_size: PositiveInt = 1
    max_model_len: PositiveInt | None = None
    gpu_memory_utilization: AboveZeroToOne | None = None
    quantization: str | None = None
    enforce_eager: bool = False
    max_num_seqs: PositiveInt | None = None
    thinking: Thinking = "strip"
    revision: str | None = None
    chat_template: str | None = None

    def __post_init__(self) -> None:
        if 0 < self.temperature < COLDEST:
            raise ValueError(f"`temperature` must be 0, or at least {COLDEST}")


class LoadedVllmModel(NamedTuple):
    """The engine that runs a model, how conversations are written for it, and the adapter."""

    engine: Engine
    chat: ChatFormat
    adapter: Adapter | None


class VllmPlayer(LocalModelPlayer[LoadedVllmModel]):
    """``vllm:MODEL``: a model of the hub, a checkpoint directory, or a LoRA adapter's directory.

    The engine runs in processes of its own, which are started on first use.  Players that agree
    on the model and on the options of the engine (`dtype` to `max_num_seqs`, and whether `top_p`
    or `top_k` cut anything) share one; it ends with the last of them.  Adapters of one base model
    share an engine too.  Code that comes with a checkpoint is not run, and weights are read from
    safetensors files only.

    Where those processes are spawned (on a CPU, or if CUDA is in use already) a script of yours
    is imported by them: keep what it does under ``if __name__ == "__main__":``.

    What vLLM writes is kept from the terminal unless ``VLLM_LOGGING_LEVEL`` is set to another
    level than ``ERROR``.

    The same seed gives the same ids as long as nothing else is generated meanwhile: the rounding
    of a batch depends on its shape.
    """

    Options = VllmOptions
    scheme = "vllm"
    _options: VllmOptions

    @classmethod
    def following(
        cls,
        target: str,
        options: VllmOptions,
        *,
        tokenizer: PreTrainedTokenizerBase,
        adapter: Path | None,
        rank: int,
    ) -> VllmPlayer:
        """A player of a model that is being trained, as the adapter holds it that was saved last.

        As long as one of them is open, the next one has the same engine.

        Args:
            target: what the training began with: a model, or an adapter of one.
            options: of the player.
            tokenizer: of the model, with its chat template.
            adapter: directory of the adapter; `None` for the bare model.
            rank: highest rank of the adapters that the engine is to run, sooner or later.

        Raises:
            PlayerError: the engine does not start, or the adapter cannot be loaded; says why.
            SpecError: there is no such directory, or the tokenizer has no chat template.
        """
        player = cls(target, options)
        source, revision, first = player._source()
        rank = rank if first is None else max(rank, first.rank)
        now = None if adapter is None else Adapter(adapter.resolve(), last_written(adapter), rank)
        player._loaded = player._start(source, revision, tokenizer, now, rank)
        return player

    def _load(self) -> LoadedVllmModel:
        source, revision, adapter = self._source()
        if isinstance(source, Path) and not any(source.glob("*.safetensors")):
            raise PlayerError(f"vllm:{self._target}: there are no weights in safetensors files")
        try:
            tokenizer = load_tokenizer(source, revision, adapter.folder if adapter else None)
        except Exception as error:  # transformers raises nearly everything here
            raise PlayerError(f"vllm:{self._target}: {cause(error)}") from error
        return self._start(
            source, revision, tokenizer, adapter, 0 if adapter is None else adapter.rank
        )

    def _start(
        self,
        source: Path | str,
        revision: str | None,
        tokenizer: PreTrainedTokenizerBase,
        adapter: Adapter | None,
        rank: int,
    ) -> LoadedVllmModel:
        options = self._options
        chat = ChatFormat(tokenizer, chat_template=self._template)
        engine = acquire(
            EngineSettings(
                model=str(source),
                written=last_written(source) if isinstance(source, Path) else 0,
                revision=revision,
                dtype=options.dtype,
                tensor_parallel_size=options.tensor_parallel_size,
                max_model_len=options.max_model_len,
                gpu_memory_utilization=options.gpu_memory_utilization,
                quantization=options.quantization,
                enforce_eager=options.enforce_eager,
                max_num_seqs=options.max_num_seqs,
                adapter_rank=rank,
                cuts=options.temperature > 0 and (options.top_p < 1 or options.top_k > 0),
            )
        )
        try:
            if adapter is not None:
                engine.load_adapter(adapter)
        except BaseException:
            release(engine)
            raise
        chat.end_of_turn |= engine.stops
        return LoadedVllmModel(engine, chat, adapter)

    def _source(self) -> tuple[Path | str, str | None, Adapter | None]:
        """The base model, its revision, and the adapter if the target is one.

        Raises:
            PlayerError: the adapter is none of LoRA, or has no safetensors.
        """
        target = self._target
        if isinstance(target, str) or (target / "config.json").is_file():
            return target, self._options.revision, None
        config = read_adapter("vllm", target)
        if config.peft_type != "LORA" or not config.r:
            raise PlayerError(f"vllm:{target}: only LoRA adapters are supported")
        if not (target / "adapter_model.safetensors").is_file():
            raise PlayerError(f"vllm:{target}: the adapter has no adapter_model.safetensors")
        rank = max([config.r, *(config.rank_pattern or {}).values()])
        base = Path(config.base_model_name_or_path).expanduser()
        source = base if base.is_dir() else config.base_model_name_or_path
        return source, config.revision, Adapter(target.resolve(), last_written(target), rank)

    async def _sample(
        self, loaded: LoadedVllmModel, ids: Sequence[int], limit: int, seed: int
    ) -> tuple[list[int], list[float]]:
        return await loaded.engine.generate(
            ids,
            limit=limit,
            stops=loaded.chat.end_of_turn,
            temperature=self._options.temperature,
            top_p=self._options.top_p,
            top_k=self._options.top_k,
            seed=seed,
            adapter=loaded.adapter,
        )

    def _release(self, loaded: LoadedVllmModel) -> None:
        if loaded.adapter is not None:
            loaded.engine.unload_adapter(loaded.adapter)
        release(loaded.engine)

    def _describe_engine(self) -> dict[str, Any]:
        options = self._options
        engine = self._loaded.engine if self._loaded is not None else None
        return {
            "vllm": engine.version if engine else None,
            "dtype": engine.dtype if engine else options.dtype,
            "max_model_len": engine.positions if engine else options.max_model_len,
            "tensor_parallel_size": options.tensor_parallel_size,
            "gpu_memory_utilization": options.gpu_memory_utilization,
            "quantization": options.quantization,
            "enforce_eager": options.enforce_eager,
            "max_num_seqs": options.max_num_seqs,
        }
