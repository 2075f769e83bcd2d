"""Preferences from play: which of two dialogues, or of two replies, was better.

Evidence comes from episodes that differ in nothing but what was said: the same instance, the same
chance moves, the same role.  A dialogue is worth its return.  A reply is worth what follows on
average when the game is played on from it again and again.
"""

from __future__ import annotations

import itertools
import math
import random
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar

import msgspec
import transformers

from playpen.bounds import PositiveFloat, PositiveInt
from playpen.chat_format import ChatFormat
from playpen.conversation import Row, derive_seed
from playpen.episode import Episode
from playpen.player import Player, PlayerError
from playpen.rewards import Rewards, partner_broke_it
from playpen.rollout import Job, make_jobs
from playpen.training import ConfigError, TrainingRun, require_partner
from playpen_trainers.arguments import OptimiserOptions, check_optimiser
from playpen_trainers.data import PreferenceRow, UnpairedRow, learner_rows, sides
from playpen_trainers.learner import Learner, check_learner, load_learner
from playpen_trainers.seats import Seating
from playpen_trainers.vllm_rollouts import check_engine

RowT = TypeVar("RowT", PreferenceRow, UnpairedRow)
Numbers: TypeAlias = dict[str, float]
Match: TypeAlias = Literal["extremes", "all"]
Label: TypeAlias = Literal["success", "threshold", "group"]
Turns: TypeAlias = Literal["one", "all"]


class PreferenceOptions(OptimiserOptions, kw_only=True):
    """Options of the trainers that learn from preferences.

    Attributes:
        per_device_train_batch_size: rows per device and backward pass.
        samples: episodes that the learner plays on each instance, where no recorded runs are
            given; ``[rollout] episodes`` limits how many it plays of a game in all.
        beta: how much it costs to move away from the model that training started with.
        precompute_ref_log_probs: compute what the starting model says once, before training, so
            that it need not be kept in memory.
    """

    learning_rate: PositiveFloat = 5e-6
    samples: PositiveInt = 4
    beta: PositiveFloat = 0.1
    precompute_ref_log_probs: bool = False


class Judged(NamedTuple):
    """A role's part in an episode, with its return."""

    episode: Episode
    role: str
    value: float


# --- episodes ------------------------------------------------------------------------------------


def check_source(run: TrainingRun, options: PreferenceOptions) -> None:
    """Refuse what no trainer of preferences can use, before anything is loaded.

    Raises:
        ConfigError: names the key, the value and the remedy.
    """
    check_learner(run.learner)
    check_optimiser(options)
    check_engine(run, options)
    run.rewards()
    if not run.config.data.runs:
        require_partner(run.config)


def reference(run: TrainingRun, learner: Learner, options: PreferenceOptions) -> Any:
    """The starting model once more; `None` where TRL finds it under an adapter, or in advance."""
    if options.lora_r or learner.adapted or options.precompute_ref_log_probs:
        return None
    return load_learner(*check_learner(run.learner), options.dtype).model


def recorded(run: TrainingRun) -> list[tuple[Episode, tuple[str, ...]]]:
    """The finished episodes of ``[data] runs``, each with the roles to learn.

    How they ended and what they scored does not matter: preferences need the bad ones, too.

    Raises:
        ConfigError: there are none, or one is of a test split.
    """
    chosen = run.demonstrations(any_outcome=True)
    return [(episode, roles) for episode, roles in chosen if episode.outcome is not None]


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
        """Roll-outs by the model on a device, as ``[rollout]`` says."""
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


def collected(
    run: TrainingRun, table: PreferenceRollouts, samples: int
) -> tuple[list[Job], list[tuple[Episode, tuple[str, ...]]]]:
    """The episodes to compare, each with the roles to learn: recorded ones, or played now.

    Returns:
        What was played, and the episodes; of recordings nothing was played.

    Raises:
        ConfigError: nothing that was recorded can be used.
        PlayerError: every episode failed.
    """
    if run.config.data.runs:
        return [], recorded(run)
    jobs = table.play(run, samples)
    return jobs, [(job.episode, tuple(table.learned(job))) for job in jobs]


def judge(
    episodes: Iterable[tuple[Episode, Sequence[str]]], rewards: Rewards, *, share_fault: bool
) -> list[Judged]:
    """The parts of episodes that say something about their role.

    Args:
        episodes: each with the roles to learn.
        rewards: what a part is worth.
        share_fault: count a part although another role broke the game.
    """
    return [
        Judged(episode, role, found[0])
        for episode, roles in episodes
        for role in roles
        if share_fault or not partner_broke_it(episode, role)
        if (found := rewards.returns(episode, role))
    ]


