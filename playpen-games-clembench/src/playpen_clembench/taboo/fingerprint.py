"""What makes two instances of taboo the same puzzle."""

from __future__ import annotations

from collections.abc import Sequence


def fingerprint(target: str, related: Sequence[str]) -> str:
    """The card: the secret word and the forbidden words, whatever the prompts say."""
    return f"taboo:{target}:{','.join(sorted(related))}"
