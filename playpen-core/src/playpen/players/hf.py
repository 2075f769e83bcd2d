"""``hf:`` players: a transformers model in this process."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import random
import threading
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec
import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    BitsAndBytesConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from playpen.bounds import AboveZeroToOne, NonNegativeFloat, NonNegativeInt, PositiveInt
from playpen.chat_format import ChatFormat
from playpen.player import PlayerError, SpecError
from playpen.players.checkpoints import (
    cause,
    last_written,
    load_tokenizer,
    read_adapter,
    read_template,
)
from playpen.players.local_model import LocalModelPlayer
from playpen.players.replies import Thinking
from playpen.players.transformers_engine.engine import Engine, LoopEngine
from playpen.players.transformers_engine.request import Request

Quantization = Literal["4bit", "8bit"]


class HuggingFaceOptions(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Options of an ``hf:`` player.

    Attributes:
        temperature: 0 takes the most probable token.
        max_new_tokens: limit of every reply.  Without it a reply has 300, or what its game allows.
        top_p: sample among the most probable tokens that together have this probability.
        top_k: sample among this many most probable tokens; 0 for no limit.
        dtype: ``auto`` is the checkpoint's own on an accelerator, and float32 on a CPU.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        batch_size: most replies that are generated together.
        deterministic: generate every reply alone and read its whole prompt, so that the same seed
            gives the same ids whatever else is being played (the rounding depends on what is
            computed together).
        kept_tokens: for how many tokens keys and values are kept, so that the next turn of a
            conversation, or another one that begins alike, need not read them again; 0 keeps
            nothing.  A token takes 2 x layers x key/value heads x head size numbers: 45 KiB for
            SmolLM2-135M in float32, 128 KiB for Llama-3.1-8B in bfloat16.  The default holds 64
            conversations of 2048 tokens, but never more than a quarter of the device's memory.
            Players that share weights share what is kept, by the largest of their numbers.
        quantization: load the weights in ``4bit`` (NF4) or ``8bit``; needs bitsandbytes.
        thinking: ``strip`` hides reasoning from the game, ``keep`` leaves it in the reply.
        revision: of a model on the hub.
        chat_template: a Jinja file to use instead of the checkpoint's chat template.
    """

    temperature: NonNegativeFloat = 0.0
    max_new_tokens: PositiveInt | None = None
    top_p: AboveZeroToOne = 1.0
    top_k: NonNegativeInt = 0
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    device: str = "auto"
    batch_size: PositiveInt = 32
    deterministic: bool = False
    kept_tokens: NonNegativeInt = 64 * 2048
    quantization: Quantization | None = None
    thinking: Thinking = "strip"
    revision: str | None = None
    chat_template: str | None = None


class LoadedHuggingFaceModel(NamedTuple):
    """The engine that runs a model, and how conversations are written for it."""

    engine: Engine
    chat: ChatFormat


class HuggingFacePlayer(LocalModelPlayer[LoadedHuggingFaceModel]):
    """``hf:MODEL``: a model of the hub, a checkpoint directory, or a LoRA adapter's directory.

    The model is loaded on first use.  Players of the same checkpoint, data type, quantisation and
    device share its weights, never their options.  Code that comes with a checkpoint is not run,
    and weights are read from safetensors files only.
    """

    Options = HuggingFaceOptions
    scheme = "hf"
    _options: HuggingFaceOptions

    def __init__(self, target: str, options: HuggingFaceOptions) -> None:
        """Check what can be checked without loading.

        Raises:
            SpecError: there is no such directory or template file, it is not a checkpoint, or a
                library is missing.
        """
        if options.quantization and importlib.util.find_spec("bitsandbytes") is None:
            raise SpecError(
                f"hf:{target}: quantization={options.quantization} needs bitsandbytes: "
                "pip install 'playpen-core[quantization]'"
            )
        super().__init__(target, options)
        device = _resolve_device(target, options.device)
        self._source = _Source(
            self._target,
            options.revision,
            "float32" if device == "cpu" and options.dtype == "auto" else options.dtype,
            options.quantization,
            device,
        )

    @classmethod
    def over(
        cls,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        options: HuggingFaceOptions | None = None,
    ) -> HuggingFacePlayer:
        """A player of a model that is in memory already (one that is being trained, say).

        The weights are used as they are at each step, in the event loop's own thread, so that a
        roll-out gives the same tokens whenever it is repeated.  Put the model into evaluation mode
        first; `device`, `dtype`, `quantization` and `revision` of the options mean nothing here.

        Raises:
            SpecError: the tokenizer has no chat template and the options name none.
        """
        player = cls.__new__(cls)
        player._options = options or HuggingFaceOptions()
        player._template = read_template(player._options.chat_template)
        player._target = model.config.name_or_path or type(model).__name__
        dtype = str(model.dtype).removeprefix("torch.")
        player._source = _Source(player._target, None, dtype, None, str(model.device))
        player._loaded = player._use(LoopEngine(model, tokenizer, player._target))
        return player

    def _load(self) -> LoadedHuggingFaceModel:
        return self._use(load_engine(self._source))

    def _use(self, engine: Engine) -> LoadedHuggingFaceModel:
        chat = ChatFormat(engine.tokenizer, chat_template=self._template, stops=engine.stops)
        engine.acquire()
        return LoadedHuggingFaceModel(engine, chat)

    async def _sample(
        self, loaded: LoadedHuggingFaceModel, ids: Sequence[int], limit: int, seed: int
    ) -> tuple[list[int], list[float]]:
        options = self._options
        request = Request(
            ids=ids,
            limit=limit,
            stops=loaded.chat.end_of_turn,
            temperature=options.temperature,
            top_p=options.top_p,
            top_k=options.top_k,
            batch_size=1 if options.deterministic else options.batch_size,
            rng=random.Random(seed),
            kept_tokens=0 if options.deterministic else options.kept_tokens,
        )
        await asyncio.wrap_future(loaded.engine.submit(request))
        return request.sampled, request.logprobs

    def _release(self, loaded: LoadedHuggingFaceModel) -> None:
        loaded.engine.release()

    def _describe_engine(self) -> dict[str, Any]:
        dtype = self._source.dtype
        if self._loaded is not None:
            dtype = str(self._loaded.engine.model.dtype).removeprefix("torch.")
        return {
            "dtype": dtype,
            "quantization": self._options.quantization,
            "device": self._source.device,
        }

    def _describe_batching(self) -> dict[str, Any]:
        return {
            "batch_size": self._options.batch_size,
            "deterministic": self._options.deterministic,
            "kept_tokens": self._options.kept_tokens,
        }


