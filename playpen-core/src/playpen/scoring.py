"""Scores of a run: % played, quality and clemscore, rounded as upstream rounds them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import msgspec

from playpen.conversation import Reply
from playpen.episode import Episode, Key
from playpen.game import Game
from playpen.moves import own_scores


def round2(value: float) -> float:
    """Round to two decimals as numpy does (docs/rules/clemscore.md, "Rounding").

    Differs from ``round(value, 2)`` in rare cases, and published tables follow this rule.
    """
    return round(value * 100) / 100


def episode_scores(game: Game, episode: Episode) -> dict[str, Any]:
    """All episode-level scores under upstream's names; a missing number is `None`."""
    scores: dict[str, Any] = {
        "Aborted": int(episode.aborted),
        "Success": int(episode.success),
        "Lose": int(episode.lose),
        "Main Score": episode.main_score,
    }
    scores.update(game.metrics(episode).episode)
    return scores


class GameScore(msgspec.Struct):
    """Scores of one game in one run.

    Attributes:
        played: percentage of episodes that were not aborted.
        quality: mean main score of the episodes that have one; `None` if none has.
        quality_std: sample standard deviation of the same numbers; `None` for fewer than two.
        clemscore: ``played / 100 * quality``.
        episodes, aborted, success, lose: counts.
        failed: episodes without an outcome (infrastructure), not part of any mean.
        unscored: episodes that upstream's aggregation leaves out.
        role_scores: mean of each role's own score, over the episodes whose outcome states one.
    """

    game: str
    episodes: int
    played: float
    quality: float | None
    quality_std: float | None
    clemscore: float | None
    aborted: int
    success: int
    lose: int
    failed: int = 0
    unscored: int = 0
    role_scores: dict[str, float] = {}


class TokenCount(msgspec.Struct):
    """Tokens that a player read and wrote, as far as it counts them: see `playpen.Reply`.

    `uncounted` is how many of its replies are not in these numbers: see `is_uncounted`.
    """

    prompt: int = 0
    completion: int = 0
    uncounted: int = 0

    def __str__(self) -> str:
        if not self.uncounted:
            return f"{self.prompt} read, {self.completion} written"
        unknown = "unknown (the server does not count them)"
        if not (self.prompt or self.completion):
            return unknown
        return (
            f"{self.prompt} read, {self.completion} written, of {self.uncounted} replies {unknown}"
        )


class RunScore(msgspec.Struct):
    """Scores of a run: `games` in name order, and the averages over games.

    `tokens` holds what each player used, by label, failed attempts included.
    """

    games: list[GameScore]
    played: float | None
    quality: float | None
    clemscore: float | None
    tokens: dict[str, TokenCount] = {}


def tokens_of(episode: Episode) -> int:
    """Tokens that all players of an episode read and wrote, as far as they count them."""
    replies = (said.reply for said in episode.replies())
    return sum((reply.prompt_tokens or 0) + (reply.completion_tokens or 0) for reply in replies)


def is_uncounted(reply: Reply) -> bool:
    """Whether a model generated a reply and nobody knows with how many tokens.

    Some servers do not tell.  Programs and people generate nothing: they give no `stop_reason`.
    """
    counted = reply.prompt_tokens is not None or reply.completion_tokens is not None
    return reply.stop_reason in ("stop", "length") and not counted


def _add_tokens(tokens: dict[str, TokenCount], episode: Episode) -> None:
    """Count an episode's tokens for the players of its roles, by label."""
    for said in episode.replies():
        prompt, completion = said.reply.prompt_tokens, said.reply.completion_tokens
        uncounted = is_uncounted(said.reply)
        if prompt is not None or completion is not None or uncounted:
            count = tokens.setdefault(episode.players.get(said.role, said.role), TokenCount())
            count.prompt += prompt or 0
            count.completion += completion or 0
            count.uncounted += uncounted


def score_game(
    name: str,
    scores: Iterable[Mapping[str, Any]],
    *,
    failed: int = 0,
    unscored: int = 0,
    role_scores: Mapping[str, Sequence[float]] | None = None,
) -> GameScore:
    """Aggregate the episode-level scores of one game (docs/rules/clemscore.md, "Per game")."""
    rows = list(scores)
    main = [
        float(row["Main Score"])
        for row in rows
        if row["Main Score"] is not None and not math.isnan(row["Main Score"])
    ]
    flags = {flag: sum(1 for row in rows if row[flag]) for flag in ("Aborted", "Success", "Lose")}
    played = round2(100 * _mean([1 - row["Aborted"] for row in rows])) if rows else 0.0
    quality = round2(_mean(main)) if main else None
    return GameScore(
        game=name,
        episodes=len(rows),
        played=played,
        quality=quality,
        quality_std=round2(_sample_std(main)) if len(main) > 1 else None,
        clemscore=None if quality is None else round2(played / 100 * quality),
        aborted=flags["Aborted"],
        success=flags["Success"],
        lose=flags["Lose"],
        failed=failed,
        unscored=unscored,
        role_scores={role: _mean(values) for role, values in (role_scores or {}).items()},
    )


