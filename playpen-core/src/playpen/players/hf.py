"""``hf:`` players: a transformers model in this process."""

from __future__ import annotations

import asyncio
import random
import threading
import weakref
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import torch
from huggingface_hub import constants as hub
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from playpen.conversation import Conversation, Reply, StopReason, TokenTrace
from playpen.game import Game
from playpen.player import Player, PlayerError, SpecError
from playpen.players.chat import ChatFormat, PromptTokens
from playpen.players.engine import Engine, LoopEngine, Request
from playpen.players.reasoning import split_reasoning

DEFAULT_NEW_TOKENS = 300
"""Longest reply in tokens unless the game or the user says otherwise; upstream's."""

Positive = Annotated[int, msgspec.Meta(ge=1)]


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
        deterministic: generate every reply alone, so that the same seed gives the same ids
            whatever else is being played (the rounding of a batch depends on its shape).
        thinking: ``strip`` hides reasoning from the game, ``keep`` leaves it in the reply.
        revision: of a model on the hub.
        chat_template: a Jinja file to use instead of the checkpoint's chat template.
    """

    temperature: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    max_new_tokens: Positive | None = None
    top_p: Annotated[float, msgspec.Meta(gt=0, le=1)] = 1.0
    top_k: Annotated[int, msgspec.Meta(ge=0)] = 0
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    device: str = "auto"
    batch_size: Positive = 32
    deterministic: bool = False
    thinking: Literal["strip", "keep"] = "strip"
    revision: str | None = None
    chat_template: str | None = None


class HuggingFacePlayer(Player):
    """``hf:MODEL``: a model of the hub, a checkpoint directory, or a LoRA adapter's directory.

    The model is loaded on first use.  Players of the same checkpoint, data type and device share
    its weights, never their options.  Code that comes with a checkpoint is not run, and weights
    are read from safetensors files only.
    """

    Options = HuggingFaceOptions

    def __init__(self, target: str, options: HuggingFaceOptions) -> None:
        """Check what can be checked without loading.

        Raises:
            SpecError: there is no such directory or template file, or it is not a checkpoint.
        """
        self._options = options
        self._template = _read_template(options.chat_template)
        self._device = _resolve_device(target, options.device)
        cpu = self._device == "cpu"
        self._dtype: str = "float32" if cpu and options.dtype == "auto" else options.dtype
        self._target = _local_checkpoint(target, options.revision) or target
        self._loaded: tuple[Engine, ChatFormat] | None = None

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
        first; `device`, `dtype` and `revision` of the options mean nothing here.

        Raises:
            SpecError: the tokenizer has no chat template and the options name none.
        """
        player = cls.__new__(cls)
        player._options = options or HuggingFaceOptions()
        player._template = _read_template(player._options.chat_template)
        player._target = model.config.name_or_path or type(model).__name__
        player._device = str(model.device)
        player._dtype = str(model.dtype).removeprefix("torch.")
        player._loaded = None
        player._use(LoopEngine(model, tokenizer, str(player._target)))
        return player

    def seat(self, game: Game, role: str) -> Player:
        """Load the model, so that what is wrong with it shows before anything is played.

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
        engine, chat = self._ready()
        options = self._options
        prompt = chat.prompt(conversation.messages)
        wanted = options.max_new_tokens or conversation.max_new_tokens or DEFAULT_NEW_TOKENS
        if conversation.max_new_tokens is not None:
            wanted = min(wanted, conversation.max_new_tokens)
        limit = min(wanted, engine.positions - len(prompt.full))
        if limit < 1:
            return _no_room(conversation, prompt)
        request = Request(
            ids=prompt.full,
            limit=limit,
            stops=chat.end_of_turn,
            temperature=options.temperature,
            top_p=options.top_p,
            top_k=options.top_k,
            batch_size=1 if options.deterministic else options.batch_size,
            chance=random.Random(conversation.seed),
        )
        await asyncio.wrap_future(engine.submit(request))
        stop: StopReason
        if request.sampled[-1] in chat.end_of_turn:
            stop = "stop"
        else:
            stop = "length" if limit == wanted else "context"
        raw = chat.decode(request.sampled)
        said, reasoning = raw, None
        if options.thinking == "strip":
            # What the prompt has opened is reasoning even if the limit came before its end.
            said, reasoning = split_reasoning(chat.opening + raw)
        text = chat.plain(said).strip()
        return Reply(
            text,
            raw=None if raw == text else raw,
            reasoning=reasoning,
            stop_reason=stop,
            tokens=TokenTrace(prompt.context, request.sampled, request.logprobs, prompt.continued),
            prompt_tokens=len(prompt.full),
            completion_tokens=len(request.sampled),
        )

    def describe(self) -> dict[str, Any]:
        """Model, sampling options, data type, device, and what happens to reasoning.

        The data type ``auto`` (the checkpoint's own) is resolved once the model is loaded.
        """
        options = self._options
        dtype = self._dtype
        if self._loaded is not None:
            dtype = str(self._loaded[0].model.dtype).removeprefix("torch.")
        described = {
            "model": str(self._target),
            "revision": options.revision,
            "chat_template": options.chat_template,
            "dtype": dtype,
            "device": self._device,
            "temperature": options.temperature,
            "top_p": options.top_p,
            "top_k": options.top_k,
            "max_new_tokens": options.max_new_tokens or DEFAULT_NEW_TOKENS,
            "batch_size": options.batch_size,
            "deterministic": options.deterministic,
            "reasoning": "stripped" if options.thinking == "strip" else "kept",
        }
        return {name: value for name, value in described.items() if value is not None}

    async def close(self) -> None:
        """Let go of the model; the last player of a model stops its worker."""
        if self._loaded is not None:
            engine, _ = self._loaded
            self._loaded = None
            await asyncio.to_thread(engine.release)

    def _ready(self) -> tuple[Engine, ChatFormat]:
        if self._loaded is None:
            self._use(load_engine(self._target, self._options.revision, self._dtype, self._device))
        assert self._loaded is not None
        return self._loaded

    def _use(self, engine: Engine) -> None:
        chat = ChatFormat(engine.tokenizer, chat_template=self._template, stops=engine.stops)
        engine.acquire()
        self._loaded = engine, chat


def _no_room(conversation: Conversation, prompt: PromptTokens) -> Reply:
    # Counted as part of the row so far, if there is one: an empty row would train nothing.
    begun = any(m.reply is not None and m.reply.tokens is not None for m in conversation.messages)
    return Reply(
        "",
        stop_reason="context",
        tokens=TokenTrace([], [], [], begun),
        prompt_tokens=len(prompt.full),
        completion_tokens=0,
    )


# --- loading -------------------------------------------------------------------------------------


def _read_template(path: str | None) -> str | None:
    if path is None:
        return None
    try:
        return Path(path).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not a UTF-8 text"
        raise SpecError(f"chat_template={path}: cannot be read: {reason}") from None


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


def _local_checkpoint(target: str, revision: str | None) -> Path | None:
    """The directory that a target names, `None` for a model of the hub.

    Raises:
        SpecError: it can only be a directory, but there is none, or it is no checkpoint.
    """
    if not target:
        raise SpecError("hf: names no model; write hf:OWNER/MODEL or hf:DIRECTORY")
    path = Path(target).expanduser()
    if not path.is_dir():
        if path.is_absolute() or target.startswith((".", "~")) or target.count("/") > 1:
            raise SpecError(f"hf:{target}: there is no such directory")
        return None
    if revision is not None:
        raise SpecError(f"hf:{target}: a directory has no revision; leave revision={revision} out")
    if not any((path / name).is_file() for name in ("config.json", "adapter_config.json")):
        raise SpecError(
            f"hf:{target}: not a checkpoint: the directory has neither config.json "
            "nor adapter_config.json"
        )
    return path


_engines: weakref.WeakValueDictionary[tuple[object, ...], Engine] = weakref.WeakValueDictionary()
_loading = threading.Lock()


def load_engine(target: Path | str, revision: str | None, dtype: str, device: str) -> Engine:
    """The engine of a checkpoint: the one that is loaded already, if a player still uses it.

    Args:
        target: checkpoint directory, or name of a model on the hub.
        revision: of a model on the hub.
        dtype: name of a torch data type, or ``auto``.
        device: name of a torch device.

    Raises:
        PlayerError: it cannot be loaded; one line that says why and what to do.
    """
    key: tuple[object, ...] = (str(target), revision, dtype, device)
    if isinstance(target, Path):
        # A checkpoint that was written again since is another one.
        written = max(file.stat().st_mtime_ns for file in target.iterdir())
        key = (str(target.resolve()), written, dtype, device)
    with _loading:
        engine = _engines.get(key)
        if engine is None:
            model, tokenizer = _load(target, revision, dtype, device)
            engine = _engines[key] = Engine(model, tokenizer, str(target))
        return engine


def load_checkpoint(
    target: str, options: HuggingFaceOptions
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load a model of one's own, whoever else uses the same checkpoint, ready to play.

    Raises:
        SpecError: there is no such directory, or it is not a checkpoint.
        PlayerError: it cannot be loaded; one line that says why and what to do.
    """
    player = HuggingFacePlayer(target, options)
    return _load(player._target, options.revision, player._dtype, player._device)


def _load(
    target: Path | str, revision: str | None, dtype: str, device: str
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    adapter: Path | None = None
    source: Path | str = target
    place = f"hf:{target}"
    if isinstance(target, Path) and not (target / "config.json").is_file():
        adapter = target
        source, revision = _base_of(adapter)
        place += f", its base model {source}"
    own_tokenizer = adapter is not None and (adapter / "tokenizer_config.json").is_file()
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            adapter if own_tokenizer else source,
            revision=None if own_tokenizer else revision,
            trust_remote_code=False,
        )
        model: Any = AutoModelForCausalLM.from_pretrained(
            source,
            revision=revision,
            dtype=dtype,
            use_safetensors=True,
            trust_remote_code=False,
        )
        if adapter is not None:
            model = _with_adapter(model, adapter)
        return model.to(device).eval(), tokenizer
    except PlayerError:
        raise
    except Exception as error:  # transformers raises nearly everything here
        raise PlayerError(f"{place}: {_cause(error)}") from error


class _AdapterConfig(msgspec.Struct):
    base_model_name_or_path: str
    revision: str | None = None


def _base_of(adapter: Path) -> tuple[str, str | None]:
    """Name and revision of the model that an adapter was trained on."""
    try:
        config = msgspec.json.decode(
            (adapter / "adapter_config.json").read_bytes(), type=_AdapterConfig
        )
    except msgspec.DecodeError as error:
        raise PlayerError(f"hf:{adapter}: adapter_config.json: {error}") from None
    return config.base_model_name_or_path, config.revision


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


def _cause(error: Exception) -> str:
    """One line for people about a failed loading."""
    text = str(error)
    if "trust_remote_code" in text:
        return "the model brings code of its own to run, which Playpen never does"
    if "backend tokenizer" in text:
        return "there are no files of a tokenizer beside the model"
    if hub.HF_HUB_OFFLINE and "cached files" in text:
        return (
            "not a directory, and not in the cache of the hub either; downloading is switched "
            "off (HF_HUB_OFFLINE=1)"
        )
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
