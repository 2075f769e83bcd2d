"""A small random Llama that vLLM's kernels can run: their heads have at least 32 dimensions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.core.tiny_model import save_tiny_model


def save_small_model(directory: Path, **options: Any) -> Path:
    """Save a model of about 100 thousand weights as `save_tiny_model` does."""
    return save_tiny_model(directory, hidden=64, heads=2, **options)
