"""Private and shared: keep track of what a questioner already knows."""
