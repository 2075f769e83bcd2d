"""The trainer `plainloop` for Playpen."""