def situations(parts: Iterable[Judged]) -> list[list[Judged]]:
    """The parts by what they faced: game and rules, instance, chance moves, role."""
    groups: dict[tuple[str, ...], list[Judged]] = {}
    for part in parts:
        episode = part.episode
        key = (episode.game, episode.rules, episode.instance, part.role)
        groups.setdefault(key, []).append(part)
    found: list[list[Judged]] = []
    for group in groups.values():
        # Chance moves depend on the seed of the run; without any, all runs are alike.
        chance = any(part.episode.draws() for part in group)
        alike: dict[int, list[Judged]] = {}
        for part in group:
            alike.setdefault(part.episode.seed if chance else 0, []).append(part)
        found += alike.values()
    return found


# --- whole dialogues -----------------------------------------------------------------------------


def dialogue_pairs(
    chat: ChatFormat, parts: Iterable[Judged], *, match: Match = "extremes", margin: float = 0.0
) -> list[PreferenceRow]:
    """Pairs of whole dialogues in the same situation.

    Where a part has several rows (side questions, templates that rewrite history), those that
    begin with the same reply of the role make a pair.

    Args:
        chat: the learner's chat format.
        parts: what was played.
        match: the best of a situation against the worst (``extremes``), or ``all`` pairs.
        margin: the difference in return has to exceed it.
    """
    found: list[PreferenceRow] = []
    for group in situations(parts):
        ranked = sorted(group, key=lambda part: -part.value)
        matched: Iterable[tuple[Judged, Judged]] = itertools.combinations(ranked, 2)
        if match == "extremes":
            matched = [(ranked[0], ranked[-1])]
        for better, worse in matched:
            difference = better.value - worse.value
            if difference > margin:
                ours = _by_first_reply(learner_rows(chat, better.episode, better.role))
                theirs = _by_first_reply(learner_rows(chat, worse.episode, worse.role))
                for first in sorted(ours.keys() & theirs.keys()):
                    found += _pair(
                        (ours[first], theirs[first]),
                        (better.episode, worse.episode),
                        better.role,
                        names=(better.episode.name, worse.episode.name),
                        difference=difference,
                    )
    return found


def _by_first_reply(rows: Iterable[Row]) -> dict[int, Row]:
    return {row.spans[0][0]: row for row in rows if row.spans}


def _pair(
    rows: tuple[Row, Row],
    episodes: tuple[Episode, Episode],
    role: str,
    *,
    names: tuple[str, str],
    difference: float,
    turn: int | None = None,
    error: float | None = None,
) -> Iterator[PreferenceRow]:
    both = sides(*rows)
    if both is not None:
        yield PreferenceRow(
            **both._asdict(),
            game=episodes[0].game,
            instance=episodes[0].instance,
            role=role,
            better=names[0],
            worse=names[1],
            turn=turn,
            difference=difference,
            error=error,
        )


# --- single replies ------------------------------------------------------------------------------


class Forking(NamedTuple):
    """How replies are compared by playing on.

    Attributes:
        candidates: replies that are sampled at a turn.
        continuations: how often the game is played on after each of them.
        turns: ``one`` random reply of each role in an episode, or ``all``.
        z: a difference has to exceed so many of its standard errors.
        margin: and this.
        seed: of the choice of turns.
        share_fault: count a continuation although another role broke the game.
    """

    candidates: int = 4
    continuations: int = 4
    turns: Turns = "one"
    z: float = 1.0
    margin: float = 0.0
    seed: int = 0
    share_fault: bool = False


@dataclass(eq=False, slots=True)
class _Candidate:
    """A reply that was sampled, and all that was played with it."""

    number: int
    job: Job
    returns: list[float] = field(default_factory=list)

    def ends(self, turn: int) -> bool:
        """Whether nobody said anything after it, so that its value is known exactly."""
        return len(self.job.episode.replies()) == turn + 1


@dataclass(eq=False, slots=True)
class _Branch:
    """A reply of an episode that is compared with others in its place.

    `turn` counts the replies of all roles, `own` those of the role; candidates by their text.
    """

    job: Job
    role: str
    turn: int
    own: int
    candidates: dict[str, _Candidate] = field(default_factory=dict)


