"""``vllm:`` players: vLLM's engine, started by this program."""

from __future__ import annotations

import asyncio
import importlib.util
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from playpen.bounds import AboveZeroToOne, NonNegativeInt, PositiveInt
from playpen.chat_format import ChatFormat
from playpen.conversation import Conversation, Reply
from playpen.game import Game
from playpen.player import Player, PlayerError
from playpen.players.checkpoints import (
    cause,
    last_written,
    local_checkpoint,
    read_adapter,
    read_template,
)
from playpen.players.replies import (
    DEFAULT_NEW_TOKENS,
    Thinking,
    generated_reply,
    longest_reply,
    no_room,
)
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


class VllmPlayer(Player):
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

    def __init__(self, target: str, options: VllmOptions) -> None:
        """Check what can be checked without loading.

        Raises:
            SpecError: there is no such directory or template file, or it is not a checkpoint.
        """
        self._options = options
        self._template = read_template(options.chat_template)
        self._target = local_checkpoint("vllm", target, options.revision) or target
        self._loaded: tuple[Engine, ChatFormat, Adapter | None] | None = None

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

    def seat(self, game: Game, role: str) -> Player:
        """Start the engine, so that what is wrong shows before anything is played.

        Raises:
            PlayerError: the model cannot be loaded; says why.
            SpecError: the model has no chat template.
        """
        self._ready()
        return self

    async def reply(self, conversation: Conversation) -> Reply:
        """Generate a reply.

        Where the prompt leaves no room in the model's context, the reply is empty, with the
        `stop_reason` ``context`` and an empty trace: nothing was fed and nothing sampled.

        Raises:
            PlayerError: loading or generation failed, or the template refuses the chat.
        """
        engine, chat, adapter = self._ready()
        options = self._options
        prompt = chat.prompt(conversation.messages)
        wanted = longest_reply(options.max_new_tokens, conversation)
        limit = min(wanted, engine.positions - len(prompt.full))
        if limit < 1:
            return no_room(conversation, prompt)
        sampled, logprobs = await engine.generate(
            prompt.full,
            limit=limit,
            stops=chat.end_of_turn,
            temperature=options.temperature,
            top_p=options.top_p,
            top_k=options.top_k,
            seed=conversation.seed,
            adapter=adapter,
        )
        return generated_reply(
            chat,
            prompt,
            sampled,
            logprobs,
            thinking=options.thinking,
            cut="length" if limit == wanted else "context",
        )

    def describe(self) -> dict[str, Any]:
        """Model, sampling and engine options, and what happens to reasoning.

        The data type ``auto``, the longest conversation and vLLM's version are known once the
        model is loaded.
        """
        options = self._options
        engine = self._loaded[0] if self._loaded is not None else None
        described = {
            "model": str(self._target),
            "revision": options.revision,
            "chat_template": options.chat_template,
            "vllm": engine.version if engine else None,
            "dtype": engine.dtype if engine else options.dtype,
            "max_model_len": engine.positions if engine else options.max_model_len,
            "tensor_parallel_size": options.tensor_parallel_size,
            "gpu_memory_utilization": options.gpu_memory_utilization,
            "quantization": options.quantization,
            "enforce_eager": options.enforce_eager,
            "max_num_seqs": options.max_num_seqs,
            "temperature": options.temperature,
            "top_p": options.top_p,
            "top_k": options.top_k,
            "max_new_tokens": options.max_new_tokens or DEFAULT_NEW_TOKENS,
            "reasoning": "stripped" if options.thinking == "strip" else "kept",
        }
        return {name: value for name, value in described.items() if value is not None}

    async def close(self) -> None:
        """Let go of adapter and engine; the last player of an engine ends it."""
        if self._loaded is not None:
            engine, _, adapter = self._loaded
            self._loaded = None
            await asyncio.to_thread(_let_go, engine, adapter)

    def _ready(self) -> tuple[Engine, ChatFormat, Adapter | None]:
        if self._loaded is None:
            self._loaded = self._load()
        return self._loaded

    def _load(self) -> tuple[Engine, ChatFormat, Adapter | None]:
        source, revision, adapter = self._source()
        if isinstance(source, Path) and not any(source.glob("*.safetensors")):
            raise PlayerError(f"vllm:{self._target}: there are no weights in safetensors files")
        own_tokenizer = adapter is not None and (adapter.folder / "tokenizer_config.json").is_file()
        try:
            tokenizer = AutoTokenizer.from_pretrained(
                adapter.folder if adapter is not None and own_tokenizer else source,
                revision=None if own_tokenizer else revision,
                trust_remote_code=False,
            )
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
    ) -> tuple[Engine, ChatFormat, Adapter | None]:
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
        return engine, chat, adapter

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


def _let_go(engine: Engine, adapter: Adapter | None) -> None:
    if adapter is not None:
        engine.unload_adapter(adapter)
    release(engine)
