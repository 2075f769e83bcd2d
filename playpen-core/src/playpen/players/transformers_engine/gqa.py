"""Attention of one new id per row, where several query heads share a head of keys and values.

Where rows have different lengths, and so a mask, transformers copies the keys and values of every
layer for each query head that shares them, at each step (`repeat_kv`; on CUDA and on a CPU torch's
own sharing of heads is used without a mask only).  A single query has no causal order to keep: the
query heads that share keys can stand in for queries, and nothing is copied.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

_NAME = "playpen_grouped"


def grouped_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """What transformers' ``sdpa`` computes, without copies where they can be avoided.

    Args:
        module: the layer.
        query: rows x query heads x new ids x head size.
        key: rows x key/value heads x ids x head size.
        value: rows x key/value heads x ids x head size.
        attention_mask: rows x 1 x new ids x ids.
        scaling: of the products.
        options: whatever else a model passes on.

    Returns:
        Rows x new ids x query heads x head size.
    """
    rows, heads, new, size = query.shape
    shared = key.shape[1]
    special = options.get("dropout") or options.get("position_bias") is not None
    masked_alike = attention_mask is not None and attention_mask.shape[1] == 1
    if new > 1 or heads == shared or special or not masked_alike:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, **options
        )
    attended = torch.nn.functional.scaled_dot_product_attention(
        query.view(rows, shared, heads // shared, size),
        key,
        value,
        attn_mask=attention_mask,
        scale=scaling,
    )
    return attended.reshape(rows, 1, heads, value.shape[-1]), None


AttentionInterface.register(_NAME, grouped_attention)
AttentionMaskInterface.register(_NAME, sdpa_mask)


@contextmanager
def grouped(model: PreTrainedModel) -> Iterator[None]:
    """Let a model that uses transformers' ``sdpa`` use `grouped_attention` in the block."""
    config = model.config.get_text_config(decoder=True)
    if config._attn_implementation != "sdpa" or not model._can_set_attn_implementation():
        yield
        return
    config._attn_implementation = _NAME
    try:
        yield
    finally:
        config._attn_implementation = "sdpa"
