"""``rft``: rejection-sampling fine-tuning, or expert iteration.

The learner plays, the best of what it did is kept, it is fine-tuned on that, and so on.  One
iteration is the method of Yuan et al. (arXiv:2308.01825), several are that of Anthony et al.
(arXiv:1705.08439).  Every iteration has a directory: what was kept, its checkpoint, and a note when
it is done, so that a training goes on where it was.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from playpen.bounds import PositiveInt
from playpen.episode import Episode
from playpen.files import write_atomically
from playpen.player import SpecString
from playpen.players.hf import HuggingFaceOptions
from playpen.terminal.console import open_console
from playpen.training import ConfigError, Trainer, TrainingRun, require_partner
from playpen_trainers.arguments import length_limit, processes
from playpen_trainers.checkpointing import starting_point
from playpen_trainers.curriculum import Curriculum
from playpen_trainers.learner import Learner, check_learner, load_learner
from playpen_trainers.online import Batch, OnlineRollouts, RoleSample
from playpen_trainers.partners import Partners
from playpen_trainers.seats import LEARNER, Seating
from playpen_trainers.sft import SFTOptions, check_supervised, fine_tune, mixed_in
from playpen_trainers.supervised_rows import fitting, imitation_rows
from playpen_trainers.validation import Validation


class RFTOptions(SFTOptions, kw_only=True):
    """Options of ``rft``; those of ``sft`` hold for each iteration.

    In every iteration ``[rollout] episodes`` are played for each game; if left out, each training
    instance is played `samples` times.  ``[eval] every`` and `patience` count iterations.

    Attributes:
        iterations: how often the learner plays and is fine-tuned.
        samples: episodes of an instance, which differ in the players' sampling only.
        keep: ``success`` keeps what the learner did in won episodes, ``best`` what earned it the
            highest return of all episodes of an instance.
        min_return: with ``best``, only what earned more than this is kept.
        per_instance: how often one role of one instance is kept at most, without a limit if left
            out; what was said with the identical tokens counts once.
        from_start: fine-tune the starting model in each iteration, not the one that played.
    """

    iterations: PositiveInt = 3
    samples: PositiveInt = 8
    keep: Literal["success", "best"] = "success"
    min_return: float = 0.0
    per_instance: PositiveInt | None = None
    from_start: bool = False


class Kept(msgspec.Struct):
    """A line of ``kept.jsonl``: an episode, and by role the return of the parts that are kept."""

    episode: Episode
    returns: dict[str, float]


class RolloutsDone(msgspec.Struct):
    """``played.json``: what the next iteration goes on from, once an iteration has played."""

    situations: dict[str, Any]
    partners: dict[str, Any]


class Done(msgspec.Struct):
    """``done.json``: optimiser steps of an iteration, and what was measured after it, if it was."""

    steps: int
    measured: dict[str, float] | None = None


_PLAYED = "played.json"
_DONE = "done.json"


class Iteration(TrainingRun):
    """The directory of an iteration; what it logs goes to the log of the whole training.

    The steps of the log count all iterations' optimiser steps, and one for the play of each.

    Args:
        whole: the training.
        number: of the iteration; 0 stands for the learner as training starts.
        first: step of its play.
    """

    def __init__(self, whole: TrainingRun, number: int, first: int) -> None:
        super().__init__(whole.trainer, whole.config, whole.output / f"iteration-{number}")
        self.number = number
        self.first = first
        self._whole = whole
        self.output.mkdir(exist_ok=True)

    def log(self, step: int, values: Mapping[str, Any]) -> None:
        """Record numbers."""
        self._whole.log(self.first + step, {"iteration": self.number, **values})

    def forget_after(self, step: int) -> None:
        """Take back what was logged after a step of this iteration."""
        self._whole.forget_after(self.first + step)

    def done(self) -> Done | None:
        """What was noted when it was done."""
        note: Done | None = _read(self.output / _DONE, Done)
        return note

    def played(self) -> RolloutsDone | None:
        """What was noted when it had played."""
        note: RolloutsDone | None = _read(self.output / _PLAYED, RolloutsDone)
        return note

    def note(self, what: RolloutsDone | Done) -> None:
        """Note that it has played, or that it is done."""
        name = _DONE if isinstance(what, Done) else _PLAYED
        _write(self.output / name, [what])

    def kept(self) -> list[Kept]:
        """What it learns from."""
        lines = (self.output / "kept.jsonl").read_bytes().splitlines()
        return [msgspec.json.decode(line, type=Kept) for line in lines]

    def keep(self, kept: Sequence[Kept]) -> None:
        """Write down what it learns from."""
        _write(self.output / "kept.jsonl", kept)


def _read(path: Path, kind: type[Any]) -> Any:
    return msgspec.json.decode(path.read_bytes(), type=kind) if path.is_file() else None


def _write(path: Path, lines: Iterable[Any]) -> None:
    write_atomically(path, (msgspec.json.encode(line) + b"\n" for line in lines))


class RFT(Trainer):
    """Play, keep the best, fine-tune on it, and again."""

    Options = RFTOptions
    options: RFTOptions

    def check(self, run: TrainingRun) -> None:
        """Refuse what does not fit together, before anything is loaded."""
        check_supervised(self.options, run)
        require_partner(run.config)
        run.rewards()
        config = run.config
        if not config.games.names:
            raise ConfigError("games.names is empty: rft needs games to play")
        if config.data.runs:
            raise ConfigError(
                "data.runs: rft learns from what the learner plays itself; "
                "leave it out, or learn from recorded episodes with sft"
            )
        if config.teacher.snapshot_every:
            raise ConfigError(
                f"teacher.snapshot_every = {config.teacher.snapshot_every}: rft plays between "
                "its trainings and takes no snapshots; leave it out, or name teacher.partners"
            )

    def train(self, run: TrainingRun) -> Path:
        """Play and fine-tune in turns.

        Interrupted training continues in the iteration, and at the checkpoint, where it was; an
        iteration that was still playing plays again.

        Returns:
            The checkpoint of the best iteration, if ``[eval]`` says so, else of the last one.

        Raises:
            ConfigError: the learner is not an ``hf:`` model, or an iteration kept nothing.
            PlayerError: a teacher failed again and again.
        """
        seating = Seating(run, rank=self.options.lora_r)
        try:
            return _Training(self.options, run, seating).iterate()
        finally:
            seating.close()


class _Training:
    """One training: its iterations one after the other, and the model that is loaded."""

    def __init__(self, options: RFTOptions, run: TrainingRun, seating: Seating) -> None:
        self._options = options
        self._run = run
        self._seating = seating
        self._loaded: tuple[int, Learner] | None = None

    def iterate(self) -> Path:
        table = self._run.config.eval
        first = best = worse = 0
        top: float | None = None
        for number in range(self._options.iterations + 1):
            iteration = Iteration(self._run, number, first)
            done = iteration.done() or self._do(iteration)
            first += done.steps + 1
            if done.measured is None:
                continue
            if top is None or done.measured[table.metric] > top:
                top, best, worse = done.measured[table.metric], number, 0
            else:
                worse += 1
                if table.patience and worse >= table.patience:
                    break
        chosen = number if top is None or not table.keep_best else best
        return self._folder(chosen) if chosen else self._save_start()

    def _do(self, iteration: Iteration) -> Done:
        steps = 0
        if iteration.number:
            with processes().main_process_first():  # the others find what it has played
                if iteration.played() is None:
                    self._play(iteration)
            steps = self._fine_tune(iteration)
        done = Done(steps, self._measure(iteration.number))
        if processes().is_main_process:
            iteration.note(done)
            if done.measured is not None:
                measured = {f"eval/{name}": value for name, value in done.measured.items()}
                iteration.log(steps, measured)
            # What is done needs no checkpoint to go on from.
            shutil.rmtree(iteration.output / "checkpoints", ignore_errors=True)
        return done

    def _play(self, iteration: Iteration) -> None:
        run, options = self._run, self._options
        learner = self._learner(iteration.number - 1)
        groups = self._groups()
        curriculum = Curriculum(run, groups * options.iterations)
        partners = Partners(run, learner, self._seating)
        earlier = Iteration(run, iteration.number - 1, 0).played()
        if earlier is not None:
            curriculum.restore(earlier.situations)
            partners.restore(earlier.partners)
        rollouts = OnlineRollouts(
            self._seating,
            curriculum,
            partners,
            run.rewards(),
            seed=run.config.rollout.seed,
            fault=run.config.reward.partner_fault,
        )
        console = open_console(stderr=True)
        title = f"iteration {iteration.number} of {options.iterations}"
        console.print(f"{title}: playing {groups * options.samples} episodes", highlight=False)
        player = self._seating.learner_player(learner.model.eval(), learner.tokenizer)
        batch = rollouts.play(player, groups, options.samples)
        kept = best_parts(batch.parts, options)
        values = _summary(batch, kept)
        console.print(
            f"{title}: won {values['success']:.0%}, kept {len(kept)} of {len(batch.parts)} parts",
            highlight=False,
        )
        if not kept:
            raise ConfigError(
                f"{title}: nothing to learn from: {values['success']:.0%} of the "
                f"{len(batch.episodes)} episodes were won, and the highest return is "
                f"{values['highest_return']:g} (trainer.keep = {options.keep!r}, "
                f"min_return = {options.min_return:g}); raise trainer.samples, or train the "
                "learner with sft first"
            )
        iteration.keep(_by_episode(kept))
        iteration.note(RolloutsDone(curriculum.state(), partners.state()))
        iteration.log(0, values)

    def _groups(self) -> int:
        """How many groups an iteration plays."""
        instances, wanted = self._run.instances(), self._run.config.rollout.episodes
        if wanted is None:
            return sum(map(len, instances.values()))
        return len(instances) * -(-wanted // self._options.samples)

    def _fine_tune(self, iteration: Iteration) -> int:
        """Fine-tune on what was kept; returns the number of optimiser steps."""
        options = self._options
        start = starting_point(iteration)
        learner = self._learner(0 if options.from_start else iteration.number - 1)
        self._loaded = None  # its weights are about to change
        rows = fitting(
            imitation_rows(
                learner.chat,
                [(kept.episode, tuple(kept.returns)) for kept in iteration.kept()],
                {LEARNER},
            ),
            length_limit(options, learner),
        )
        chats = mixed_in(
            len(rows), learner, options, iteration, seed=options.seed + iteration.number
        )
        return fine_tune([*rows, *chats], learner, options, iteration, start).steps

    def _measure(self, number: int) -> dict[str, float] | None:
        every = self._run.config.eval.every
        if not every or number % every:
            return None
        learner = self._learner(number)
        return Validation(self._run, learner, self._seating).values(learner.model)

    def _folder(self, number: int) -> Path:
        return self._run.output / f"iteration-{number}" / "final"

    def _learner(self, number: int) -> Learner:
        """The learner as it is after an iteration."""
        if self._loaded is None or self._loaded[0] != number:
            self._loaded = None  # one model at a time
            source = check_learner(self._run.learner)
            if number:
                source = SpecString("hf", str(self._folder(number))), HuggingFaceOptions()
            learner = load_learner(
                *source, self._options.dtype, four_bits=self._options.load_in_4bit
            )
            learner.model.to(processes().device)
            self._loaded = number, learner
        return self._loaded[1]

    def _save_start(self) -> Path:
        """The learner that training started with, as a checkpoint of its own."""
        learner, folder = self._learner(0), self._folder(0)
        if processes().is_main_process:
            learner.model.save_pretrained(folder)
            learner.tokenizer.save_pretrained(folder)
        return folder


def best_parts(parts: Sequence[RoleSample], options: RFTOptions) -> list[RoleSample]:
    """The parts to learn from, those of an instance and role together, the best first.

    Parts that ``[reward] partner_fault`` takes out of training are none of them.
    """
    by_instance: dict[tuple[str, str, str], list[RoleSample]] = {}
    for part in parts:
        if part.use == "train":
            key = (part.episode.game, part.episode.instance, part.role)
            by_instance.setdefault(key, []).append(part)
    kept: list[RoleSample] = []
    for group in by_instance.values():
        group.sort(key=lambda part: -part.returns[0])  # stable: earlier ones first
        if options.keep == "success":
            best = [part for part in group if part.episode.success]
        else:
            top = group[0].returns[0]
            best = [p for p in group if p.returns[0] == top and top > options.min_return]
        distinct: dict[object, RoleSample] = {}
        for part in best:
            distinct.setdefault(_tokens(part), part)
        kept += list(distinct.values())[: options.per_instance]
    return kept


def _tokens(part: RoleSample) -> object:
    """All tokens of a part, and which of them were sampled, as a key."""
    return tuple((tuple(row.ids), tuple(row.mask)) for row in part.rows)


def _by_episode(parts: Sequence[RoleSample]) -> list[Kept]:
    by_episode: dict[int, Kept] = {}
    for part in parts:
        kept = by_episode.setdefault(id(part.episode), Kept(part.episode, {}))
        kept.returns[part.role] = part.returns[0]
    return list(by_episode.values())


def _summary(batch: Batch, kept: Sequence[RoleSample]) -> dict[str, float]:
    """What the log says about an iteration's play."""
    episodes = batch.episodes
    earned = [part.returns[0] for part in batch.parts] or [0.0]
    return {
        "episodes": len(episodes),
        "success": sum(episode.success for episode in episodes) / len(episodes),
        "played": sum(not episode.aborted for episode in episodes) / len(episodes),
        "reward": sum(earned) / len(earned),
        "highest_return": max(earned),
        "kept": len(kept),
    }