def score_games(games: Iterable[GameScore]) -> RunScore:
    """Average over games (docs/rules/clemscore.md, "Over games").

    A game without any numeric main score counts in the first average and not in the second.
    """
    table = sorted((g for g in games if g.episodes or g.failed or g.unscored), key=lambda g: g.game)
    counted = [game for game in table if game.episodes]
    if not counted:
        return RunScore(table, None, None, None)
    played = round2(_mean([game.played for game in counted]))
    qualities = [game.quality for game in counted if game.quality is not None]
    quality = round2(_mean(qualities)) if qualities else None
    clemscore = None if quality is None else round2(played / 100 * quality)
    return RunScore(table, played, quality, clemscore)


class Attempts(NamedTuple):
    """What a player did on one instance, over all repeats.

    Attributes:
        episodes: that ended, aborted ones included.
        played: that were not aborted.
        scored: that have a main score.
        total: sum of the main scores.
        won: that were won.
    """

    episodes: float
    played: float
    scored: float
    total: float
    won: float = 0.0

    @property
    def value(self) -> float:
        """Mean main score, where an episode without one counts as 0."""
        return self.total / self.episodes

    def with_another(self, scores: Mapping[str, Any]) -> Attempts:
        """These and one more, with its episode-level scores."""
        main = scores["Main Score"]
        scored = main is not None and not math.isnan(main)
        return Attempts(
            self.episodes + 1,
            self.played + (not scores["Aborted"]),
            self.scored + scored,
            self.total + (main if scored else 0),
            self.won + bool(scores["Success"]),
        )


Results: TypeAlias = dict[str, dict[str, Attempts]]
"""Per game, what was done on each instance (by its hash)."""


def score_ranges(games: Mapping[str, Game]) -> dict[str, tuple[float, float]]:
    """The smallest and the largest main score of each game."""
    return {name: game.score_range for name, game in games.items()}


class Aggregate:
    """Scores of episodes of any number of games, each judged once, as they come.

    Of the attempts at one unit of work the finished one counts; a unit that only failed is
    counted as failed and enters no mean.

    Attributes:
        results: what was done on each instance.
        tokens: what each player used, by label, failed attempts included.
    """

    def __init__(self, games: Mapping[str, Game]) -> None:
        """Nothing yet.

        Args:
            games: the games by name.
        """
        self.results: Results = {}
        self.tokens: dict[str, TokenCount] = {}
        self._games = games
        self._rows: dict[str, list[dict[str, Any]]] = {}
        self._role_scores: dict[str, dict[str, list[float]]] = {}
        self._unscored: Counter[str] = Counter()
        self._failures: dict[Key, str] = {}
        self._finished: set[Key] = set()

    def add(self, episode: Episode) -> dict[str, Any] | None:
        """Count an episode.

        Returns:
            Its scores; `None` if it failed, or if aggregates leave it out.
        """
        _add_tokens(self.tokens, episode)
        if episode.outcome is None:
            if episode.failure is not None:
                self._failures[episode.key] = episode.game
            return None
        self._finished.add(episode.key)
        if episode.outcome.unscored:
            self._unscored[episode.game] += 1
            return None
        scores = episode_scores(self._games[episode.game], episode)
        row = {name: scores[name] for name in ("Aborted", "Success", "Lose", "Main Score")}
        self._rows.setdefault(episode.game, []).append(row)
        for role, value in own_scores(episode.outcome).items():
            of_game = self._role_scores.setdefault(episode.game, {})
            of_game.setdefault(role, []).append(value)
        table = self.results.setdefault(episode.game, {})
        before = table.get(episode.instance, Attempts(0, 0, 0, 0, 0))
        table[episode.instance] = before.with_another(row)
        return scores

    def score(self) -> RunScore:
        """The scores of all that was counted."""
        failed = Counter(name for key, name in self._failures.items() if key not in self._finished)
        score = score_games(
            score_game(
                name,
                self._rows.get(name, []),
                failed=failed[name],
                unscored=self._unscored[name],
                role_scores=self._role_scores.get(name),
            )
            for name in self._rows.keys() | failed.keys() | self._unscored.keys()
        )
        score.tokens = self.tokens
        return score


def score_episodes(episodes: Iterable[Episode], games: Mapping[str, Game]) -> RunScore:
    """Score episodes, as `Aggregate` counts them.

    Args:
        episodes: failed attempts included.
        games: the games by name.
    """
    aggregate = Aggregate(games)
    for episode in episodes:
        aggregate.add(episode)
    return aggregate.score()


def results_of(episodes: Iterable[Episode], games: Mapping[str, Game]) -> Results:
    """What was done on each instance, by the flags and main scores that aggregates count.

    Episodes that failed or that aggregates leave out are no attempts.

    Args:
        episodes: of any number of games.
        games: the games by name.
    """
    aggregate = Aggregate(games)
    for episode in episodes:
        aggregate.add(episode)
    return aggregate.results


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _sample_std(values: Sequence[float]) -> float:
    mean = _mean(values)
    return math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))
