"""``grpo``: online reinforcement learning in dialogue games, on TRL's `GRPOTrainer`.

TRL takes exactly one completion per prompt.  An episode gives one row for each role that the
learner held, and further ones for side questions and for templates that rewrite history; all of
them go into the batch, because the point where TRL generates and scores
(`_generate_and_score_completions`) is overridden as a whole.  So an episode is played once, and
all its parts train together.
"""

from __future__ import annotations

import math
import warnings
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal

import datasets
import torch
from trl import GRPOConfig, GRPOTrainer
from trl.models.utils import disable_gradient_checkpointing
from trl.trainer.utils import use_adapter

from playpen.bounds import NonNegativeFloat, PositiveInt
from playpen.training import ConfigError, Trainer, TrainingRun, require_partner
from playpen_trainers.advantages import (
    Baseline,
    Credit,
    GradedSample,
    RunningBaselines,
    Scale,
    advantages,
)
from playpen_trainers.arguments import (
    OptimiserOptions,
    adapter,
    arguments,
    check_optimiser,
    length_limit,
)
from playpen_trainers.checkpointing import Stateful, fit, starting_point
from playpen_trainers.collapse import CollapseWatch, repeated
from playpen_trainers.curriculum import Curriculum
from playpen_trainers.learner import Learner, check_learner
from playpen_trainers.online import Batch, OnlineRollouts
from playpen_trainers.online_rows import OnlineRow, online_rows
from playpen_trainers.partners import Partners, check_partners
from playpen_trainers.seats import LEARNER, Seating, seated_learner
from playpen_trainers.validation import Validation
from playpen_trainers.vllm_rollouts import check_engine


class GRPOOptions(OptimiserOptions, kw_only=True):
    """Options of ``grpo``; the names are those of TRL's `GRPOConfig` where it has them.

    Attributes:
        per_device_train_batch_size: episodes per device and backward pass; each gives a row for
            every role that the learner held.
        num_generations: episodes of a group, which face the identical situation.
        steps_per_generation: backward passes per generation batch; as many as there are in an
            optimiser step if left out.
        num_iterations: how often a generation batch is used.
        beta: weight of the divergence from the model that training started with.
        epsilon: how far a token's probability ratio may go before it is clipped.
        epsilon_high: the same upwards, if it differs.
        loss_type: how token losses are put together, as in TRL: ``dapo``, ``grpo``, ``dr_grpo``,
            ``bnpo``, ``cispo``, ``sapo``, ``luspo``, ``vespo``.
        importance_sampling_level: ``token`` or ``sequence``.
        entropy_coef: weight of an entropy bonus.
        baseline: what returns are compared with: ``group``, ``leave-one-out`` or ``running``
            (per game and role).
        credit: ``sequence``, ``turn`` (returns from each reply on) or ``forked`` (values estimated
            by playing on from each reply).
        forks: with ``forked`` credit, how often the game is played on from each reply.
        scale_rewards: divide advantages by their deviation in the ``group``, the ``batch``, or by
            ``none``.
        off_policy: log-probabilities that the ratio starts from: of the ``sampler`` as it was, or
            computed anew by the ``trainer``.
        gap_threshold: warn when sampler and trainer differ by more than this in the mean absolute
            log-probability of a token.
    """

    learning_rate: float = 1e-6
    lr_scheduler_type: str = "constant"
    warmup_steps: float = 0.0
    max_steps: int = 100
    logging_steps: PositiveInt = 1
    num_generations: PositiveInt = 8
    steps_per_generation: PositiveInt | None = None
    num_iterations: PositiveInt = 1
    beta: NonNegativeFloat = 0.0
    epsilon: NonNegativeFloat = 0.2
    epsilon_high: NonNegativeFloat | None = None
    loss_type: Literal["dapo", "grpo", "dr_grpo", "bnpo", "cispo", "sapo", "luspo", "vespo"] = (
        "dapo"
    )
    importance_sampling_level: Literal["token", "sequence"] = "token"
    entropy_coef: float = 0.0
    baseline: Baseline = "group"
    credit: Credit = "sequence"
    forks: PositiveInt = 4
    scale_rewards: Scale = "group"
    off_policy: Literal["sampler", "trainer"] = "sampler"
    gap_threshold: NonNegativeFloat = 0.05

    @property
    def generation_steps(self) -> int:
        """Backward passes per generation batch."""
        return self.steps_per_generation or self.gradient_accumulation_steps

    @property
    def episodes(self) -> int:
        """Episodes of a generation batch on one device."""
        return self.per_device_train_batch_size * self.generation_steps


