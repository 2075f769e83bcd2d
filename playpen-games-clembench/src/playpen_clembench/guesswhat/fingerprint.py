"""What makes two instances of Guess What the same puzzle."""

from __future__ import annotations

from collections.abc import Sequence

from playpen_clembench.mini import MINI


def fingerprint(target: str) -> str:
    """The secret word."""
    return f"guesswhat:{target.lower()}"


def mini_fingerprint(target: str, candidates: Sequence[str]) -> str:
    """In the level `mini`: the secret word among the words of its list."""
    return f"guesswhat:{MINI}:{target}:{','.join(sorted(candidates))}"
