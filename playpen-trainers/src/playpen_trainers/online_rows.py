"""Rows of token ids for policy gradients, each id with its advantage."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from playpen.conversation import Row


class OnlineRow(NamedTuple):
    """One row of a policy-gradient batch.

    `prompt` is what comes before the first sampled token; the other lists are as long as each
    other and cover the rest of the row.

    Attributes:
        prompt: ids, at least one.
        completion: ids.
        mask: 1 where the learner sampled the id.
        logprobs: log-probability of each id under the sampler, 0 where it did not sample it.
        advantages: of the reply that each id belongs to, 0 where the learner did not sample it.
    """

    prompt: list[int]
    completion: list[int]
    mask: list[int]
    logprobs: list[float]
    advantages: list[float]


def online_rows(rows: Iterable[Row], advantages: Sequence[float], limit: int) -> list[OnlineRow]:
    """The rows of a part, each reply with its advantage.

    Args:
        rows: of one role's trajectory.
        advantages: of each reply of the role, side questions included.
        limit: longest row in tokens; what comes after is cut off.  Rows without anything sampled
            within it are left out.
    """
    cut: list[OnlineRow] = []
    for row in rows:
        spans = [(turn, start, min(end, limit)) for turn, start, end in row.spans if start < limit]
        spans = [span for span in spans if span[2] > span[1]]
        if not spans:
            continue
        begin, end = spans[0][1], spans[-1][2]  # nothing is trained after the last reply
        values = [0.0] * (end - begin)
        for turn, first, last in spans:
            values[first - begin : last - begin] = [advantages[turn]] * (last - first)
        cut.append(
            OnlineRow(
                row.ids[:begin], row.ids[begin:end], row.mask[begin:end], row.logprobs[begin:end],
                values,
            )
        )  # fmt: skip
    return cut
