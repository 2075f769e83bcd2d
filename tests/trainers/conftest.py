"""Fixtures of the trainers' tests."""

from __future__ import annotations

import pytest
from tests.trainers.recorder import Recorder


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    return Recorder(monkeypatch)


@pytest.fixture
def online_games(monkeypatch: pytest.MonkeyPatch) -> None:
    """The games of `online_kit` are installed."""
    from tests.trainers.online_kit import register_games

    register_games(monkeypatch)
