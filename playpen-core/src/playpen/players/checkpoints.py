"""Checkpoints as players name them: a directory, an adapter's directory, or a model on the hub."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from huggingface_hub import constants as hub

from playpen.player import PlayerError, SpecError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def read_template(path: str | None) -> str | None:
    """The text of a chat template's file.

    Raises:
        SpecError: it cannot be read.
    """
    if path is None:
        return None
    try:
        return Path(path).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not a UTF-8 text"
        raise SpecError(f"chat_template={path}: cannot be read: {reason}") from None


def local_checkpoint(scheme: str, target: str, revision: str | None) -> Path | None:
    """The directory that the target of a spec names, `None` for a model of the hub.

    Raises:
        SpecError: it can only be a directory, but there is none, or it is no checkpoint.
    """
    if not target:
        raise SpecError(
            f"{scheme}: names no model; write {scheme}:OWNER/MODEL or {scheme}:DIRECTORY"
        )
    path = Path(target).expanduser()
    if not path.is_dir():
        if path.is_absolute() or target.startswith((".", "~")) or target.count("/") > 1:
            raise SpecError(f"{scheme}:{target}: there is no such directory")
        return None
    if revision is not None:
        raise SpecError(
            f"{scheme}:{target}: a directory has no revision; leave revision={revision} out"
        )
    if not any((path / name).is_file() for name in ("config.json", "adapter_config.json")):
        raise SpecError(
            f"{scheme}:{target}: not a checkpoint: the directory has neither config.json "
            "nor adapter_config.json"
        )
    return path


def last_written(checkpoint: Path) -> int:
    """When a checkpoint's directory was last written to: a rewritten one is another one."""
    return max(file.stat().st_mtime_ns for file in checkpoint.iterdir())


class AdapterConfig(msgspec.Struct, frozen=True):
    """What an adapter's directory says of itself: the model it was trained on, and its rank."""

    base_model_name_or_path: str
    revision: str | None = None
    peft_type: str = "LORA"
    r: int | None = None
    rank_pattern: dict[str, int] | None = None


def read_adapter(scheme: str, adapter: Path) -> AdapterConfig:
    """Read an adapter's ``adapter_config.json``.

    Raises:
        PlayerError: it is not one of an adapter.
    """
    try:
        return msgspec.json.decode(
            (adapter / "adapter_config.json").read_bytes(), type=AdapterConfig
        )
    except msgspec.DecodeError as error:
        raise PlayerError(f"{scheme}:{adapter}: adapter_config.json: {error}") from None


def load_tokenizer(
    base: Path | str, revision: str | None, adapter: Path | None
) -> PreTrainedTokenizerBase:
    """The tokenizer of an adapter's directory where it has one, else that of its base model.

    Whatever transformers raises where it cannot be loaded is passed on (see `cause`).

    Args:
        base: directory of a checkpoint, or name of a model on the hub.
        revision: of a model on the hub.
        adapter: directory of an adapter of it, if there is one.
    """
    from transformers import AutoTokenizer

    if adapter is not None and (adapter / "tokenizer_config.json").is_file():
        base, revision = adapter, None
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
        base, revision=revision, trust_remote_code=False
    )
    return tokenizer


def cause(error: BaseException) -> str:
    """One line for people about a loading that failed."""
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
