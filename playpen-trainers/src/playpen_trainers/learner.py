"""The model that is trained, and the chat format that it is trained in."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch
from peft import AutoPeftModelForCausalLM
from transformers import AutoModelForCausalLM, AutoTokenizer

from playpen.chat_format import ChatFormat
from playpen.player import SpecError, SpecString, parse_options
from playpen.players.hf import HuggingFaceOptions, HuggingFacePlayer, in_bits
from playpen.plugins import resolve_spec
from playpen.training import ConfigError


class Learner(NamedTuple):
    """A model with its tokenizer and chat format.

    Attributes:
        adapted: the model is a LoRA adapter on a base model already.
    """

    model: Any
    tokenizer: Any
    chat: ChatFormat
    adapted: bool


def check_learner(player: str) -> tuple[SpecString, HuggingFaceOptions]:
    """The parsed spec of a learner; nothing is loaded.

    Raises:
        ConfigError: it is not an ``hf:`` model, there is no such directory, or an option is wrong.
    """
    spec = resolve_spec(player)
    if spec.scheme != "hf":
        raise ConfigError(
            f"learner.player = {player!r} cannot be trained; "
            "name a model as hf:NAME or hf:DIRECTORY"
        )
    try:
        options = parse_options(spec, HuggingFaceOptions)
        HuggingFacePlayer(spec.target, options)  # checks the directory and the template file
    except SpecError as error:
        raise ConfigError(f"learner.player = {player!r}: {error}") from None
    if options.quantization is not None:
        raise ConfigError(
            f"learner.player = {player!r}: quantization is for players that are not trained; "
            "set trainer.load_in_4bit = true and trainer.lora_r = 16"
        )
    return spec, options


def load_learner(
    spec: SpecString, options: HuggingFaceOptions, dtype: str, *, four_bits: bool = False
) -> Learner:
    """Load a model for training, from safetensors and without code of its own.

    Args:
        spec: spec of the learner, as `check_learner` gave it.
        options: its options.
        dtype: name of a torch data type; ``auto`` is bfloat16 where the device can, else float32.
        four_bits: quantise the weights, which an adapter is trained on then (QLoRA).

    Raises:
        ConfigError: transformers cannot load it; says why.
    """
    path = Path(spec.target).expanduser()
    source: str | Path = path if path.is_dir() else spec.target
    adapted = (path / "adapter_config.json").is_file() and not (path / "config.json").is_file()
    loader: Any = AutoPeftModelForCausalLM if adapted else AutoModelForCausalLM
    extra: dict[str, Any] = {"is_trainable": True} if adapted else {"use_safetensors": True}
    if four_bits:
        device = torch.cuda.current_device() if torch.cuda.is_available() else "cpu"
        extra |= {"quantization_config": in_bits("4bit", _dtype(dtype)), "device_map": {"": device}}
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            source, revision=options.revision, trust_remote_code=False
        )
        model = loader.from_pretrained(
            source,
            revision=options.revision,
            dtype=_dtype(dtype),
            trust_remote_code=False,
            **extra,
        )
    except (OSError, ValueError) as error:
        cause = str(error).strip().splitlines()[0]
        raise ConfigError(f"learner.player = {str(spec)!r}: {cause}") from error
    for layer in model.modules() if four_bits else ():
        # On some CPUs bitsandbytes would repack weights at the first reply, and after that
        # gradients end at them.
        layer.support_avx512bf16_for_cpu = False
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    template = options.chat_template
    text = None if template is None else Path(template).expanduser().read_text(encoding="utf-8")
    if text is not None:
        tokenizer.chat_template = text  # so that the checkpoint plays as it was trained
    return Learner(model, tokenizer, ChatFormat(tokenizer), adapted)


def _dtype(name: str) -> torch.dtype:
    if name == "auto":
        capable = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
        return torch.bfloat16 if capable else torch.float32
    dtype = getattr(torch, name, None)
    if not isinstance(dtype, torch.dtype):
        raise ConfigError(f"trainer.dtype = {name!r}: choose auto, float32, bfloat16 or float16")
    return dtype
