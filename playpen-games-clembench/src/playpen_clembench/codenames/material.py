"""The pack's own words: themes, and lists by what makes a board hard or easy."""

from __future__ import annotations

from functools import cache

from playpen_clembench.languages import material_file


@cache
def themes() -> dict[str, tuple[str, ...]]:
    """Theme (a word that can be a clue) to its words.  No word is in two themes."""
    return _blocks("themes.txt")


@cache
def words(name: str) -> tuple[str, ...]:
    """A list of words; ``everyday`` are the words of all themes."""
    if name == "everyday":
        return tuple(word for group in themes().values() for word in group)
    return _blocks("words.txt")[name]


@cache
def theme_of() -> dict[str, str]:
    """Word to its theme."""
    return {word: theme for theme, group in themes().items() for word in group}


def _blocks(file: str) -> dict[str, tuple[str, ...]]:
    """Blocks between blank lines: a name, then words."""
    blocks = (block.split() for block in material_file(__package__, file).split("\n\n"))
    return {name: tuple(members) for name, *members in blocks}
