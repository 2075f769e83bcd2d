"""The reference game: describe one of three grids so that a partner finds it."""
