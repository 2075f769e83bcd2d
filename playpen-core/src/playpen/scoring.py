"""Scores of a run: % played, quality and clemscore, rounded as upstream rounds them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import msgspec

from playpen.episode import Episode, Key
from playpen.game import Game


def round2(value: float) -> float:
    """Round to two decimals as numpy does (specs/clemscore.md, section 5).

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


class TokenCount(msgspec.Struct):
    """Tokens that a player read and wrote, as far as it counts them: see `playpen.Reply`."""

    prompt: int = 0
    completion: int = 0


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


def _add_tokens(tokens: dict[str, TokenCount], episode: Episode) -> None:
    """Count an episode's tokens for the players of its roles, by label."""
    for said in episode.replies():
        prompt, completion = said.reply.prompt_tokens, said.reply.completion_tokens
        if prompt is not None or completion is not None:
            count = tokens.setdefault(episode.players.get(said.role, said.role), TokenCount())
            count.prompt += prompt or 0
            count.completion += completion or 0


def score_game(
    name: str, scores: Iterable[Mapping[str, Any]], *, failed: int = 0, unscored: int = 0
) -> GameScore:
    """Aggregate the episode-level scores of one game (specs/clemscore.md, section 3)."""
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
    )


def score_games(games: Iterable[GameScore]) -> RunScore:
    """Average over games (specs/clemscore.md, section 4).

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


def score_episodes(episodes: Iterable[Episode], games: Mapping[str, Game]) -> RunScore:
    """Score episodes of any number of games.

    Of the attempts at one unit of work the finished one counts; a unit that only failed is
    counted as failed and enters no mean.

    Args:
        episodes: failed attempts included.
        games: the games by name.
    """
    tokens: dict[str, TokenCount] = {}
    rows: dict[str, list[dict[str, Any]]] = {}
    unscored: dict[str, int] = {}
    failures: dict[Key, str] = {}
    finished = set()
    for episode in episodes:
        _add_tokens(tokens, episode)
        if episode.failure is not None:
            failures[episode.key] = episode.game
            continue
        if episode.outcome is None:
            continue
        finished.add(episode.key)
        if episode.outcome.unscored:
            unscored[episode.game] = unscored.get(episode.game, 0) + 1
            continue
        row = episode_scores(games[episode.game], episode)
        rows.setdefault(episode.game, []).append(row)
    failed: dict[str, int] = {}
    for key, name in failures.items():
        if key not in finished:
            failed[name] = failed.get(name, 0) + 1
    names = rows.keys() | failed.keys() | unscored.keys()
    score = score_games(
        score_game(
            name,
            rows.get(name, []),
            failed=failed.get(name, 0),
            unscored=unscored.get(name, 0),
        )
        for name in names
    )
    score.tokens = tokens
    return score


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


Results: TypeAlias = dict[str, dict[str, Attempts]]
"""Per game, what was done on each instance (by its hash)."""


def results_of(episodes: Iterable[Episode], games: Mapping[str, Game]) -> Results:
    """What was done on each instance, by the flags and main scores that aggregates count.

    Episodes that failed or that aggregates leave out are no attempts.

    Args:
        episodes: of any number of games.
        games: the games by name.
    """
    found: Results = {}
    for episode in episodes:
        if episode.outcome is None or episode.outcome.unscored:
            continue
        scores = episode_scores(games[episode.game], episode)
        main = scores["Main Score"]
        scored = main is not None and not math.isnan(main)
        played, won = not scores["Aborted"], bool(scores["Success"])
        counts = (1, played, scored, main if scored else 0, won)
        table = found.setdefault(episode.game, {})
        before = table.get(episode.instance, Attempts(0, 0, 0, 0, 0))
        table[episode.instance] = Attempts(*map(sum, zip(before, counts, strict=True)))
    return found


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _sample_std(values: Sequence[float]) -> float:
    mean = _mean(values)
    return math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))
