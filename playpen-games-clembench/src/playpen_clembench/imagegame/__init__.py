"""The image game: dictate a drawing on a character grid, command by command."""
