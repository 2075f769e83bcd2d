"""Fixtures of the trainers' tests."""

from __future__ import annotations

import pytest
from tests.trainers.recorder import Recorder


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    return Recorder(monkeypatch)
