"""Whom the learner meets while it trains: other players, and itself as it was at a snapshot."""

from __future__ import annotations

import random
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import transformers
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from playpen.conversation import derive_seed
from playpen.errors import PlaypenError
from playpen.game import Game
from playpen.player import Player
from playpen.players.program import ProgramPlayer
from playpen.plugins import get_game, make_player
from playpen.training import ConfigError, TrainConfig, TrainingRun
from playpen_trainers.checkpointing import kept_checkpoint_states, save
from playpen_trainers.curriculum import Situation
from playpen_trainers.learner import Learner
from playpen_trainers.seats import LEARNER, Seating, learned_roles

_SNAPSHOT = f"{LEARNER}@"
_PACE = 0.1
"""How fast the estimate of what is earned with a partner follows what is played."""


class Partners(TrainerCallback):
    """The pool of partners, saved with the run.

    In a share of the groups one of the roles that the learner could hold goes to a partner; the
    learner's part is then trained on, the partner's is not.  Snapshots play with transformers,
    whatever engine plays the learner.
    """

    name = "partners"

    def __init__(self, run: TrainingRun, learner: Learner, seating: Seating) -> None:
        self._table = run.config.teacher
        self._seed = run.config.rollout.seed
        self._temperature = run.config.rollout.temperature
        self._new_tokens = run.config.rollout.max_new_tokens
        self._folder = run.output / "partners"
        self._learner = learner
        self._seating = seating
        self._trainer: transformers.Trainer | None = None
        self._snapshots: list[int] = []
        self._earned: dict[str, float] = {}

    def attach(self, trainer: transformers.Trainer) -> None:
        """Take snapshots of the model of a trainer."""
        self._trainer = trainer
        if self._table.snapshot_every:
            trainer.add_callback(self)

    def state(self) -> dict[str, Any]:
        """The steps of the snapshots, and what was earned with whom."""
        return {"snapshots": list(self._snapshots), "earned": dict(self._earned)}

    def restore(self, state: dict[str, Any]) -> None:
        """Take up what was kept."""
        self._snapshots = list(state["snapshots"])
        self._earned = dict(state["earned"])

    def names(self) -> list[str]:
        """All partners, oldest first: specs, and ``learner@STEP`` for a snapshot."""
        return [*self._table.partners, *map(_label, self._snapshots)]

    def choose(self, situation: Situation, roles: Sequence[str]) -> dict[str, tuple[str, Player]]:
        """Which of the learner's roles goes to which partner in a group; mostly none.

        Somebody else never takes the only role that the learner holds.
        """
        names = self.names()
        rng = random.Random(derive_seed("partner", self._seed, situation.number))
        if not names or len(roles) < 2 or rng.random() >= self._table.partner_share:
            return {}
        role = rng.choice(list(roles))
        [name] = rng.choices(names, self._weights(names))
        return {role: (name, self._seating.player(self._spec(name)))}

    def learn(self, name: str, returns: Sequence[float]) -> None:
        """Take note of what the learner earned with a partner."""
        for value in returns:
            known = self._earned.get(name, value)
            self._earned[name] = known + _PACE * (value - known)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Take a snapshot every so many steps, and drop the oldest one beyond the limit."""
        if state.global_step % self._table.snapshot_every:
            return
        assert self._trainer is not None
        save(self._trainer, self._learner, self._path(state.global_step))
        self._snapshots.append(state.global_step)
        while len(self._snapshots) > self._table.snapshots:
            gone = _label(self._snapshots.pop(0))
            self._earned.pop(gone, None)
            self._seating.release(self._spec(gone))
        if state.is_world_process_zero:
            self._clean()

    def _clean(self) -> None:
        """Remove the files of snapshots that nobody can ask for any more.

        Training may be resumed from any checkpoint that is there, and then needs those that it
        names.
        """
        needed = set(self._snapshots)
        for kept in kept_checkpoint_states(self._folder.parent):
            needed.update(kept[self.name]["snapshots"])
        for path in self._folder.glob("step-*"):
            step = path.name.removeprefix("step-")
            if step.isdigit() and int(step) not in needed:
                shutil.rmtree(path)

    def _weights(self, names: Sequence[str]) -> list[float]:
        if self._table.choice == "recent":
            return [float(number + 1) for number in range(len(names))]
        if self._table.choice == "hard":
            known = [self._earned.get(name) for name in names]
            seen = [value for value in known if value is not None]
            if not seen:
                return [1.0] * len(names)
            low, high = min(seen), max(seen)
            # Who was never met counts as the hardest.
            return [
                1.0 if value is None else 0.1 + 0.9 * (high - value) / ((high - low) or 1.0)
                for value in known
            ]
        return [1.0] * len(names)

    def _spec(self, name: str) -> str:
        """The spec of a partner; a snapshot samples as the learner does."""
        if name in self._table.partners:
            return name
        path = self._path(int(name.removeprefix(_SNAPSHOT)))
        return f"hf:{path}?temperature={self._temperature:g}&max_new_tokens={self._new_tokens}"

    def _path(self, step: int) -> Path:
        return self._folder / f"step-{step}"


def _label(step: int) -> str:
    return f"{_SNAPSHOT}{step}"


def check_partners(config: TrainConfig) -> None:
    """Check whom the learner would play with, as far as it goes without loading a model.

    Raises:
        ConfigError: names the key, the value and the remedy.
    """
    teacher = config.teacher
    games = [get_game(name) for name in config.games.names]
    learned = {game: learned_roles(game, config.learner.roles) for game in games}
    if teacher.player is not None:
        others = {
            game: [role for role in game.role_names() if role not in roles]
            for game, roles in learned.items()
        }
        _check_player("teacher.player", teacher.player, others)
    for spec in teacher.partners:
        _check_player("teacher.partners", spec, learned)
    met = teacher.partners or teacher.snapshot_every
    if met and teacher.partner_share and all(len(roles) < 2 for roles in learned.values()):
        key, value = (
            ("partners", teacher.partners)
            if teacher.partners
            else ("snapshot_every", teacher.snapshot_every)
        )
        raise ConfigError(
            f"teacher.{key} = {value}: a partner takes one of the learner's roles, but it has only "
            "one in each game; leave this out, or let it hold more roles (learner.roles)"
        )


def _check_player(key: str, spec: str, seats: Mapping[Game, Sequence[str]]) -> None:
    try:
        player = make_player(spec)
        if isinstance(player, ProgramPlayer):  # others would load a model here
            for game, roles in seats.items():
                for role in roles:
                    player.seat(game, role)
    except PlaypenError as error:
        raise ConfigError(f"{key} = {spec!r}: {error}") from None
