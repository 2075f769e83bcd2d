"""The family's metrics, from the record of an episode (docs/rules/wordle.md, "Scores")."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from playpen.episode import Episode
from playpen.game import Metrics
from playpen.moves import Violated
from playpen_clembench.counts import request_counts
from playpen_clembench.record import noted
from playpen_clembench.wordle import feedback
from playpen_clembench.wordle.reply_format import UNKNOWN_WORD


def metrics(episode: Episode) -> Metrics:
    """The scores that all variants share."""
    committed = noted(episode.events, "committed guess")
    return Metrics(
        episode={
            "Aborted": int(episode.aborted),
            "Lose": int(episode.lose),
            "Success": int(episode.success),
            **_request_counts(episode),
            "Main Score": episode.main_score,
            "Guess Repetitions": _repetitions(episode, [entry["guess"] for entry in committed]),
        },
        rounds=_round_scores([entry["feedback"] for entry in committed], episode.aborted),
    )


def critic_metrics(episode: Episode) -> Metrics:
    """The scores of the variant with a critic: the shared ones and the guesser's reactions."""
    result = metrics(episode)
    # A round counts when it is complete, so what a trailing round began is left out by the zip.
    rounds = list(
        zip(
            noted(episode.events, "tentative guess"),
            noted(episode.events, "verdict"),
            noted(episode.events, "committed guess"),
            strict=False,
        )
    )
    agreed: list[bool] = []
    disagreed: list[bool] = []
    for key, (tentative, verdict, committed) in enumerate(rounds, start=1):
        kept = tentative["guess"] == committed["guess"]
        result.rounds[str(key)]["Change-Of-Opinion"] = int(not kept)
        (agreed if verdict["agrees"] else disagreed).append(kept)
    for name, group in (("Agreement", agreed), ("Disagreement", disagreed)):
        kept_share, changed_share = _shares(group) if rounds else (None, None)
        result.episode[f"Repetition-Guesser-On-Critic-{name}"] = kept_share
        result.episode[f"Non-Repetition-Guesser-On-Critic-{name}"] = changed_share
    return result


def _request_counts(episode: Episode) -> dict[str, Any]:
    """Every reply is a request; an unknown word counts as parsed, any other violation does not."""
    violated = sum(isinstance(e, Violated) and e.code != UNKNOWN_WORD for e in episode.events)
    return request_counts(len(episode.replies()), violated)


def _repetitions(episode: Episode, guesses: list[str]) -> int | None:
    return None if episode.aborted else len(guesses) - len(set(guesses))


def _round_scores(feedbacks: Sequence[str], aborted: bool) -> dict[str, dict[str, Any]]:
    """Closeness and strategy of each committed guess, under keys from "1"; "0" if there is none."""
    if not feedbacks:
        return {"0": {"Closeness Score": None, "Strategy Score": None}}
    marked = [feedback.read(text) for text in feedbacks]
    strategies = [100 if len(marked) == 1 and not aborted else 0]
    for before, now in pairwise(marked):
        strategies.append(feedback.strategy(before, "".join(letter for letter, _ in now)))
    return {
        str(key): {
            "Closeness Score": feedback.closeness(tuple(colour for _, colour in letters)),
            "Strategy Score": value,
        }
        for key, (letters, value) in enumerate(zip(marked, strategies, strict=True), start=1)
    }


def _shares(kept: Sequence[bool]) -> tuple[float, float]:
    """Shares of rounds in which the guess was kept and changed; both 0 if there is no round."""
    if not kept:
        return 0, 0
    return round(sum(kept) / len(kept), 2), round((len(kept) - sum(kept)) / len(kept), 2)
