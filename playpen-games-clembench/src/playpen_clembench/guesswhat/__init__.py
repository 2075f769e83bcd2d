"""Guess What: find a secret word of a list by yes/no questions."""
