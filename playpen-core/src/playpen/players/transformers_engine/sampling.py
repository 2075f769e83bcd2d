"""The next token of every row, drawn from the model's logits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from playpen.players.transformers_engine.request import Request


class Sampled(NamedTuple):
    """One token for each row, and its log-probability."""

    tokens: list[int]
    logprobs: list[float]


def sample(logits: torch.Tensor, rows: Sequence[Request]) -> Sampled:
    """Choose the next token of each row.

    Args:
        logits: rows x vocabulary, float32.
        rows: temperature, cuts and random generator of each row.

    Raises:
        ArithmeticError: the logits hold no usable numbers.
    """
    device = logits.device
    temperatures = torch.tensor([row.temperature or 1.0 for row in rows], device=device)
    # Shifted first, so that a very low temperature does not overflow.
    shifted = logits - logits.amax(dim=-1, keepdim=True)
    logprobs = torch.log_softmax(shifted / temperatures[:, None], dim=-1)
    chosen = logits.argmax(dim=-1)
    drawing = [number for number, row in enumerate(rows) if row.temperature > 0]
    if drawing:
        drawn = _draw(logprobs[drawing].exp(), [rows[number] for number in drawing])
        chosen[drawing] = drawn
    picked = logprobs.gather(-1, chosen[:, None])[:, 0]
    if not torch.isfinite(picked).all():
        raise ArithmeticError("the model gave no finite probabilities; try dtype=float32")
    return Sampled(chosen.tolist(), picked.tolist())


def _draw(probabilities: torch.Tensor, rows: Sequence[Request]) -> torch.Tensor:
    """Draw by inversion: the first token at which the running sum passes the row's number."""
    device = probabilities.device
    exact = torch.float32 if device.type == "mps" else torch.float64
    weights, order = probabilities.to(exact), None
    vocabulary = weights.shape[-1]
    if any(row.top_p < 1 or 0 < row.top_k < vocabulary for row in rows):
        weights, order = weights.sort(dim=-1, descending=True, stable=True)
        top_p = torch.tensor([row.top_p for row in rows], device=device, dtype=exact)
        top_k = torch.tensor([row.top_k or vocabulary for row in rows], device=device)
        # The token at which the sum reaches top_p is still in; so there is always one.
        before = weights.cumsum(dim=-1) - weights
        within = (before < top_p[:, None]) | (top_p[:, None] == 1)
        within &= torch.arange(vocabulary, device=device) < top_k[:, None]
        weights = weights * within
    sums = weights.cumsum(dim=-1)
    numbers = torch.tensor([row.rng.random() for row in rows], device=device, dtype=exact)
    places = torch.searchsorted(sums, numbers[:, None] * sums[:, -1:], right=True)
    places = places.clamp(max=vocabulary - 1)
    return (places if order is None else order.gather(-1, places))[:, 0]
