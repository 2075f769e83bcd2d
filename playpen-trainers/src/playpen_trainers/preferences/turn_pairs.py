"""Pairs of replies in the same place of the same dialogue, the better one by playing on."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeAlias

from playpen.chat_format import ChatFormat
from playpen.conversation import Row, derive_seed
from playpen.episode import Episode
from playpen.rewards import Rewards, partner_broke_it
from playpen.rollout import Job
from playpen_trainers.episode_rows import learner_rows
from playpen_trainers.preferences.rollouts import PreferenceRollouts
from playpen_trainers.preferences.rows import TokenPair, token_pair

Turns: TypeAlias = Literal["one", "all"]


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
    chat: ChatFormat,
    jobs: Sequence[Job],
    rollouts: PreferenceRollouts,
    rewards: Rewards,
    how: Forking,
) -> list[TokenPair]:
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
        rollouts: play.
        rewards: what is earned.
        how: how often, and what is kept.
    """
    branches = [
        _Branch(job, role, turn, own)
        for job in jobs
        for role in rollouts.learned(job)
        for own, turn in _chosen_turns(job.episode, role, how)
    ]
    _sample(branches, rollouts, rewards, how)
    # Only different replies can be compared.
    branches = [branch for branch in branches if len(branch.candidates) > 1]
    _play_on(branches, rollouts, rewards, how)
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
    branches: Sequence[_Branch], rollouts: PreferenceRollouts, rewards: Rewards, how: Forking
) -> None:
    """Sample the candidates of all branches; what they lead to is their first continuation."""
    forks: list[tuple[_Branch, int, Job]] = []
    for branch in branches:
        for number in range(how.candidates):
            seed = derive_seed(
                branch.job.episode.sampling_seed, "candidate", branch.role, branch.turn, number
            )
            forks.append((branch, number, branch.job.forked(branch.turn, seed)))
    rollouts.finish([job for _, _, job in forks])
    for branch, number, job in forks:
        if job.episode.outcome is None:
            continue
        text = job.episode.replies()[branch.turn].reply.text
        candidate = branch.candidates.setdefault(text, _Candidate(number, job))
        candidate.returns += _later(branch, job.episode, rewards, how)


def _play_on(
    branches: Sequence[_Branch], rollouts: PreferenceRollouts, rewards: Rewards, how: Forking
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
        rollouts.finish([job for _, _, job in forks])
    for branch, candidate, job in forks:
        if job.episode.outcome is not None:
            candidate.returns += _later(branch, job.episode, rewards, how)


def _later(branch: _Branch, episode: Episode, rewards: Rewards, how: Forking) -> list[float]:
    """The return from the branch on; nothing if another role broke the game."""
    if not how.share_fault and partner_broke_it(episode, branch.role):
        return []
    return [rewards.returns(episode, branch.role)[branch.own]]


def _compared(chat: ChatFormat, branch: _Branch, how: Forking) -> Iterator[TokenPair]:
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
    yield from token_pair(
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
