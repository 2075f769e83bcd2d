"""The wordle family: find a secret word from colour feedback, with a clue, with a critic."""
