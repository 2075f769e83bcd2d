"""``rloo``: ``grpo`` with leave-one-out advantages, neither clipped hard nor scaled.

TRL 1.16's own RLOO trainer takes no roll-out function, so this one is built on ours for GRPO.
"""

from __future__ import annotations

from typing import Literal

from playpen_trainers.advantages import Baseline, Scale
from playpen_trainers.grpo import GRPO, GRPOOptions


class RLOOOptions(GRPOOptions, kw_only=True):
    """Options of ``rloo``: those of ``grpo`` with other defaults.

    Attributes:
        baseline: the mean return of the other episodes of the group.
        scale_rewards: advantages are not scaled.
        importance_sampling_level: a reply's tokens are one action.
    """

    baseline: Baseline = "leave-one-out"
    scale_rewards: Scale = "none"
    importance_sampling_level: Literal["token", "sequence"] = "sequence"


class RLOO(GRPO):
    """REINFORCE with a leave-one-out baseline."""

    Options = RLOOOptions
