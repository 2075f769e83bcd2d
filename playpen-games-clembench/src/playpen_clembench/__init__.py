"""The clembench dialogue games, natively written for Playpen."""
