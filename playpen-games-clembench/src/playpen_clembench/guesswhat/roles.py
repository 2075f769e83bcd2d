"""The names of the roles of Guess What."""

from __future__ import annotations

GUESSER, ANSWERER = "guesser", "answerer"
