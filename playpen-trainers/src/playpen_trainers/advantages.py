"""Advantages: how much better than expected each reply of a learner was.

The unit is a *part*: one role's replies in one episode.  Parts of the same role in the same group
(the identical instance with the identical chance moves) are compared with each other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

Credit: TypeAlias = Literal["sequence", "turn", "forked"]
Baseline: TypeAlias = Literal["group", "leave-one-out", "running"]
Scale: TypeAlias = Literal["group", "batch", "none"]

_TINY = 1e-4
_PACE = 0.05
"""How fast a running baseline follows the returns."""


class GradedSample(NamedTuple):
    """What is known of a part when advantages are computed.

    Attributes:
        group: number of the group; its episodes were played in the identical situation.
        game, role: condition the running baselines.
        returns: discounted sum of rewards from each reply on; the first is the whole part's.
        values: with ``forked`` credit, the expected return before each reply, and 0 at the end.
        rewards: reward of each reply.
    """

    group: int
    game: str
    role: str
    returns: Sequence[float]
    rewards: Sequence[float] = ()
    values: Sequence[float] | None = None


class RunningBaselines:
    """A mean return for each game and role, for groups that are too few or too alike.

    Needed where roles are asymmetric: what is good for one of them says nothing of another.
    """

    name = "baselines"

    def __init__(self) -> None:
        self._means: dict[str, float] = {}

    def state(self) -> dict[str, float]:
        """The means."""
        return dict(self._means)

    def restore(self, state: dict[str, Any]) -> None:
        """Take up what was kept."""
        self._means = dict(state)

    def of(self, part: GradedSample) -> float:
        """The mean so far; the part's own return if there is none yet."""
        return self._means.get(_key(part), part.returns[0])

    def learn(self, parts: Sequence[GradedSample]) -> None:
        """Follow the returns of a batch."""
        batches: dict[str, list[float]] = {}
        for part in parts:
            batches.setdefault(_key(part), []).append(part.returns[0])
        for key, returns in batches.items():
            mean = math.fsum(returns) / len(returns)
            known = self._means.get(key, mean)
            # As if each part had been followed in turn.
            self._means[key] = mean + (known - mean) * (1 - _PACE) ** len(returns)


def _key(part: GradedSample) -> str:
    return f"{part.game}/{part.role}"


def advantages(
    parts: Sequence[GradedSample],
    *,
    credit: Credit,
    baseline: Baseline,
    scale: Scale,
    running: RunningBaselines,
    discount: float = 1.0,
) -> list[list[float]]:
    """The advantage of each reply of each part.

    Args:
        parts: those that are learned from; each has at least one reply.
        credit: ``sequence`` gives every reply of a part the same; ``turn`` compares what came
            after each reply with what came after the same reply of other parts; ``forked``
            compares with the values that were estimated by playing on from there.
        baseline: ``group``, the mean of the group; ``leave-one-out``, the mean of the others in
            it; ``running``, the mean of the game and role so far.  ``forked`` needs none.
        scale: what advantages are divided by: their standard deviation within the group (around
            the baseline), within the batch, or nothing.
        running: the running baselines; they are not changed.
        discount: factor per reply for what comes later.
    """
    groups: dict[tuple[int, str], list[GradedSample]] = {}
    for part in parts:
        groups.setdefault((part.group, part.role), []).append(part)
    raw: list[list[float]] = []
    for part in parts:
        if credit == "forked":
            raw.append(_forked(part, discount))
            continue
        members = groups[part.group, part.role]
        if baseline == "leave-one-out":
            members = [other for other in members if other is not part]
        expected = [
            running.of(part) if baseline == "running" else _expected(part, members, turn, credit)
            for turn in range(len(part.returns))
        ]
        got = part.returns if credit == "turn" else [part.returns[0]] * len(part.returns)
        raw.append([x - y for x, y in zip(got, expected, strict=True)])
    if scale == "none":
        return raw
    units: dict[object, list[list[float]]] = {}
    keys = [(part.group, part.role) if scale == "group" else None for part in parts]
    for key, values in zip(keys, raw, strict=True):
        units.setdefault(key, []).append(values)
    deviations = {key: _deviation(unit) for key, unit in units.items()}
    return [
        [value / (deviations[key] + _TINY) for value in values]
        for key, values in zip(keys, raw, strict=True)
    ]


def _expected(
    part: GradedSample, members: Sequence[GradedSample], turn: int, credit: Credit
) -> float:
    """The mean return of the parts that a reply is compared with."""
    if credit == "turn":
        there = [other for other in members if len(other.returns) > turn]
        if len([other for other in there if other is not part]) > 0:
            return _mean([other.returns[turn] for other in there])
        # Nobody else came so far: compare with how it ended for them.
        last = [other.returns[min(turn, len(other.returns) - 1)] for other in members]
        return _mean(last) if last else part.returns[turn]
    return _mean([other.returns[0] for other in members]) if members else part.returns[0]


def _forked(part: GradedSample, discount: float) -> list[float]:
    """What each reply changed in the expected return: its reward, and the value after it."""
    values = part.values
    assert values is not None
    return [
        reward + discount * values[turn + 1] - values[turn]
        for turn, reward in enumerate(part.rewards)
    ]


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def _deviation(unit: Sequence[Sequence[float]]) -> float:
    """Standard deviation of advantages, which have mean 0 by design; each part counts once."""
    squares = math.fsum(_mean([value * value for value in values]) for values in unit)
    return math.sqrt(squares / max(1, len(unit) - 1))
