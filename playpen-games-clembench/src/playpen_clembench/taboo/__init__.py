"""Taboo: describe a word without the words one would use to describe it."""
