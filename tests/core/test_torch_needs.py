"""The mark `torch` is found by reading what tests import."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.torch_needs import file_needs_torch, function_needs_torch


@pytest.mark.parametrize(
    ("code", "needs"),
    [
        ("import torch", True),
        ("import torch.nn.functional as F", True),
        ("from transformers import AutoTokenizer", True),
        ("import torchless", False),
        ("if True:\n    import json, torch", True),
        ("try:\n    import torch\nexcept ImportError:\n    torch = None", True),
        ("try:\n    import json\nexcept ImportError:\n    import torch", True),
        ("class A:\n    import torch", True),
        ("def test():\n    import torch", False),
        ("class A:\n    def test(self):\n        import torch", False),
        ("if TYPE_CHECKING:\n    import torch", False),
        ("if TYPE_CHECKING:\n    import json\nelse:\n    import torch", True),
        ("from tests.core.tiny_model import save_tiny_model", True),
        ("from tests.core import tiny_model", True),
        ("from tests.core.conftest import PackFolder", False),
        ("from playpen.players.hf import HFPlayer", True),
        ("import playpen", False),
        ("import playpen.testing, playpen.cli, playpen_clembench.plugin", False),
    ],
)
def test_a_file_needs_what_it_imports_at_once(code: str, needs: bool, tmp_path: Path) -> None:
    file = tmp_path / "test_sample.py"
    file.write_text(code, encoding="utf-8")
    assert file_needs_torch(file) is needs


@pytest.mark.parametrize(
    ("body", "needs"),
    [
        ("import torch", True),
        ("with open('x'):\n        import torch", True),
        ("from tests.core.tiny_model import save_tiny_model", True),
        ("from playpen.players.program import ProgramPlayer", False),
    ],
)
def test_a_test_needs_what_it_imports_in_its_body(body: str, needs: bool, tmp_path: Path) -> None:
    file = tmp_path / "test_sample.py"
    other = "async def test_other():\n    import json\n"
    file.write_text(f"{other}def test_this():\n    {body}\n", encoding="utf-8")
    assert function_needs_torch(file, "test_this") is needs
    assert function_needs_torch(file, "test_other") is False
    assert file_needs_torch(file) is False


def test_a_test_that_imports_torch_is_marked(request: pytest.FixtureRequest) -> None:
    import torch

    assert torch.tensor(1) == 1
    assert request.node.get_closest_marker("torch")


def test_a_test_that_does_not_is_not(request: pytest.FixtureRequest) -> None:
    assert request.node.get_closest_marker("torch") is None
