"""Match it: find out in a conversation whether two grids are the same."""
