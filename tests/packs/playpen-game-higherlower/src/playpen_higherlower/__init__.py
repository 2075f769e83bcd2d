"""The game `higherlower` for Playpen."""
