"""A small random Llama that vLLM's kernels can run: their heads have at least 32 dimensions."""

from __future__ import annotations

from pathlib import Path

import torch
from tests.core.tiny_model import PLAIN, tiny_tokenizer
from transformers import LlamaConfig, LlamaForCausalLM


def save_small_model(
    directory: Path, *, template: str | None = PLAIN, seed: int = 0, positions: int = 512
) -> Path:
    """Save a model of about 100 thousand weights and its tokenizer as a checkpoint directory."""
    tokenizer = tiny_tokenizer(template)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=positions,
        # With the usual 0.02 all logits are nearly equal, and everything looks the same.
        initializer_range=0.2,
        bos_token_id=None,
        eos_token_id=2,
        pad_token_id=0,
    )
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config).eval()
        model.lm_head.weight[config.eos_token_id] *= 3  # or it would nearly never end a turn
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory
