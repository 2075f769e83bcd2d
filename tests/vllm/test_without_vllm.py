"""What a user reads who has not installed vLLM."""

from __future__ import annotations

import sys

import pytest

from playpen.errors import PlaypenError
from playpen.plugins import make_player


def test_the_extra_to_install_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "vllm", None)
    monkeypatch.delitem(sys.modules, "playpen.players.vllm", raising=False)
    with pytest.raises(PlaypenError, match=r'pip install "playpen-core\[vllm\]"') as caught:
        make_player(f"vllm:{tmp_path}")
    assert "\n" not in str(caught.value)
