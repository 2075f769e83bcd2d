"""The prompts of a game's package: files with ``$NAME$`` placeholders."""

from __future__ import annotations

import importlib.resources
import re
from collections.abc import Mapping
from functools import cache, lru_cache
from itertools import chain
from typing import TYPE_CHECKING

from playpen.errors import PlaypenError

if TYPE_CHECKING:
    pass


class PromptError(PlaypenError):
    """A prompt file is missing, or has a placeholder that no value fills."""


_PLACEHOLDER = re.compile(r"\$([A-Z][A-Z0-9_]*)\$")


def fill(template: str, values: Mapping[str, object]) -> str:
    """Replace every ``$NAME$`` of `template` by ``values["NAME"]``, in one pass.

    Names without a value stay as they are (texts that an instance brings may hold dollar signs).
    """
    literals, names = _parts(template)
    filled = [str(values[name]) if name in values else f"${name}$" for name in names]
    return "".join(chain.from_iterable(zip(literals, [*filled, ""], strict=True)))


@lru_cache(maxsize=1024)
def _parts(template: str) -> tuple[list[str], list[str]]:
    """The texts between the placeholders of a template, and the placeholders' names."""
    parts = _PLACEHOLDER.split(template)
    return parts[::2], parts[1::2]


def read_resource(package: str, *parts: str) -> str | None:
    """Text of a file in a package, or `None` if there is no such file (or no such package)."""
    try:
        path = importlib.resources.files(package)
        for part in parts:  # one by one: a package without __init__.py takes no more at a time
            path = path / part
        return path.read_text(encoding="utf-8")
    except (OSError, ImportError):
        return None


@cache
def read_prompt(package: str, language: str, name: str) -> tuple[str, frozenset[str]]:
    """A prompt file and the names of its placeholders."""
    text = read_resource(package, "prompts", language, f"{name}.md")
    if text is None:
        raise PromptError(
            f"{package} has no prompt {name!r} for language {language!r}; "
            f"add the file prompts/{language}/{name}.md"
        )
    return text.rstrip("\n"), frozenset(_PLACEHOLDER.findall(text))
