"""Recorded episodes as datasets in TRL's formats."""
