"""When two words count as forms of the same word.

See docs/rules/taboo.md, "Reply format" and "Violations".
"""

from __future__ import annotations

import string
from functools import cache, lru_cache
from typing import Any

from playpen_clembench.languages import material_file

_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
_LONGEST_ENDING = 30
"""No chain of English suffixes that the stemmer removes is longer than this."""


@cache
def stop_words() -> frozenset[str]:
    """Words that may be used whatever the card says."""
    return frozenset(material_file(__package__, "stopwords.txt").split())


@lru_cache(maxsize=100_000)
def stem(word: str) -> str:
    """The Snowball (Porter2) stem of a word as NLTK computes it."""
    return str(_stemmer().stem(word))


@cache
def _stemmer() -> Any:
    from nltk.stem.snowball import EnglishStemmer  # slow to import, and needed only in play

    return EnglishStemmer()


def without_tag(text: str, tag: str) -> str:
    """A reply without its tag, surrounding white space, capitals and punctuation."""
    return text.replace(tag, "").strip().lower().translate(_NO_PUNCTUATION)


def forbidden_use(clue: str, target: str, related: list[str]) -> tuple[str, str] | None:
    """The first clue word that is a form of a forbidden word, and that word.

    Args:
        clue: the normalised clue (`without_tag`).
        target: the secret word.
        related: the other forbidden words.
    """
    forbidden = {stem(word): word for word in [*reversed(related), target]}
    # Longer tokens cannot have such a stem, and the stemmer is slow on absurd ones.
    longest = max(map(len, forbidden)) + _LONGEST_ENDING
    free = stop_words()
    for token in clue.split(" "):
        if token and token not in free and len(token) <= longest:
            word = forbidden.get(stem(token))
            if word is not None:
                return token, word
    return None
