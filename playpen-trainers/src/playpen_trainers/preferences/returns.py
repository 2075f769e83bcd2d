"""What each role's part in an episode returned, and which of them can be compared."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from playpen.episode import Episode
from playpen.rewards import Rewards, partner_broke_it


class RoleReturn(NamedTuple):
    """What a role's part in an episode returned."""

    episode: Episode
    role: str
    value: float


def role_returns(
    episodes: Iterable[tuple[Episode, Sequence[str]]], rewards: Rewards, *, share_fault: bool
) -> list[RoleReturn]:
    """The returns that say something about their role: of roles that were asked.

    Args:
        episodes: each with the roles to learn.
        rewards: what a part is worth.
        share_fault: count a part although another role broke the game.
    """
    return [
        RoleReturn(episode, role, returns[0])
        for episode, roles in episodes
        for role in roles
        if share_fault or not partner_broke_it(episode, role)
        if (returns := rewards.returns(episode, role))
    ]


def comparable_groups(returns: Iterable[RoleReturn]) -> list[list[RoleReturn]]:
    """The returns by what was faced: game and rules, instance, chance moves, role."""
    by_instance: dict[tuple[str, ...], list[RoleReturn]] = {}
    for one in returns:
        episode = one.episode
        key = (episode.game, episode.rules, episode.instance, one.role)
        by_instance.setdefault(key, []).append(one)
    groups: list[list[RoleReturn]] = []
    for alike in by_instance.values():
        # Chance moves depend on the seed of the run; without any, all runs are alike.
        chance = any(one.episode.draws() for one in alike)
        by_seed: dict[int, list[RoleReturn]] = {}
        for one in alike:
            by_seed.setdefault(one.episode.seed if chance else 0, []).append(one)
        groups += by_seed.values()
    return groups
