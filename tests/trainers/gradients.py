"""Which tokens a trainer trains, read off the gradient of its own loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch


def trained_tokens(trainer: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Which tokens of a batch get a gradient through the trainer's `compute_loss`.

    The output head works position by position, so the gradient with respect to the last hidden
    states is not zero exactly where the probability of the next token enters the loss.

    Returns:
        Booleans of the shape of the batch, true at a token whose own probability is trained.
    """
    model = trainer.model
    causal = model.get_base_model() if hasattr(model, "get_base_model") else model
    states: list[torch.Tensor] = []

    def keep(module: Any, inputs: Any, output: Any) -> None:
        if output.last_hidden_state.requires_grad:  # a reference may be the same model
            output.last_hidden_state.retain_grad()
            states.append(output.last_hidden_state)

    model.train()
    model.zero_grad()
    hook = causal.base_model.register_forward_hook(keep)
    try:
        loss = trainer.compute_loss(model, trainer._prepare_inputs(dict(batch)))
        assert torch.isfinite(loss)
        loss.backward()
    finally:
        hook.remove()
    model.zero_grad()
    [state] = states
    assert torch.isfinite(state.grad).all()
    moved = state.grad.abs().amax(dim=-1) > 0
    assert not moved[:, -1].any(), "the last position predicts nothing"
    return torch.cat([torch.zeros_like(moved[:, :1]), moved[:, :-1]], dim=1)


def check_gradient(
    trainer: Any, batch: dict[str, torch.Tensor], expected: Sequence[Sequence[bool]]
) -> None:
    """Assert that exactly the expected tokens are trained; what is beyond a row must not be."""
    trained = trained_tokens(trainer, batch)
    size = trained.size(1)
    wanted = torch.tensor([[*row, *[False] * (size - len(row))] for row in expected])
    wrong = (trained != wanted).nonzero().tolist()
    assert not wrong, f"(row, token) wrongly trained, or wrongly not trained: {wrong}"
