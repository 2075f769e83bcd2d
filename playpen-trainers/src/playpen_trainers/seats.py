"""Who holds which role when a training plays: the learner, its teacher, and other players."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import torch

from playpen.episode import Episode
from playpen.game import Game
from playpen.instance import Instance
from playpen.play_loop import PlayLoop
from playpen.player import Player, parse_options
from playpen.players.hf import HuggingFaceOptions, HuggingFacePlayer, load_checkpoint
from playpen.plugins import make_player, resolve_spec
from playpen.rollout import Job, make_jobs, rollout
from playpen.training import ConfigError, TrainingRun
from playpen_trainers.arguments import OptimiserOptions
from playpen_trainers.learner import Learner, check_learner, load_learner
from playpen_trainers.vllm_rollouts import VllmLearner

LEARNER = "learner"
"""The name of the learner in the records of episodes."""


def make_partner(spec: str) -> Player:
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


class Seating:
    """Which roles of each game the learner holds, and who holds the others.

    Args:
        run: says who they are, and how the learner plays.
        rank: of the adapter that the learner gets; 0 if it gets none.

    Attributes:
        games: the games by name.
    """

    def __init__(self, run: TrainingRun, *, rank: int = 0) -> None:
        self.games: dict[str, Game] = run.games()
        self._wanted = run.config.learner.roles
        self._spec = run.config.teacher.player
        self._others: dict[str, Player] = {}
        self._rollout = run.config.rollout
        self._loop = PlayLoop()
        in_vllm = self._rollout.engine == "vllm"
        self._vllm = VllmLearner(run, rank, self._loop) if in_vllm else None

    def learner_player(
        self, model: Any, tokenizer: Any, *, temperature: float | None = None
    ) -> Player:
        """The player of the learner, as ``[rollout]`` says.

        With transformers it has the model's weights as they are at each reply.  With vLLM it has
        those of now, and the player that was given out before ends: ask again after each step.

        Args:
            model: the learner, with its adapter if that was made already.
            tokenizer: of the learner.
            temperature: of its replies, if not that of ``[rollout]``.

        Raises:
            PlayerError: vLLM does not start, or cannot run the adapter; says why.
        """
        sampling = HuggingFaceOptions(
            temperature=self._rollout.temperature if temperature is None else temperature,
            max_new_tokens=self._rollout.max_new_tokens,
            batch_size=self._rollout.concurrency,
        )
        if self._vllm is not None:
            return self._vllm.player(model, tokenizer, sampling)
        return HuggingFacePlayer.over(model, tokenizer, sampling)

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
        for name, chosen in instances.items():
            by_role, names = self.players(self.games[name], learner)
            jobs += make_jobs(self.games[name], chosen, by_role, names, seed=self._rollout.seed)
        self.run(jobs)
        return [job.episode for job in jobs]

    def run(self, jobs: Iterable[Job]) -> None:
        """Play some jobs; their episodes hold what came out."""
        work = rollout(jobs, lambda episode: None, concurrency=self._rollout.concurrency)
        self._loop.run(work)

    def player(self, spec: str) -> Player:
        """The player of a spec, made when it is asked for the first time.

        Raises:
            PluginError, SpecError, PlayerError: it cannot be made.
        """
        if spec not in self._others:
            self._others[spec] = make_partner(spec)
        return self._others[spec]

    def release(self, spec: str) -> None:
        """Close the player of a spec, which is not needed any longer."""
        if spec in self._others:
            self._loop.run(self._others.pop(spec).close())

    def close(self) -> None:
        """Close all other players, vLLM's engine and the loop."""
        for spec in list(self._others):
            self.release(spec)
        if self._vllm is not None:
            self._vllm.close()
        self._loop.close()

    def _the_teacher(self) -> Player:
        if self._spec is None:
            raise ConfigError("nobody plays the roles that the learner does not; name a [teacher]")
        return self.player(self._spec)


def seated_learner(run: TrainingRun, options: OptimiserOptions) -> tuple[Learner, Seating]:
    """Load the learner of a training, and seat everybody who plays with it.

    Raises:
        ConfigError: the learner is not an ``hf:`` model, or cannot be loaded.
    """
    learner = load_learner(
        *check_learner(run.learner), options.dtype, four_bits=options.load_in_4bit
    )
    return learner, Seating(run, rank=options.lora_r)
