"""What a run, an evaluation or an episode looks like in a terminal."""
