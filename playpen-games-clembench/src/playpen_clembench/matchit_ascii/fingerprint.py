"""What makes two instances of match it the same puzzle."""

from __future__ import annotations


def fingerprint(grid_a: str, grid_b: str) -> str:
    """The two grids, whoever has which."""
    return "\n\n".join(sorted([grid_a, grid_b]))
