"""What the levels `mini` of several games have in common.

They are for language models of a few hundred thousand weights: prompts of a few words, short
conversations, and everything that is said made of few words that white space separates.
"""

from __future__ import annotations

MINI = "mini"
SIZES = {"train": 3000, "validation": 300, "test": 600}
"""Instances of a split if no number is asked for, in games that could make any number."""
