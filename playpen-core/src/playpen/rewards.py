"""What a role's part in an episode is worth to a learner: rewards, and how they are combined.

A reward is a plug-in (`RewardSpec`): a subclass of `RewardFunction` that gives every reply of a
role a number.  The table ``[reward]`` of a training configuration names the terms and their
weights::

    [reward]
    discount = 0.95
    [reward.terms.outcome]
    aborted = -0.5
    [reward.terms.turn]
    weight = 0.2
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import msgspec

from playpen.bounds import FromZeroToOne, PositiveFloat, UpToBillion
from playpen.episode import Episode, Said
from playpen.moves import Reward, own_scores


class RewardOptions(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Options that every reward has.

    Attributes:
        weight: factor of the term in the sum.
    """

    weight: UpToBillion = 1.0


class RewardFunction:
    """Base class of rewards: how good was each reply of a role?"""

    Options: ClassVar[type[RewardOptions]] = RewardOptions

    def __init__(self, options: Any = None) -> None:
        self.options = self.Options() if options is None else options

    def of(self, episode: Episode, role: str) -> list[float]:
        """The reward of each reply of the role, in order, side questions included.

        Called only for episodes that have an outcome, and for roles that were asked something.
        What is earned at the end belongs to the last reply.
        """
        raise NotImplementedError


class OutcomeOptions(RewardOptions, kw_only=True):
    """Options of ``outcome``.

    Attributes:
        success: of an episode that reached its goal.
        lose: of one that was played to its end and lost.
        aborted: of one that a broken rule ended.
    """

    success: UpToBillion = 1.0
    lose: UpToBillion = 0.0
    aborted: UpToBillion = 0.0


class OutcomeReward(RewardFunction):
    """``outcome``: how the episode ended."""

    Options = OutcomeOptions
    options: OutcomeOptions

    def of(self, episode: Episode, role: str) -> list[float]:
        """The value of the outcome, at the last reply."""
        options = self.options
        ended = options.lose
        if episode.success:
            ended = options.success
        elif episode.aborted:
            ended = options.aborted
        return at_the_end(ended, episode, role)


class ScoreOptions(RewardOptions, kw_only=True):
    """Options of ``score``.

    Attributes:
        scale: what the main score is divided by.
        aborted: of an episode without a main score.
    """

    scale: PositiveFloat = 100.0
    aborted: UpToBillion = 0.0


class ScoreReward(RewardFunction):
    """``score``: the main score, or the role's own where the game gives one to each role."""

    Options = ScoreOptions
    options: ScoreOptions

    def of(self, episode: Episode, role: str) -> list[float]:
        """The score, at the last reply."""
        score = episode.main_score
        own = own_scores(episode.outcome)
        score = own.get(role, score)
        value = self.options.aborted if score is None else score / self.options.scale
        return at_the_end(value, episode, role)


class TurnReward(RewardFunction):
    """``turn``: the `Reward` moves of the game, each at the reply that it is for."""

    def of(self, episode: Episode, role: str) -> list[float]:
        """What the game credited to each reply."""
        values: list[float] = []
        for event in episode.events:
            if isinstance(event, Said) and event.role == role:
                values.append(0.0)
            elif isinstance(event, Reward) and event.role == role and values:
                values[-1] += event.value
        return values


def at_the_end(value: float, episode: Episode, role: str) -> list[float]:
    """A reward that belongs to the role's last reply."""
    replies = len(episode.replies(role))
    return [0.0] * (replies - 1) + [value] if replies else []


class RewardTable(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """``[reward]``: what is learned from.

    Attributes:
        terms: rewards by name, each with its `weight` and options; `outcome` alone if left out.
        discount: factor per reply for what comes later.
        partner_fault: what becomes of a role's part where another role broke the game:
            ``drop`` leaves it out, ``neutral`` gives it no advantage, ``share`` rewards it as
            any other.
    """

    terms: dict[str, dict[str, Any]] = msgspec.field(default_factory=lambda: {"outcome": {}})
    discount: FromZeroToOne = 1.0
    partner_fault: Literal["drop", "neutral", "share"] = "drop"


class Rewards:
    """The weighted sum of some rewards."""

    def __init__(self, terms: Sequence[RewardFunction], discount: float = 1.0) -> None:
        self._terms = terms
        self._discount = discount

    def of(self, episode: Episode, role: str) -> list[float]:
        """The reward of each reply of a role.

        Raises:
            ValueError: a reward gave another number of values than the role has replies.
        """
        total = [0.0] * len(episode.replies(role))
        if not total or episode.outcome is None:
            return []
        for term in self._terms:
            values = term.of(episode, role)
            if len(values) != len(total):
                raise ValueError(
                    f"{type(term).__name__} gave {len(values)} rewards for {len(total)} replies of "
                    f"{role} in {episode.name}"
                )
            weight = term.options.weight
            total = [old + weight * new for old, new in zip(total, values, strict=True)]
        return total

    def returns(self, episode: Episode, role: str) -> list[float]:
        """The discounted sum of rewards from each reply on; the first one is the whole part's."""
        return returns(self.of(episode, role), self._discount)


def returns(rewards: Sequence[float], discount: float) -> list[float]:
    """Discounted sums of rewards from each reply to the end."""
    sums: list[float] = []
    later = 0.0
    for reward in reversed(rewards):
        later = reward + discount * later
        sums.append(later)
    return sums[::-1]


def partner_broke_it(episode: Episode, role: str) -> bool:
    """Whether another role than this one is at fault for how the episode ended."""
    at_fault = getattr(episode.outcome, "fault", None)
    return at_fault is not None and at_fault != role
