"""Batches as TRL's preference trainers read them, but with masks of ours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch


class MaskedCollator:
    """Pads rows of ids, each with its own mask.

    Args:
        pad: id that fills up shorter rows.
        limit: longest row in tokens; what comes after is cut off.
    """

    def __init__(self, pad: int, limit: int) -> None:
        self._pad = pad
        self._limit = limit

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """The batch of some rows."""
        raise NotImplementedError

    def padded(self, rows: Sequence[dict[str, Any]], *sides: str) -> dict[str, torch.Tensor]:
        """The ids and masks of one or more sides, each behind the prompt of its row.

        Args:
            rows: with the columns ``prompt``, ``SIDE`` and ``SIDE_mask``.
            sides: first all rows of the first one, then all of the next one.

        Returns:
            ``input_ids``, ``attention_mask`` and ``completion_mask``, each of the shape (sides *
            rows, longest row); the last one is 1 where a token is trained.
        """
        ids = [row["prompt"] + row[side] for side in sides for row in rows]
        masks = [[0] * len(row["prompt"]) + row[f"{side}_mask"] for side in sides for row in rows]
        size = max(min(len(row), self._limit) for row in ids)

        def filled(values: Sequence[int], fill: int) -> list[int]:
            within = list(values[: self._limit])
            return within + [fill] * (size - len(within))

        return {
            "input_ids": torch.tensor([filled(row, self._pad) for row in ids]),
            "attention_mask": torch.tensor([filled([1] * len(row), 0) for row in ids]),
            "completion_mask": torch.tensor([filled(mask, 0) for mask in masks]),
        }


class PairCollator(MaskedCollator):
    """Makes the batch of `DPOTrainer`: all chosen sides, then all rejected ones."""

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """The batch of some rows."""
        batch = self.padded(rows, "chosen", "rejected")
        return batch | _reference(rows, "ref_chosen_logps", "ref_rejected_logps")


class UnpairedCollator(MaskedCollator):
    """Makes the batch of `KTOTrainer`: rows, and the mismatched ones."""

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """The batch of some rows."""
        batch = self.padded(rows, "completion")
        batch |= {f"KL_{name}": value for name, value in self.padded(rows, "mismatched").items()}
        batch["label"] = torch.tensor([row["label"] for row in rows])
        return batch | _reference(rows, "ref_logps", "ref_KL_logps")


def _reference(rows: Sequence[dict[str, Any]], *names: str) -> dict[str, torch.Tensor]:
    """The columns that TRL adds when it computes the reference in advance."""
    return {name: torch.tensor([row[name] for row in rows]) for name in names if name in rows[0]}
