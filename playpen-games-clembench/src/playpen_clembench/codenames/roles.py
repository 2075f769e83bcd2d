"""The names of the roles of codenames."""

from __future__ import annotations

CLUEGIVER, GUESSER = "cluegiver", "guesser"
