"""The names of the roles of the reference game."""

from __future__ import annotations

GIVER, FOLLOWER = "giver", "follower"
