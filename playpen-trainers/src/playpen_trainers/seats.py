"""Who sits where when a training plays: the learner, its teacher, and players in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import torch

from playpen.episode import Episode
from playpen.game import Game
from playpen.instance import Instance
from playpen.player import Player, parse_options
from playpen.players.hf import HuggingFaceOptions, HuggingFacePlayer, load_checkpoint
from playpen.plugins import make_player, resolve_spec
from playpen.rollout import Job, make_jobs, rollout
from playpen.training import ConfigError, TrainingRun
from playpen_trainers.learner import Learner, check_learner, load_learner
from playpen_trainers.optimisation import OptimiserOptions
from playpen_trainers.vllm_rollouts import VllmLearner

LEARNER = "learner"
"""The name of the learner in the records of episodes."""

ResultT = TypeVar("ResultT")


def player_of(model: Any, learner: Learner, options: HuggingFaceOptions) -> Player:
    """The learner as a player, with its weights as they are at each step.

    With a follower, as they are now: ask again after each step.

    Raises:
        PlayerError: the follower cannot play; says why.
    """
    if learner.follower is not None:
        return learner.follower.player(model, learner, options)
    return HuggingFacePlayer.over(model, learner.tokenizer, options)


def partner(spec: str) -> Player:
    """A player that the learner meets while it trains.

    A model in this process generates in the same thread as the learner, so that what is played
    can be repeated exactly.

    Raises:
        PluginError, SpecError, PlayerError: the player cannot be made.
    """
    parsed = resolve_spec(spec)
    if parsed.scheme != "hf":
        return make_player(spec)
    options = parse_options(parsed, HuggingFaceOptions)
    # Loading draws the weights of an adapter before it reads them.  A training that is resumed
    # loads its partners anew, and must not draw other numbers for that.
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        model, tokenizer = load_checkpoint(parsed.target, options)
    return HuggingFacePlayer.over(model, tokenizer, options)


def learned_roles(game: Game, wanted: Collection[str] | None) -> list[str]:
    """The roles of a game that a learner holds who wants these; all of them for `None`."""
    return [role for role in game.role_names() if wanted is None or role in wanted]


class PlayLoop:
    """One event loop for all that a training plays, so that connections outlive a roll-out.

    In a notebook, whose thread has a loop running, it lives in a thread of its own.
    """

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            self._thread = None
        else:
            self._thread = ThreadPoolExecutor(1)

    def run(self, work: Coroutine[Any, Any, ResultT]) -> ResultT:
        """Run to the end and return the result."""
        if self._thread is None:
            return self._runner.run(work)
        return self._thread.submit(self._runner.run, work).result()

    def close(self) -> None:
        """Close the loop."""
        if self._thread is None:
            self._runner.close()
        else:
            self._thread.submit(self._runner.close).result()
            self._thread.shutdown()


class Seating:
    """Which roles of each game the learner holds, and who holds the others.

    Attributes:
        games: the games by name.
    """

    def __init__(self, run: TrainingRun) -> None:
        self.games: dict[str, Game] = run.games()
        self._wanted = run.config.learner.roles
        self._spec = run.config.teacher.player
        self._guests: dict[str, Player] = {}
        self._concurrency = run.config.rollout.concurrency
        self._seed = run.config.rollout.seed
        self._run = run
        self._follower: VllmLearner | None = None
        self.loop = PlayLoop()

    def follow(self, learner: Learner, rank: int) -> Learner:
        """The learner as ``[rollout] engine`` has it played, until this is closed.

        Args:
            learner: as it was loaded.
            rank: of the adapter that it gets; 0 if it gets none.
        """
        if self._run.config.rollout.engine == "hf":
            return learner
        if self._follower is None:
            self._follower = VllmLearner(self._run, rank, self.loop)
        return learner._replace(follower=self._follower)

    def learned(self, game: Game) -> list[str]:
        """The roles of a game that the learner holds."""
        return learned_roles(game, self._wanted)

    def players(
        self, game: Game, learner: Player, partners: Mapping[str, tuple[str, Player]] | None = None
    ) -> tuple[dict[str, Player], dict[str, str]]:
        """Who plays each role of a game, and under which name.

        Args:
            game: whose roles are filled.
            learner: holds the roles that it learns.
            partners: name and player of roles that are given to somebody else.

        Raises:
            ConfigError: there is no teacher for the other roles.
        """
        by_role: dict[str, Player] = {}
        names: dict[str, str] = {}
        mine = self.learned(game)
        for role in game.role_names():
            if partners is not None and role in partners:
                names[role], by_role[role] = partners[role]
            elif role in mine:
                names[role], by_role[role] = LEARNER, learner
            else:
                names[role], by_role[role] = str(self._spec), self._the_teacher()
        return by_role, names

    def play(self, instances: Mapping[str, Sequence[Instance]], learner: Player) -> list[Episode]:
        """Play every instance once."""
        jobs: list[Job] = []
        for name, found in instances.items():
            by_role, names = self.players(self.games[name], learner)
            jobs += make_jobs(self.games[name], found, by_role, names, seed=self._seed)
        self.run(jobs)
        return [job.episode for job in jobs]

    def run(self, jobs: Iterable[Job]) -> None:
        """Play some jobs; their episodes hold what came out."""
        work = rollout(jobs, lambda episode: None, concurrency=self._concurrency)
        self.loop.run(work)

    def guest(self, spec: str) -> Player:
        """The player of a spec, made when it is asked for the first time.

        Raises:
            PluginError, SpecError, PlayerError: it cannot be made.
        """
        if spec not in self._guests:
            self._guests[spec] = partner(spec)
        return self._guests[spec]

    def dismiss(self, spec: str) -> None:
        """Release the player of a spec, who is not needed any longer."""
        if spec in self._guests:
            self.loop.run(self._guests.pop(spec).close())

    def close(self) -> None:
        """Release all guests, who follows the learner, and the loop."""
        for spec in list(self._guests):
            self.dismiss(spec)
        if self._follower is not None:
            self._follower.close()
        self.loop.close()

    def _the_teacher(self) -> Player:
        if self._spec is None:
            raise ConfigError("nobody plays the roles that the learner does not; name a [teacher]")
        return self.guest(self._spec)


def seated_learner(run: TrainingRun, options: OptimiserOptions) -> tuple[Learner, Seating]:
    """Load the learner of a training, and seat everybody who plays with it.

    Raises:
        ConfigError: the learner is not an ``hf:`` model, or cannot be loaded.
    """
    learner = load_learner(
        *check_learner(run.learner), options.dtype, four_bits=options.load_in_4bit
    )
    seating = Seating(run)
    return seating.follow(learner, options.lora_r), seating
