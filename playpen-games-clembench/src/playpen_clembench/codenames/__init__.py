"""Codenames: one clue word for several words of a board, which the partner uncovers."""
