"""The texts that a game's package brings besides its prompts: a folder for each language."""

from __future__ import annotations

import importlib.resources

from playpen.prompts import PromptError


def language_file(package: str, language: str, name: str) -> bytes:
    """A file of ``prompts/<language>/``, without which the language cannot be played.

    Args:
        package: import name of the game's package.
        language: code of the language.
        name: the file's name.

    Raises:
        PromptError: the game does not speak the language.
    """
    path = importlib.resources.files(package).joinpath("prompts", language, name)
    try:
        return path.read_bytes()
    except (OSError, ValueError):  # the latter if no folder can have such a name
        game = package.rpartition(".")[2]
        raise PromptError(
            f"the game {game!r} does not speak {language!r}: it has no words for language "
            f"{language!r}; add the file prompts/{language}/{name}"
        ) from None


def material_file(package: str, name: str, language: str = "en") -> str:
    """A file of ``resources/<language>/``: words and the like, from which instances are made.

    Raises:
        FileNotFoundError: the package has no such file for the language.
    """
    path = importlib.resources.files(package).joinpath("resources", language, name)
    return path.read_text(encoding="utf-8")
