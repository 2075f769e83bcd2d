"""The players that come with Playpen."""
