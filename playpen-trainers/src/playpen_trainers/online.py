"""Roll-outs for online training: groups of episodes, played by the learner as it is now.

A group is played on the identical instance with the identical chance moves; each of its episodes
samples with a seed of its own.  Every role that the learner held is a *part*; an episode is played
once, and all its parts train together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from playpen.conversation import Row, derive_seed
from playpen.episode import Episode
from playpen.player import Player, PlayerError
from playpen.rewards import Rewards, partner_broke_it
from playpen.rollout import Job, make_jobs
from playpen_trainers.curriculum import Curriculum, Situation
from playpen_trainers.partners import Partners
from playpen_trainers.seats import Seating

Use: TypeAlias = Literal["train", "neutral", "drop"]
"""Whether a part is trained on, has no advantage, or is left out."""

_ATTEMPTS = 3
"""How often an episode is tried that fails for reasons outside of the game."""


@dataclass(eq=False, slots=True)
class RoleSample:
    """One role of one episode, held by the learner.

    Attributes:
        episode: the record.
        role: which role it is.
        group: number of the group.
        rows: its tokens.
        rewards: reward of each of its replies.
        returns: discounted sum of rewards from each reply on.
        use: what becomes of it.
        values: with forked credit, the expected return before each reply, and 0 at the end.
    """

    episode: Episode
    role: str
    group: int
    rows: list[Row]
    rewards: list[float]
    returns: list[float]
    use: Use
    values: list[float] | None = None


class Batch(NamedTuple):
    """What was played for one generation batch: the finished jobs, and the learner's parts."""

    jobs: list[Job]
    parts: list[RoleSample]

    @property
    def episodes(self) -> list[Episode]:
        """The episodes, group by group."""
        return [job.episode for job in self.jobs]

    def digest(self) -> str:
        """A short hash of everything that the learner sampled."""
        digest = hashlib.blake2b(digest_size=8)
        for part in self.parts:
            for row in part.rows:
                digest.update(repr((part.role, row.ids, row.mask)).encode())
        return digest.hexdigest()


class OnlineRollouts:
    """Plays groups of episodes and grades the learner's parts.

    Args:
        seating: who holds which role.
        curriculum: what is played.
        partners: whom the learner meets beside itself and its teacher.
        rewards: what is earned.
        seed: of chance moves and sampling.
        fault: what becomes of a part whose partner broke the game.
    """

    def __init__(
        self,
        seating: Seating,
        curriculum: Curriculum,
        partners: Partners,
        rewards: Rewards,
        *,
        seed: int,
        fault: Literal["drop", "neutral", "share"],
    ) -> None:
        self._seating = seating
        self._curriculum = curriculum
        self._partners = partners
        self._rewards = rewards
        self._seed = seed
        self._fault: Literal["drop", "neutral", "share"] = fault

    def play(self, learner: Player, groups: int, size: int) -> Batch:
        """Play so many groups of so many episodes each.

        Raises:
            PlayerError: an episode failed again and again; says why.
        """
        jobs: list[Job] = []
        met: list[dict[str, str]] = []
        situations = self._curriculum.take(groups)
        for situation in situations:
            given = self._partners.choose(situation, self._seating.learned(situation.game))
            met.append({role: name for role, (name, _) in given.items()})
            jobs += self._group(situation, learner, given, size)
        self._run(jobs)
        parts: list[RoleSample] = []
        for number, situation in enumerate(situations):
            episodes = [job.episode for job in jobs[number * size : (number + 1) * size]]
            mine = [
                role for role in self._seating.learned(situation.game) if role not in met[number]
            ]
            graded = [
                part
                for episode in episodes
                for role in mine
                if (part := self._grade(episode, role, situation.number)) is not None
            ]
            self._curriculum.learn(situation, sum(e.success for e in episodes) / size)
            for name in met[number].values():
                self._partners.learn(name, [part.returns[0] for part in graded])
            parts += graded
        return Batch(jobs, parts)

    def estimate_values(self, batch: Batch, forks: int) -> None:
        """Estimate what was to be expected before each reply, by playing on from there.

        From every reply of every part on, the episode is continued `forks` times by the same
        players; the value is the mean return of the role from that reply on.
        """
        played = {id(job.episode): job for job in batch.jobs}
        jobs: list[Job] = []
        places: list[tuple[RoleSample, int]] = []
        for part in batch.parts:
            said = part.episode.replies()
            turns = [number for number, reply in enumerate(said) if reply.role == part.role]
            for own, turn in enumerate(turns):
                for fork in range(forks):
                    seed = derive_seed(part.episode.sampling_seed, "fork", turn, fork)
                    jobs.append(played[id(part.episode)].forked(turn, seed))
                    places.append((part, own))
        self._run(jobs)
        continued: dict[tuple[int, int], list[float]] = {}
        for (part, own), job in zip(places, jobs, strict=True):
            later = self._rewards.returns(job.episode, part.role)
            continued.setdefault((id(part), own), []).append(later[own])
        for part in batch.parts:
            estimates = [continued[id(part), own] for own in range(len(part.rewards))]
            part.values = [*(sum(values) / len(values) for values in estimates), 0.0]

    def _group(
        self,
        situation: Situation,
        learner: Player,
        given: Mapping[str, tuple[str, Player]],
        size: int,
    ) -> list[Job]:
        by_role, names = self._seating.players(situation.game, learner, given)
        return list(
            make_jobs(
                situation.game,
                [situation.instance],
                by_role,
                names,
                episodes=size,
                seed=derive_seed(self._seed, "group", situation.number),
            )
        )

    def _run(self, jobs: list[Job]) -> None:
        """Play, and play again what failed for reasons outside of the game.

        In the list, the job of an episode that failed is replaced by the one of its last attempt.
        """
        self._seating.run(jobs)
        for _ in range(_ATTEMPTS - 1):
            failed = [place for place, job in enumerate(jobs) if job.episode.failure is not None]
            if not failed:
                return
            for place in failed:
                jobs[place] = jobs[place].retried()
            self._seating.run([jobs[place] for place in failed])
        for job in jobs:
            if job.episode.failure is not None:
                raise PlayerError(
                    f"{job.episode.name} failed {_ATTEMPTS} times: {job.episode.failure.message}"
                )

    def _grade(self, episode: Episode, role: str, group: int) -> RoleSample | None:
        """The part of a role; `None` if the role was never asked, or its player saw no tokens."""
        rewards = self._rewards.of(episode, role)
        trajectory = episode.trajectory(role)
        if not rewards or trajectory is None:
            return None
        use: Use = "train"
        if self._fault != "share" and partner_broke_it(episode, role):
            use = self._fault
        returns = self._rewards.returns(episode, role)
        return RoleSample(episode, role, group, trajectory.rows, rewards, returns, use)
