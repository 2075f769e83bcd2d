"""When a clue counts as a form of a board word (docs/rules/codenames.md, "Violations").

The rule is WordNet's for nouns, over the nouns of WordNet 3.0 that this package brings: the
verdicts are those of NLTK's lemmatizer, and nothing has to be downloaded.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from playpen_clembench.languages import material_file

_ENDINGS = (
    ("s", ""),
    ("ses", "s"),
    ("ves", "f"),
    ("xes", "x"),
    ("zes", "z"),
    ("ches", "ch"),
    ("shes", "sh"),
    ("men", "man"),
    ("ies", "y"),
)


def related_word(clue: str, words: Iterable[str], language: str) -> str | None:
    """The first of the words that has the same lemma as the clue, if one has."""
    wanted = lemma(clue, language)
    return next((word for word in words if lemma(word, language) == wanted), None)


def lemma(form: str, language: str = "en") -> str:
    """The noun lemma of a lower-case word; the word itself where the language has no nouns here."""
    bases = _exceptions(language).get(form)
    if bases is None:
        bases = tuple(form[: -len(old)] + new for old, new in _ENDINGS if form.endswith(old))
    nouns = _nouns(language)
    # The form stands first: of equally short candidates it wins.
    return min((word for word in (form, *bases) if word in nouns), key=len, default=form)


@cache
def _nouns(language: str) -> frozenset[str]:
    return frozenset(_read(language, "nouns.txt").split())


@cache
def _exceptions(language: str) -> dict[str, tuple[str, ...]]:
    """Irregular forms and their base forms."""
    lines = (line.split() for line in _read(language, "noun_exceptions.txt").splitlines())
    return {form: tuple(bases) for form, *bases in lines}


def _read(language: str, file: str) -> str:
    """A word list of a language; empty if there is none."""
    try:
        return material_file(__package__, file, language)
    except FileNotFoundError:
        return ""
