"""What makes two instances of private and shared the same puzzle."""

from __future__ import annotations

from collections.abc import Mapping


def fingerprint(slots: Mapping[str, str]) -> str:
    """The slots and their values, in whatever order they are told."""
    return "\n".join(sorted(f"{slot}: {value}" for slot, value in slots.items()))
