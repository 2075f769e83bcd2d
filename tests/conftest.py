"""Fixtures that more than one area uses."""

from __future__ import annotations

import os

# Before torch is imported: two threads spin against each other on a busy machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import signal
from pathlib import Path

import hypothesis
import pytest

# How long an example takes says nothing on a busy machine.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

# A shell that starts the tests in the background has interrupts ignored, and some tests press one.
signal.signal(signal.SIGINT, signal.default_int_handler)

REPOSITORY = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def parity() -> Path:
    """The recorded episodes that live beside the repository, where they exist."""
    folder = REPOSITORY.parent / "shared" / "parity"
    if not folder.is_dir():
        pytest.skip("no recorded episodes on this machine")
    return folder


@pytest.fixture(scope="session")
def smollm() -> Path:
    """SmolLM2-135M-Instruct as a directory of safetensors, fetched once into a cache."""
    from tests.smollm import fetch_smollm

    return fetch_smollm()
