"""The rows that preferences are learned from, each side with a mask of its own."""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator
from typing import NamedTuple, TypeVar

import msgspec

from playpen.conversation import Row, derive_seed
from playpen.episode import Episode
from playpen.training import ConfigError


class TokenPair(msgspec.Struct, frozen=True, kw_only=True):
    """Two ways of going on from the same tokens, one better than the other.

    The prompt is what the token rows have in common, whoever speaks where they part, but a reply
    that differs belongs to the sides as a whole.  (`playpen.export` pairs messages, and only
    conversations that part at a reply of the role.)  What follows holds other roles' words, too,
    so each side has a mask of its own.

    Attributes:
        prompt: ids that both sides share; nothing of it is trained.
        chosen, rejected: ids of the better and the worse side.
        chosen_mask, rejected_mask: 1 where the role itself speaks (its end of turn included).
        game, instance, role: where the row comes from; the instance as its content hash.
        better, worse: names of the two episodes.
        turn: number of the reply, over all roles, that the sides differ in; `None` if they are
            whole dialogues.
        difference: how much more the better side is worth.
        error: standard error of the difference, where it was estimated.
    """

    prompt: list[int]
    chosen: list[int]
    chosen_mask: list[int]
    rejected: list[int]
    rejected_mask: list[int]
    game: str
    instance: str
    role: str
    better: str
    worse: str
    turn: int | None
    difference: float
    error: float | None

    def trained_tokens(self, limit: int) -> tuple[int, int]:
        """How many tokens of each side are trained, if a row has at most `limit` tokens."""
        room = max(0, limit - len(self.prompt))
        return sum(self.chosen_mask[:room]), sum(self.rejected_mask[:room])


class UnpairedRow(msgspec.Struct, frozen=True, kw_only=True):
    """One conversation that is wanted or not.

    Attributes:
        prompt: ids before the role's first reply.
        completion: ids from there to the end of its last one.
        mask: of the completion; 1 where the role itself speaks (its end of turn included).
        desirable: whether more of it is wanted, or less.
        game, instance, role, episode: where the row comes from.
        value: return of the role in the episode.
    """

    prompt: list[int]
    completion: list[int]
    mask: list[int]
    desirable: bool
    game: str
    instance: str
    role: str
    episode: str
    value: float

    def trained_tokens(self, limit: int) -> tuple[int]:
        """How many tokens are trained, if a row has at most `limit` tokens."""
        return (sum(self.mask[: max(0, limit - len(self.prompt))]),)


RowT = TypeVar("RowT", TokenPair, UnpairedRow)


class Sides(NamedTuple):
    """What `TokenPair` holds of two rows."""

    prompt: list[int]
    chosen: list[int]
    chosen_mask: list[int]
    rejected: list[int]
    rejected_mask: list[int]


def token_sides(better: Row, worse: Row) -> Sides | None:
    """The common prompt of two rows, and how each goes on to its last reply.

    Replies that both begin with are part of the prompt: they tell nothing.  A reply that differs
    is never cut in two.

    Returns:
        `None` if one of them says nothing of its own.
    """
    common = 0
    for ours, theirs in zip(better.ids, worse.ids, strict=False):
        if ours != theirs:
            break
        common += 1
    replies = [{(start, end) for _, start, end in row.spans} for row in (better, worse)]
    same = {(start, end) for start, end in replies[0] & replies[1] if end <= common}
    begin = min(
        [start for start, _ in (replies[0] | replies[1]) - same if start < common] + [common]
    )
    parts: list[list[int]] = [better.ids[:begin]]
    for row in (better, worse):
        last = max((end for _, _, end in row.spans), default=0)
        if not any(row.mask[begin:last]):
            return None
        parts += [row.ids[begin:last], row.mask[begin:last]]
    return Sides(*parts)


def token_pair(
    rows: tuple[Row, Row],
    episodes: tuple[Episode, Episode],
    role: str,
    *,
    names: tuple[str, str],
    difference: float,
    turn: int | None = None,
    error: float | None = None,
) -> Iterator[TokenPair]:
    """The pair that two token rows make; none if one of them says nothing of its own.

    Args:
        rows: of the better and of the worse episode.
        episodes: these two.
        role: whose rows they are.
        names: of the two sides.
        difference: how much more the better side is worth.
        turn: number of the reply that the sides differ in; `None` if they are whole dialogues.
        error: standard error of the difference, where it was estimated.
    """
    both = token_sides(*rows)
    if both is not None:
        yield TokenPair(
            **both._asdict(),
            game=episodes[0].game,
            instance=episodes[0].instance,
            role=role,
            better=names[0],
            worse=names[1],
            turn=turn,
            difference=difference,
            error=error,
        )


def at_most(rows: list[RowT], count: int | None, seed: int) -> list[RowT]:
    """A random choice of so many rows, in their order."""
    if count is None or len(rows) <= count:
        return rows
    chosen = random.Random(derive_seed(seed, "rows")).sample(range(len(rows)), count)
    return [rows[number] for number in sorted(chosen)]


def fitting(rows: list[RowT], limit: int) -> list[RowT]:
    """The rows each side of which has something to train within `limit` tokens.

    Raises:
        ConfigError: there are none.
    """
    within = [row for row in rows if all(row.trained_tokens(limit))]
    if not within:
        raise ConfigError(
            f"none of the {len(rows)} rows has anything to train within {limit} tokens; "
            "raise trainer.max_length"
        )
    if len(within) < len(rows):
        warnings.warn(
            f"{len(rows) - len(within)} of {len(rows)} rows have nothing to train within {limit} "
            "tokens and are left out",
            stacklevel=2,
        )
    return within
