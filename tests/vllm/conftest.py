"""Models for vLLM, and players on engines that are started once for all tests."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import transformers
from tests.vllm.small_models import save_small_model

FAST_START = {
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "TORCHDYNAMO_DISABLE": "1",  # compiling takes longer than the tests
}


@pytest.fixture(scope="session", autouse=True)
def _quick_engines() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in FAST_START.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random model with room for 512 tokens."""
    return save_small_model(tmp_path_factory.mktemp("models") / "small")


@pytest.fixture(scope="session")
def transformers_model(small: Path):
    """The same model in transformers."""
    return transformers.AutoModelForCausalLM.from_pretrained(small).eval()


@pytest.fixture(scope="session")
def adapters(small: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two different LoRA adapters of the small model, of the ranks 4 and 8."""
    from peft import LoraConfig, get_peft_model

    folders = []
    for rank in (4, 8):
        base = transformers.AutoModelForCausalLM.from_pretrained(small)
        config = LoraConfig(
            r=rank, target_modules=["q_proj", "v_proj", "up_proj"], init_lora_weights=False
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(rank)
            adapted = get_peft_model(base, config)
        folders.append(tmp_path_factory.mktemp("adapters") / f"rank-{rank}")
        adapted.save_pretrained(folders[-1])
    return folders


@pytest.fixture(scope="session")
def vllm(small: Path):
    """Makes players; engines once started go on till the end of the tests."""
    assert importlib.util.find_spec("vllm"), "vLLM is not installed; run: make test-vllm"
    from playpen.players.vllm import VllmOptions, VllmPlayer

    made: list[VllmPlayer] = []

    def make(target: Path = small, **options) -> VllmPlayer:
        settings = {"enforce_eager": True, "max_num_seqs": 64} | options
        player = VllmPlayer(str(target), VllmOptions(**settings))
        made.append(player)
        return player

    yield make
    for player in made:
        asyncio.run(player.close())
