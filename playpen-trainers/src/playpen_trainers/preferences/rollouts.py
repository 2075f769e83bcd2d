"""Playing and forking episodes with the learner, to find out which replies are better."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from playpen.player import Player, PlayerError
from playpen.rollout import Job, make_jobs
from playpen.training import TrainingRun
from playpen_trainers.learner import Learner
from playpen_trainers.seats import Seating


class PreferenceRollouts:
    """Plays and forks episodes with the learner as it is, and counts what it costs.

    Attributes:
        sampled: tokens that were sampled so far, by all players whose tokens are known.
        played: episodes that were played so far, forks included.
    """

    def __init__(self, seating: Seating, learner: Player) -> None:
        self._seating = seating
        self._learner = learner
        self.sampled = 0
        self.played = 0

    @classmethod
    def of(cls, learner: Learner, seating: Seating, device: str) -> PreferenceRollouts:
        """Roll-outs of the model on a device, sampled as ``[rollout]`` says."""
        learner.model.eval()
        if str(learner.model.device) != device:
            learner.model.to(device)
        return cls(seating, seating.learner_player(learner.model, learner.tokenizer))

    def learned(self, job: Job) -> list[str]:
        """The roles of a job that the learner holds."""
        return self._seating.learned(job.game)

    def play(self, run: TrainingRun, samples: int) -> list[Job]:
        """Play `samples` episodes on each training instance, or on as many as are wanted.

        Raises:
            PlayerError: all episodes failed; gives the first cause.
        """
        wanted, seed = run.config.rollout.episodes, run.config.rollout.seed
        jobs: list[Job] = []
        for name, instances in run.instances().items():
            if wanted is not None:
                count = max(1, wanted // samples)
                instances = instances[:: max(1, len(instances) // count)][:count]
            game = self._seating.games[name]
            players, names = self._seating.players(game, self._learner)
            jobs += make_jobs(
                game, instances, players, names, episodes=samples * len(instances), seed=seed
            )
        return self.finish(jobs)

    def finish(self, jobs: Sequence[Job]) -> list[Job]:
        """Play jobs and return those that came to an outcome.

        Raises:
            PlayerError: none did; gives the first cause.
        """
        self._seating.run(jobs)
        done = [job for job in jobs if job.episode.outcome is not None]
        self.played += len(jobs)
        for job in jobs:
            new = job.episode.replies()[job.start.turn if job.start else 0 :]
            self.sampled += sum(len(s.reply.tokens.sampled) for s in new if s.reply.tokens)
        if len(done) < len(jobs):
            lost = next(job.episode for job in jobs if job.episode.failure is not None)
            assert lost.failure is not None
            cause = f"{lost.name}: {lost.failure.message}"
            if not done:
                raise PlayerError(f"every episode failed; the first one is {cause}")
            warnings.warn(
                f"{len(jobs) - len(done)} of {len(jobs)} episodes failed and are left out; "
                f"the first one is {cause}",
                stacklevel=2,
            )
        return done
