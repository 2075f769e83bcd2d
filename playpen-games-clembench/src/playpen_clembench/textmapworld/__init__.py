"""The textmapworld family: walk through a house of which only one room is seen at a time."""