class DialogueGRPOTrainer(GRPOTrainer):
    """TRL's trainer with our roll-outs, rows and advantages in place of its own.

    Args:
        rollouts: plays groups of episodes.
        seating: makes a player of the learner.
        learner: the model with its tokenizer.
        options: ours; those that TRL has are in its arguments too.
        discount: of rewards, per reply.
        running: the baselines per game and role.
        watch: looks for signs of collapse.
        own: what `GRPOTrainer` takes.
    """

    def __init__(
        self,
        *,
        rollouts: OnlineRollouts,
        seating: Seating,
        learner: Learner,
        options: GRPOOptions,
        discount: float,
        running: RunningBaselines,
        watch: CollapseWatch,
        **own: Any,
    ) -> None:
        super().__init__(reward_funcs=_rewards_are_ours, **own)
        self.args: GRPOConfig
        self._rollouts = rollouts
        self._seating = seating
        self._learner = learner
        self._options = options
        self._limit = length_limit(options, learner)
        self._running = running
        self._discount = discount
        self._watch = watch

    def _generate_and_score_completions(self, inputs: list[Any]) -> dict[str, Any]:
        """Play, grade, and lay out the rows: TRL's documented batch, one row per conversation."""
        model = self.accelerator.unwrap_model(self.model)
        was_training = model.training
        model.eval()
        try:
            player = self._seating.learner_player(model, self._learner.tokenizer)
            size = self._options.num_generations
            batch = self._rollouts.play(player, len(inputs) // size, size)
            if self._options.credit == "forked":
                trained = batch._replace(parts=[p for p in batch.parts if p.use == "train"])
                self._rollouts.estimate_values(trained, self._options.forks)
            output = self._lay_out(self._rows(batch))
            self._compare_with_sampler(output)
        finally:
            model.train(was_training)
        self._note(batch, output)
        return output

    def _prepare_inputs(self, generation_batch: Any) -> dict[str, Any]:
        return trimmed(super()._prepare_inputs(generation_batch))

    def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """TRL's loss; the entropy is noted, because its log is emptied before the next roll-out."""
        loss = super().compute_loss(model, inputs, *args, **kwargs)
        if inputs["tool_mask"].any():
            self._watch.entropy = self._metrics["train"]["entropy"][-1]
        return loss

    def _rows(self, batch: Batch) -> list[OnlineRow]:
        """The rows of all parts that are not left out, with their advantages."""
        trained = [part for part in batch.parts if part.use == "train"]
        graded = [
            GradedSample(p.group, p.episode.game, p.role, p.returns, p.rewards, p.values)
            for p in trained
        ]
        per_part = advantages(
            graded,
            credit=self._options.credit,
            baseline=self._options.baseline,
            scale=self._options.scale_rewards,
            running=self._running,
            discount=self._discount,
        )
        self._running.learn(graded)
        by_part = {id(part): values for part, values in zip(trained, per_part, strict=True)}
        return [
            row
            for part in batch.parts
            if part.use != "drop"
            for row in online_rows(
                part.rows, by_part.get(id(part), [0.0] * len(part.rewards)), self._limit
            )
        ]

    def _lay_out(self, rows: list[OnlineRow]) -> dict[str, Any]:
        """Pad the rows into TRL's batch.

        The batch is split into `steps_per_generation` equal slices, so rows without anything to
        train fill it up to a multiple of that.
        """
        pad: int = self._learner.tokenizer.pad_token_id
        blank = OnlineRow([pad], [pad], [0], [0.0], [0.0])
        steps = self._options.generation_steps
        missing = max(steps - len(rows), -len(rows) % steps)
        rows = rows + [blank] * missing
        before = max(len(row.prompt) for row in rows)
        after = max(len(row.completion) for row in rows)
        device = self.accelerator.device

        def left(values: list[int], fill: int) -> list[int]:
            return [fill] * (before - len(values)) + values

        def right(values: list[Any], fill: float) -> list[Any]:
            return values + [fill] * (after - len(values))

        mask = torch.tensor([right(row.mask, 0) for row in rows], device=device)
        output = {
            "prompt_ids": torch.tensor([left(row.prompt, pad) for row in rows], device=device),
            "prompt_mask": torch.tensor(
                [left([1] * len(row.prompt), 0) for row in rows], device=device
            ),
            "completion_ids": torch.tensor(
                [right(row.completion, pad) for row in rows], device=device
            ),
            # Others' words are read but not trained on: attention mask and loss mask differ.
            "completion_mask": torch.tensor(
                [right([1] * len(row.completion), 0) for row in rows], device=device
            ),
            "tool_mask": mask,
            "advantages": torch.tensor([right(row.advantages, 0.0) for row in rows], device=device),
            "sampling_per_token_logps": torch.tensor(
                [right(row.logprobs, 0.0) for row in rows], device=device
            ),
            "num_items_in_batch": self.accelerator.gather(mask.sum()).sum(),
        }
        cycle = steps * self.num_iterations
        with torch.no_grad(), self._no_checkpointing():
            if self._options.off_policy == "sampler":
                output["old_per_token_logps"] = output["sampling_per_token_logps"]
            elif self.args.gradient_accumulation_steps % cycle:
                # An update comes before the batch is used up; without one the ratio is 1.
                output["old_per_token_logps"] = self._logps(self.model, output)
            if self.beta:
                output["ref_per_token_logps"] = self._reference(output)
        return output

    def _no_checkpointing(self) -> AbstractContextManager[None]:
        model: Any = self.model
        options: Any = self.args.gradient_checkpointing_kwargs
        return disable_gradient_checkpointing(model, options)

    def _reference(self, output: dict[str, Any]) -> torch.Tensor:
        """Log-probabilities under the model that training started with."""
        if self.ref_model is not None:
            return self._logps(self.ref_model, output)
        model = self.accelerator.unwrap_model(self.model)
        first = "ref" if "ref" in model.peft_config else None
        with use_adapter(model, adapter_name=first):
            return self._logps(self.model, output)

    def _logps(self, model: Any, output: dict[str, Any], rows: int | None = None) -> torch.Tensor:
        chosen = slice(rows)
        ids = torch.cat([output["prompt_ids"][chosen], output["completion_ids"][chosen]], dim=1)
        mask = torch.cat([output["prompt_mask"][chosen], output["completion_mask"][chosen]], dim=1)
        logps: torch.Tensor
        logps, _, _ = self._get_per_token_logps_and_entropies(
            model,
            ids,
            mask,
            output["completion_ids"].size(1),
            batch_size=self.args.per_device_train_batch_size,
        )
        return logps

    @torch.no_grad()
    def _compare_with_sampler(self, output: dict[str, Any]) -> None:
        """Compare some rows' log-probabilities with what the sampler gave, before any update."""
        with self._no_checkpointing():
            ours = self._logps(self.model, output, _COMPARED_ROWS)
        mask = output["tool_mask"][:_COMPARED_ROWS].bool()
        if not mask.any():
            return
        gap = (ours - output["sampling_per_token_logps"][:_COMPARED_ROWS]).abs()[mask]
        self._metrics["train"]["sampler_gap/mean"].append(gap.mean().item())
        self._metrics["train"]["sampler_gap/max"].append(gap.max().item())
        if gap.mean().item() > self._options.gap_threshold:
            warnings.warn(
                f"sampler and trainer differ by {gap.mean().item():.3f} in the mean absolute "
                f"log-probability of a token (gap_threshold is {self._options.gap_threshold}): "
                "they do not compute the same policy; check data types, adapter and temperature",
                stacklevel=2,
            )

    def _note(self, batch: Batch, output: dict[str, Any]) -> None:
        """Hand what was played to TRL's log."""
        log = self._metrics["train"]
        episodes = batch.episodes
        count = len(episodes)
        sampled = [part for part in batch.parts if part.use != "drop"]
        log["reward"].append(_mean([part.returns[0] for part in sampled]))
        log["played"].append(sum(not e.aborted for e in episodes) / count)
        log["success"].append(sum(e.success for e in episodes) / count)
        log["dropped"].append(1 - len(sampled) / max(1, len(batch.parts)))
        for game in sorted({e.game for e in episodes}):
            mine = [e for e in episodes if e.game == game]
            log[f"success/{game}"].append(sum(e.success for e in mine) / len(mine))
        for key in sorted({(part.episode.game, part.role) for part in sampled}):
            earned = [p.returns[0] for p in sampled if (p.episode.game, p.role) == key]
            log[f"reward/{key[0]}/{key[1]}"].append(_mean(earned))
        spans = [span for part in batch.parts for row in part.rows for span in row.spans]
        length = _mean([float(end - start) for _, start, end in spans])
        log["reply_tokens"].append(length)
        log["rows"].append(float(output["prompt_ids"].size(0)))
        self.state.num_input_tokens_seen += int(sum(end - start for _, start, end in spans))
        log["tokens_sampled"] = [float(self.state.num_input_tokens_seen)]  # since the first step
        values = {
            "aborted": 1 - log["played"][-1],
            "alike": repeated(episodes, LEARNER),
            "length": length,
        }
        if self._watch.entropy is not None:
            values["entropy"] = self._watch.entropy
        self._watch.look(values)


def trimmed(inputs: dict[str, Any]) -> dict[str, Any]:
    """A slice of a generation batch without the columns that only its other slices needed."""
    before = int(inputs["prompt_mask"].sum(dim=1).max())
    after = int(inputs["completion_mask"].sum(dim=1).max())
    wide, long = inputs["prompt_mask"].size(1), inputs["completion_mask"].size(1)
    cut = {name: inputs[name][:, wide - before :] for name in ("prompt_ids", "prompt_mask")}
    cut |= {
        name: values[:, :after]
        for name, values in inputs.items()
        if name not in cut and isinstance(values, torch.Tensor) and values.shape[1:] == (long,)
    }
    return {**inputs, **cut}


_COMPARED_ROWS = 4
"""Rows of each generation batch whose log-probabilities are computed by the trainer, too."""


def _rewards_are_ours(*_: Any, **__: Any) -> list[float | None]:
    raise AssertionError("rewards come with the roll-outs")


def _mean(values: list[float]) -> float:
    return math.fsum(values) / len(values) if values else 0.0


class GRPO(Trainer):
    """Play groups of episodes, and make the better ones of each group more likely."""

    Options = GRPOOptions
    options: GRPOOptions

    def check(self, run: TrainingRun) -> None:
        """Refuse what does not fit together, before anything is loaded."""
        options = self.options
        check_learner(run.learner)
        if options.max_steps <= 0:
            raise ConfigError(f"trainer.max_steps = {options.max_steps}: write a positive number")
        check_optimiser(options)
        check_engine(run, options)
        require_partner(run.config)
        check_partners(run.config)
        run.rewards()
        if not run.config.games.names:
            raise ConfigError("games.names is empty: online training needs games to play")
        if options.num_generations < 2:
            raise ConfigError(
                "trainer.num_generations = 1: a group needs at least two episodes to compare"
            )
        if options.credit != "sequence" and options.importance_sampling_level == "sequence":
            # One ratio for the row spreads the gradient of each reply evenly over all of them.
            raise ConfigError(
                f"trainer.credit = {options.credit!r} tells replies apart, which "
                "trainer.importance_sampling_level = 'sequence' undoes; set that to 'token'"
            )
        if options.episodes % options.num_generations:
            raise ConfigError(
                f"trainer.num_generations = {options.num_generations} does not divide the "
                f"{options.episodes} episodes of a generation batch "
                "(per_device_train_batch_size x steps_per_generation)"
            )
        cycle = options.generation_steps * options.num_iterations
        if options.save_steps * options.gradient_accumulation_steps % cycle:
            # A checkpoint within a generation batch could not be resumed exactly.
            wanted = cycle // math.gcd(cycle, options.gradient_accumulation_steps)
            raise ConfigError(
                f"trainer.save_steps = {options.save_steps} would save in the middle of a "
                f"generation batch; choose a multiple of {wanted}"
            )

    def train(self, run: TrainingRun) -> Path:
        """Train the learner by play.

        Raises:
            ConfigError: the learner is not an ``hf:`` model.
            PlayerError: a teacher failed again and again.
        """
        options = self.options
        start = starting_point(run)
        learner, seating = seated_learner(run, options)
        groups = self._groups()
        curriculum = Curriculum(run, groups)
        partners = Partners(run, learner, seating)
        running, watch = RunningBaselines(), CollapseWatch()
        rollouts = OnlineRollouts(
            seating,
            curriculum,
            partners,
            run.rewards(),
            seed=run.config.rollout.seed,
            fault=run.config.reward.partner_fault,
        )
        validation = Validation(run, learner, seating)
        trainer = DialogueGRPOTrainer(
            rollouts=rollouts,
            seating=seating,
            learner=learner,
            options=options,
            discount=run.config.reward.discount,
            running=running,
            watch=watch,
            model=learner.model,
            args=self._arguments(run),
            # Rows only count the groups; what is played is for the curriculum to say.
            train_dataset=datasets.Dataset.from_dict({"prompt": [str(n) for n in range(groups)]}),
            processing_class=learner.tokenizer,
            peft_config=adapter(options, learner),
        )
        validation.attach(trainer)
        partners.attach(trainer)
        parts: list[Stateful] = [curriculum, partners, running, watch, validation]
        try:
            final = fit(trainer, run, learner, start, parts)
        finally:
            seating.close()
        return validation.result(final)

    def _groups(self) -> int:
        """How many groups the whole training plays."""
        options = self.options
        passes = options.max_steps * options.gradient_accumulation_steps
        batches = math.ceil(passes / (options.generation_steps * options.num_iterations))
        return batches * options.episodes // options.num_generations

    def _arguments(self, run: TrainingRun) -> GRPOConfig:
        options = self.options
        return arguments(
            GRPOConfig,
            options,
            run,
            num_generations=options.num_generations,
            steps_per_generation=options.generation_steps,
            num_iterations=options.num_iterations,
            max_completion_length=run.config.rollout.max_new_tokens,
            temperature=run.config.rollout.temperature,
            beta=options.beta,
            epsilon=options.epsilon,
            epsilon_high=options.epsilon_high,
            loss_type=options.loss_type,
            importance_sampling_level=options.importance_sampling_level,
            entropy_coef=options.entropy_coef,
        )
