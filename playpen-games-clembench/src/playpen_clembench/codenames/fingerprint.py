"""What makes two instances of codenames the same puzzle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from playpen_clembench.codenames.board import ASSIGNMENTS


def fingerprint(assignments: Mapping[str, Sequence[str]]) -> str:
    """Whose the words are; their order carries no meaning."""
    return "codenames:" + "|".join(",".join(sorted(assignments[name])) for name in ASSIGNMENTS)
