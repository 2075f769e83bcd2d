"""What makes two instances of a static benchmark the same puzzle."""

from __future__ import annotations

from playpen.instance import content_hash


def fingerprint(game: str, question: str) -> str:
    """The question, whatever the template around it."""
    return f"{game}:{content_hash(question)}"
