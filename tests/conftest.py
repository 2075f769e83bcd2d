"""Fixtures that more than one area uses."""

from __future__ import annotations

import os

# Before torch is imported: two threads spin against each other on a busy machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import importlib.util
import signal
from pathlib import Path

import hypothesis
import pytest
from tests.torch_needs import file_needs_torch, function_needs_torch

# How long an example takes says nothing on a busy machine.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

# A shell that starts the tests in the background has interrupts ignored, and some tests press one.
signal.signal(signal.SIGINT, signal.default_int_handler)

REPOSITORY = Path(__file__).parent.parent
TORCH_IS_MISSING = importlib.util.find_spec("torch") is None


def pytest_report_header() -> list[str]:
    """Say what is left out where torch is missing."""
    return ["torch: missing; files that import it are left out"] if TORCH_IS_MISSING else []


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave out files that cannot even be imported where torch is missing."""
    python = collection_path.suffix == ".py"
    return True if TORCH_IS_MISSING and python and file_needs_torch(collection_path) else None


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark the tests that import torch."""
    if isinstance(item, pytest.Function) and (
        file_needs_torch(item.path) or function_needs_torch(item.path, item.originalname)
    ):
        item.add_marker("torch")


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