# --- loading -------------------------------------------------------------------------------------


def _resolve_device(target: str, device: str) -> str:
    """Name of the torch device that an option means.

    Raises:
        SpecError: torch knows no such device.
    """
    if device != "auto":
        try:
            return str(torch.device(device))
        except RuntimeError:
            raise SpecError(
                f"hf:{target}: unknown device {device!r}; write auto, cpu, cuda, cuda:1 or mps"
            ) from None
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


class _Source(NamedTuple):
    """What is loaded, and how.

    Attributes:
        target: checkpoint directory, or name of a model on the hub.
        revision: of a model on the hub.
        dtype: name of a torch data type, or ``auto``.
        quantization: of the weights.
        device: name of a torch device.
    """

    target: Path | str
    revision: str | None
    dtype: str
    quantization: Quantization | None
    device: str


_engines: weakref.WeakValueDictionary[tuple[object, ...], Engine] = weakref.WeakValueDictionary()
_loading = threading.Lock()


def load_engine(source: _Source) -> Engine:
    """The engine of a checkpoint: the one that is loaded already, if a player still uses it.

    Raises:
        PlayerError: it cannot be loaded; one line that says why and what to do.
    """
    key: tuple[object, ...] = source
    if isinstance(source.target, Path):
        key = (source._replace(target=source.target.resolve()), last_written(source.target))
    with _loading:
        engine = _engines.get(key)
        if engine is None:
            model, tokenizer = _load(source)
            engine = _engines[key] = Engine(model, tokenizer, str(source.target))
        return engine


def load_checkpoint(
    target: str, options: HuggingFaceOptions
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a model of one's own, whoever else uses the same checkpoint, ready to play.

    Raises:
        SpecError: there is no such directory, or it is not a checkpoint.
        PlayerError: it cannot be loaded; one line that says why and what to do.
    """
    return _load(HuggingFacePlayer(target, options)._source)


def _load(source: _Source) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    adapter: Path | None = None
    base, revision = source.target, source.revision
    place = f"hf:{source.target}"
    if isinstance(source.target, Path) and not (source.target / "config.json").is_file():
        adapter = source.target
        config = read_adapter("hf", adapter)
        base, revision = config.base_model_name_or_path, config.revision
        place += f", its base model {base}"
    try:
        tokenizer = load_tokenizer(base, revision, adapter)
        model: Any = AutoModelForCausalLM.from_pretrained(
            base,
            revision=revision,
            dtype=source.dtype,
            use_safetensors=True,
            trust_remote_code=False,
            **_quantized(base, revision, source),
        )
        if adapter is not None:
            model = _with_adapter(model, adapter)
        return model.to(source.device).eval(), tokenizer
    except PlayerError:
        raise
    except Exception as error:  # transformers raises nearly everything here
        raise PlayerError(f"{place}: {cause(error)}") from error


def _quantized(base: Path | str, revision: str | None, source: _Source) -> dict[str, Any]:
    """What loads a model with quantised weights, on its device from the start."""
    if source.quantization is None:
        return {}
    if source.dtype == "auto":
        config = AutoConfig.from_pretrained(base, revision=revision, trust_remote_code=False)
        dtype = config.dtype or torch.float32
    else:
        dtype = getattr(torch, source.dtype)
    wanted = in_bits(source.quantization, dtype)
    return {"quantization_config": wanted, "device_map": {"": source.device}}


def in_bits(quantization: Quantization, dtype: torch.dtype) -> BitsAndBytesConfig:
    """How transformers quantises weights when it loads them.

    Args:
        quantization: ``4bit`` is NF4, with the blocks' scales quantised once more, as in QLoRA.
        dtype: in which a layer computes.
    """
    # It warns at every layer of every step of the data types that it works in.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    if quantization == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )


def _with_adapter(model: Any, adapter: Path) -> Any:
    """The model with a LoRA adapter in place, not merged: merging would round the weights."""
    try:
        from peft import PeftModel
    except ImportError:
        raise PlayerError(
            f"hf:{adapter} is a LoRA adapter, which needs peft: pip install peft"
        ) from None
    if not (adapter / "adapter_model.safetensors").is_file():
        raise PlayerError(f"hf:{adapter}: the adapter has no adapter_model.safetensors")
    adapted: Any = PeftModel.from_pretrained(model, str(adapter))
    if adapted.active_peft_config.is_prompt_learning:
        raise PlayerError(f"hf:{adapter}: prompt-tuning adapters are not supported, only LoRA")
    return adapted.get_base_model()
