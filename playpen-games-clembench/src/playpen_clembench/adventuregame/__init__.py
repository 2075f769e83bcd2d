"""AdventureGame: deliver things to their places in a text adventure."""
