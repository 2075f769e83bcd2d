"""What an engine is asked for: a reply to generate, and what was generated so far."""

from __future__ import annotations

import random
from collections.abc import Sequence
from concurrent.futures import Future, InvalidStateError

import msgspec


class Request(msgspec.Struct, eq=False):
    """A reply to generate, and what was generated so far.

    Attributes:
        ids: what the model reads first.
        limit: most tokens to sample.
        stops: ids after which the reply is complete.
        temperature, top_p, top_k: as in `HuggingFaceOptions`.
        batch_size: most rows of a batch that it takes part in.
        rng: gives one number in [0, 1) for each token.
        kept_tokens: 0 reads all ids anew and keeps nothing; else most tokens whose keys and
            values are kept.
        sampled: ids sampled, a stop included.
        logprobs: log-probability of each sampled id: after temperature (1 where the temperature
            is 0), before the cuts of `top_k` and `top_p`.
        done: resolved when the reply is complete.
    """

    ids: Sequence[int]
    limit: int
    stops: frozenset[int]
    temperature: float
    top_p: float
    top_k: int
    batch_size: int
    rng: random.Random
    kept_tokens: int = 0
    sampled: list[int] = msgspec.field(default_factory=list)
    logprobs: list[float] = msgspec.field(default_factory=list)
    done: Future[None] = msgspec.field(default_factory=Future)

    @property
    def length(self) -> int:
        """How many ids are in the cache: all but the last one sampled."""
        return len(self.ids) + len(self.sampled) - 1

    @property
    def complete(self) -> bool:
        """Whether nothing more is to be sampled."""
        return len(self.sampled) >= self.limit or (
            bool(self.sampled) and self.sampled[-1] in self.stops
        )

    @property
    def finished(self) -> bool:
        """Whether the reply is complete, or nobody waits for it any longer."""
        return self.complete or self.done.cancelled()

    def resolve(self, error: Exception | None = None) -> None:
        """Resolve `done`, unless it was cancelled meanwhile."""
        try:
            if error is None:
                self.done.set_result(None)
            else:
                self.done.set_exception(error)
        except InvalidStateError:
            pass
