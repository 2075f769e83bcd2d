"""Log-probabilities from before the cuts of top_k and top_p.

vLLM tells the scores of sampled ids either from before the temperature or from after the cuts.
In between, right after the temperature, the processor of this module turns scores into
log-probabilities.  No sampling is changed by that, and a cut does not change the scores that it
leaves: so what vLLM then tells as an id's score is its log-probability before the cuts.

vLLM imports this module in the engine's process.
"""

from __future__ import annotations

from typing import Any

import torch
from vllm.v1.sample.logits_processor import LogitsProcessor


class LogitsAsLogprobs(LogitsProcessor):  # type: ignore[misc]  # vLLM is not always installed
    """Normalises the scores of every row."""

    def __init__(self, vllm_config: Any, device: torch.device, is_pin_memory: bool) -> None:
        pass

    def is_argmax_invariant(self) -> bool:
        """Whether the most probable token stays the same: so vLLM applies it after temperature."""
        return True

    def update_state(self, batch_update: Any) -> None:
        """There is no state."""

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        """Log-probabilities of a batch's scores (rows x vocabulary)."""
        return logits.sub_(logits.logsumexp(dim=-1, keepdim=True))
