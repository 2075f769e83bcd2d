"""What makes two instances of the wordle family the same puzzle."""

from __future__ import annotations


def fingerprint(target: str) -> str:
    """The secret word, in whatever variant."""
    return f"wordle:{target}"