def turn_pairs(
    chat: ChatFormat, jobs: Sequence[Job], table: PreferenceRollouts, rewards: Rewards, how: Forking
) -> list[PreferenceRow]:
    """Pairs of replies in the same place of the same dialogue.

    At each chosen turn the episode is forked and new replies are sampled: the candidates.  The
    game is played on from each of them `continuations` times, the fork that brought it included,
    with identical chance moves.  A candidate's value is the mean return of the role from that
    reply on.  The best and the worst candidate make a pair if the difference of their values
    exceeds `z` standard errors.

    The error of a value is estimated with add-one smoothing: as if the lowest and the highest
    return that was seen at this turn had come once more each.  So a few identical outcomes are no
    certainty (four wins out of four have an error of 0.2, not 0).  Only a reply that ended the
    game has an exact value.

    Args:
        chat: the learner's chat format.
        jobs: finished ones; their recordings are the dialogues to fork.
        table: plays.
        rewards: what is earned.
        how: how often, and what is kept.
    """
    branches = [
        _Branch(job, role, turn, own)
        for job in jobs
        for role in table.learned(job)
        for own, turn in _chosen_turns(job.episode, role, how)
    ]
    _sample(branches, table, rewards, how)
    # Only different replies can be compared.
    branches = [branch for branch in branches if len(branch.candidates) > 1]
    _play_on(branches, table, rewards, how)
    return [row for branch in branches for row in _compared(chat, branch, how)]


def _chosen_turns(episode: Episode, role: str, how: Forking) -> list[tuple[int, int]]:
    """Which replies of a role are compared: their number among its own, and among all."""
    said = [number for number, reply in enumerate(episode.replies()) if reply.role == role]
    turns = list(enumerate(said))
    if how.turns == "all" or not turns:
        return turns
    chance = random.Random(derive_seed(how.seed, "turn", episode.sampling_seed, role))
    return [chance.choice(turns)]


def _sample(
    branches: Sequence[_Branch], table: PreferenceRollouts, rewards: Rewards, how: Forking
) -> None:
    """Sample the candidates of all branches; what they lead to is their first continuation."""
    forks: list[tuple[_Branch, int, Job]] = []
    for branch in branches:
        for number in range(how.candidates):
            seed = derive_seed(
                branch.job.episode.sampling_seed, "candidate", branch.role, branch.turn, number
            )
            forks.append((branch, number, branch.job.forked(branch.turn, seed)))
    table.finish([job for _, _, job in forks])
    for branch, number, job in forks:
        if job.episode.outcome is None:
            continue
        text = job.episode.replies()[branch.turn].reply.text
        candidate = branch.candidates.setdefault(text, _Candidate(number, job))
        candidate.returns += _later(branch, job.episode, rewards, how)


def _play_on(
    branches: Sequence[_Branch], table: PreferenceRollouts, rewards: Rewards, how: Forking
) -> None:
    """Play on from each candidate, until it has been played as often as wanted."""
    forks: list[tuple[_Branch, _Candidate, Job]] = []
    for branch in branches:
        for candidate in branch.candidates.values():
            if candidate.ends(branch.turn):
                continue
            for number in range(len(candidate.returns), how.continuations):
                seed = derive_seed(
                    branch.job.episode.sampling_seed,
                    "continuation",
                    branch.role,
                    branch.turn,
                    candidate.number,
                    number,
                )
                job = candidate.job.forked(branch.turn + 1, seed)
                forks.append((branch, candidate, job))
    if forks:
        table.finish([job for _, _, job in forks])
    for branch, candidate, job in forks:
        if job.episode.outcome is not None:
            candidate.returns += _later(branch, job.episode, rewards, how)


def _later(branch: _Branch, episode: Episode, rewards: Rewards, how: Forking) -> list[float]:
    """The return from the branch on; nothing if another role broke the game."""
    if not how.share_fault and partner_broke_it(episode, branch.role):
        return []
    return [rewards.returns(episode, branch.role)[branch.own]]


def _compared(chat: ChatFormat, branch: _Branch, how: Forking) -> Iterator[PreferenceRow]:
    """The pair of best and worst candidate, if there is one."""
    tried = [candidate for candidate in branch.candidates.values() if candidate.returns]
    if len(tried) < 2:
        return
    seen = [value for candidate in tried for value in candidate.returns]
    extremes = (min(seen), max(seen))
    best, worst = max(tried, key=_value), min(tried, key=_value)
    difference = _value(best) - _value(worst)
    errors = [
        0.0 if c.ends(branch.turn) else standard_error(c.returns, *extremes) for c in (best, worst)
    ]
    error = math.hypot(*errors)
    if difference <= max(how.margin, how.z * error):
        return
    episodes = (best.job.episode, worst.job.episode)
    rows = [_reply_row(chat, episode, branch) for episode in episodes]
    yield from _pair(
        (rows[0], rows[1]),
        episodes,
        branch.role,
        names=(
            f"{episodes[0].name} candidate {best.number}",
            f"{episodes[1].name} candidate {worst.number}",
        ),
        difference=difference,
        turn=branch.turn,
        error=error,
    )


