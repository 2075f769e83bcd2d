"""What this pack brings.  Loaded by every `playpen` command, so it does not import torch."""

from __future__ import annotations

from playpen import TrainerSpec, hookimpl


@hookimpl
def playpen_trainers() -> list[TrainerSpec]:
    """One spec for each trainer; the class behind `path` is imported when it trains."""
    return [
        TrainerSpec(
            name="plainloop",
            path="playpen_plainloop.trainer:PlainLoop",
            summary="supervised learning from episodes in a plain PyTorch loop",
        )
    ]
