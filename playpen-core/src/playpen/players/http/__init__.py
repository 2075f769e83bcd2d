"""Asking a JSON server over HTTP: limits, retries, careful reading."""