def _value(candidate: _Candidate) -> float:
    return math.fsum(candidate.returns) / len(candidate.returns)


def standard_error(returns: Sequence[float], low: float, high: float) -> float:
    """Standard error of a mean return, as if `low` and `high` had come once more each.

    Args:
        returns: at least one.
        low: lowest return that could be expected.
        high: highest one.
    """
    values = [*returns, low, high]
    mean = math.fsum(values) / len(values)
    variance = math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return math.sqrt(variance / len(returns))


def _reply_row(chat: ChatFormat, episode: Episode, branch: _Branch) -> Row:
    """The row up to a reply, without what came after it."""
    for row in learner_rows(chat, episode, branch.role):
        for turn, start, end in row.spans:
            if turn == branch.own:
                return Row(row.ids[:end], row.mask[:end], row.logprobs[:end], [(turn, start, end)])
    raise AssertionError(f"{episode.name} has no reply {branch.own} of {branch.role}")


# --- unpaired ------------------------------------------------------------------------------------


def labelled(
    chat: ChatFormat, parts: Iterable[Judged], *, label: Label = "success", threshold: float = 0.0
) -> list[UnpairedRow]:
    """Rows of dialogues that are wanted or not.

    Args:
        chat: the learner's chat format.
        parts: what was played.
        label: wanted is what was won (``success``), what returned more than the ``threshold``, or
            more than the mean of its situation (``group``; what returned just the mean says
            nothing and is left out).
        threshold: see `label`.
    """
    found: list[UnpairedRow] = []
    for group in situations(parts):
        mean = math.fsum(part.value for part in group) / len(group)
        for episode, role, value in group:
            if label == "group" and math.isclose(value, mean, abs_tol=1e-9):
                continue
            limit = mean if label == "group" else threshold
            desirable = episode.success if label == "success" else value > limit
            for row in learner_rows(chat, episode, role):
                if not any(row.mask):
                    continue
                begin, end = row.spans[0][1], row.spans[-1][2]
                found.append(
                    UnpairedRow(
                        prompt=row.ids[:begin],
                        completion=row.ids[begin:end],
                        mask=row.mask[begin:end],
                        desirable=desirable,
                        game=episode.game,
                        instance=episode.instance,
                        role=role,
                        episode=episode.name,
                        value=value,
                    )
                )
    return found


# --- kept with the training ----------------------------------------------------------------------


def at_most(rows: list[RowT], count: int | None, seed: int) -> list[RowT]:
    """A random choice of so many rows, in their order."""
    if count is None or len(rows) <= count:
        return rows
    chosen = random.Random(derive_seed(seed, "rows")).sample(range(len(rows)), count)
    return [rows[number] for number in sorted(chosen)]


def kept(
    path: Path,
    kind: type[RowT],
    args: transformers.TrainingArguments,
    make: Callable[[], tuple[Numbers, list[RowT]]],
) -> tuple[Numbers, list[RowT]]:
    """Rows that are made once in a training, so that it resumes with the same ones.

    Args:
        path: a file of JSON Lines; the first line tells what was played, the others are rows.
        kind: of the rows.
        args: only the first process plays, the others wait for it.
        make: plays, and gives both.
    """
    with args.main_process_first(local=False):
        if not path.exists():
            _write(path, *make())
    lines = path.read_bytes().splitlines()
    decoder = msgspec.json.Decoder(kind)
    return msgspec.json.decode(lines[0], type=Numbers), [decoder.decode(x) for x in lines[1:]]


def _write(path: Path, numbers: Numbers, rows: Sequence[msgspec.Struct]) -> None:
    unfinished = path.with_suffix(".tmp")
    lines = [msgspec.json.encode(numbers), *(msgspec.json.encode(row) for row in rows)]
    unfinished.write_bytes(b"\n".join(lines) + b"\n")
    unfinished.replace(path)


def too_long(left_out: int, rows: int, limit: int) -> None:
    """Say how many rows are left out.

    Raises:
        ConfigError: all are.
    """
    if left_out == rows:
        raise ConfigError(
            f"none of the {rows} rows has anything to train within {limit} tokens; "
            "raise trainer.max_length"
        )
    if left_out:
        warnings.warn(
            f"{left_out} of {rows} rows have nothing to train within {limit} tokens and are left "
            "out",
            stacklevel=2,
        )
