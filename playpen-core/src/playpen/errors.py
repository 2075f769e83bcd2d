"""The base of all errors that the user can correct."""

from __future__ import annotations


class PlaypenError(Exception):
    """Something was asked for that cannot be done as asked.

    The message names what was wrong, where, and what to do; the command line shows it without a
    traceback.  Trainers and packs derive their own errors from it.
    """
