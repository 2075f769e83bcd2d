"""The names of the roles of the image game."""

from __future__ import annotations

GIVER, FOLLOWER = "giver", "follower"
