"""Batches as TRL's preference trainers read them, but with masks of ours."""

from __future__ import annotations

from collections.abc import Sequence

import torch


def padded(
    rows: Sequence[tuple[Sequence[int], Sequence[int]]], pad: int, limit: int
) -> dict[str, torch.Tensor]:
    """A batch as TRL's preference trainers read it, but with a mask of ours.

    Args:
        rows: ids, and as many mask values.
        pad: id that fills up shorter rows.
        limit: longest row in tokens; what comes after is cut off.

    Returns:
        ``input_ids``, ``attention_mask`` and ``completion_mask``, each of the shape (rows,
        longest row); the last one is 1 where a token is trained.
    """
    size = max(min(len(ids), limit) for ids, _ in rows)

    def filled(values: Sequence[int], fill: int) -> list[int]:
        kept = list(values[:limit])
        return kept + [fill] * (size - len(kept))

    return {
        "input_ids": torch.tensor([filled(ids, pad) for ids, _ in rows]),
        "attention_mask": torch.tensor([filled([1] * len(ids), 0) for ids, _ in rows]),
        "completion_mask": torch.tensor([filled(mask, 0) for _, mask in rows]),
    }
