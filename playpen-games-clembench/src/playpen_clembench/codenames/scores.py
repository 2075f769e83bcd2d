"""The metrics, computed from the record of an episode (docs/rules/codenames.md, "Scores")."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from playpen.episode import Episode, Event
from playpen.game import Metrics
from playpen.instance import Instance
from playpen.moves import Abort, Note, Violated
from playpen_clembench.codenames.board import ASSASSIN, ASSIGNMENTS, INNOCENT, OPPONENT, TEAM, Board
from playpen_clembench.codenames.replies import NUMBER_WITH_CLUE, REPROMPT, Clue
from playpen_clembench.codenames.roles import CLUEGIVER, GUESSER
from playpen_clembench.counts import request_counts
from playpen_clembench.record import events_by_round, noted

_PLAYERS = {CLUEGIVER: "Cluegiver", GUESSER: "Guesser"}
_AVERAGED = (
    "Cluegiver Number of Targets",
    "Cluegiver Team Precision",
    "Cluegiver Team Recall",
    "Cluegiver Team F1",
    "Guesser Number of Guesses",
    "Guesser Number of Revealed Words",
    "Guesser Number of Unrevealed Guesses",
    "Guesser Target Precision",
    "Guesser Target Recall",
    "Guesser Target F1",
    "Guesser Team Precision",
    "Guesser Team Recall",
    "Guesser Team F1",
)


def setting(instance: Instance) -> dict[str, Any]:
    """What the metrics need of an experiment; the game notes it."""
    config = instance.experiment.config
    return {
        "variable": config["variable"],
        # The counts: the instance's own field of that name holds the words.
        "assignments": config["assignments"],
        "flags": config["flags"],
    }


def clue_notes(clue: Clue, board: Board) -> Iterator[Note]:
    """What the metrics need of a clue; the game notes it."""
    yield Note("clue", clue.word)
    yield Note("targets", clue.targets)
    for word in clue.targets:
        yield Note("word targeted", {"word": word, "assignment": board.assignment(word)})


def metrics(episode: Episode) -> Metrics:
    """All scores of an episode."""
    experiment = noted(episode.events, "experiment")[0]
    rounds = {
        str(number): _round_scores(events)
        for number, events in enumerate(events_by_round(episode.events))
    }
    return Metrics(
        episode={
            "experiment variable": experiment["variable"],
            "experiment name": episode.experiment,
            **_engaged_flags(episode, experiment["flags"]),
            **{f"Average {name}": _mean(rounds.values(), name) for name in _AVERAGED},
            "Aborted": int(episode.aborted),
            "Lose": int(episode.lose),
            "Success": int(episode.success),
            **_progress(episode, experiment, rounds),
            **request_counts(len(episode.replies()), int(episode.aborted), digits=3),
            "Main Score": episode.main_score,
        },
        rounds=rounds,
    )


def _round_scores(events: list[Event]) -> dict[str, Any]:
    """The scores of one round; what was not reached counts as nothing."""
    (status,) = noted(events, "board status")
    hidden = len(status["hidden"][TEAM])
    targeted = _by_assignment(noted(events, "word targeted"))
    (guesses,) = noted(events, "guesses") or [[]]
    target_hits = len(noted(events, "target revealed"))
    revealed = {"target": target_hits, **_by_assignment(noted(events, "team revealed"))}
    errors = Counter(
        # Upstream's mistake, kept for its scores: the guesser is blamed for the cluegiver's number.
        GUESSER if event.code == NUMBER_WITH_CLUE else event.role
        for event in events
        if isinstance(event, Violated)
    )
    return {
        "turn": {
            **{name: {"validation error": errors[role]} for role, name in _PLAYERS.items()},
            "targeted": targeted,
            "guesses": guesses,
            "revealed": revealed,
        },
        **{f"{name} validation error": errors[role] for role, name in _PLAYERS.items()},
        "Cluegiver Number of Targets": targeted["total"],
        **_agreement("Cluegiver Team", targeted[TEAM], targeted["total"], hidden),
        "Guesser Number of Guesses": len(guesses),
        "Guesser Number of Revealed Words": revealed["total"],
        "Guesser Number of Unrevealed Guesses": len(guesses) - revealed["total"],
        **_agreement("Guesser Target", target_hits, revealed["total"], targeted["total"]),
        **_agreement("Guesser Team", revealed[TEAM], revealed["total"], hidden),
    }


def _agreement(name: str, hits: int, chosen: int, wanted: int) -> dict[str, float]:
    precision, recall = _ratio(hits, chosen), _ratio(hits, wanted)
    return {
        f"{name} Precision": round(precision, 3),
        f"{name} Recall": round(recall, 3),
        f"{name} F1": round(_ratio(2 * precision * recall, precision + recall), 3),
    }


def _engaged_flags(episode: Episode, flags: dict[str, bool]) -> dict[str, int]:
    (engaged,) = noted(episode.events, "engaged flags") or [{}]
    return {
        f"{name} {flag.lower()}": engaged.get(role, {}).get(flag, 0)
        for flag, is_set in flags.items()
        if is_set
        for role, name in _PLAYERS.items()
    }


def _progress(
    episode: Episode, experiment: dict[str, Any], rounds: dict[str, dict[str, Any]]
) -> dict[str, Any]:
    """How far the team came, and how fast."""
    revealed = _by_assignment(noted(episode.events, "team revealed"))
    counts = experiment["assignments"]
    others = (OPPONENT, INNOCENT, ASSASSIN)
    mistakes = _ratio(sum(revealed[name] for name in others), sum(counts[name] for name in others))
    turns = _number_of_turns(episode, len(rounds), experiment["flags"])
    guesses = sum(scores["Guesser Number of Guesses"] for scores in rounds.values())
    return {
        "Game ended through assassin": int(episode.lose and revealed[ASSASSIN] > 0),
        "Episode Recall": round(_ratio(revealed[TEAM], counts[TEAM]), 3),
        "Episode Negative Recall": round(1 - mistakes, 3),
        "Number of turns": turns,
        "Efficiency": round(min(_ratio(0.5 * guesses, turns), 1), 3),
    }


def _number_of_turns(episode: Episode, rounds: int, flags: dict[str, bool]) -> int:
    """One more than there were rounds, if the turn had passed on from the cluegiver at the end.

    With `REPROMPT` it does not pass on after an invalid reply: then the opposite holds.
    """
    outcome = episode.outcome
    passed_on = not (isinstance(outcome, Abort) and outcome.fault == CLUEGIVER)
    if isinstance(outcome, Abort) and flags[REPROMPT]:
        passed_on = not passed_on
    return rounds + passed_on


def _by_assignment(words: list[dict[str, str]]) -> dict[str, int]:
    counts = Counter(word["assignment"] for word in words)
    return {**{name: counts[name] for name in ASSIGNMENTS}, "total": len(words)}


def _mean(rounds: Iterable[dict[str, Any]], name: str) -> float:
    # Exact means: with floats, ties such as 0.4445 would be rounded otherwise than upstream's.
    return round(float(statistics.mean(scores[name] for scores in rounds)), 3)


def _ratio(part: float, whole: float) -> float:
    """A share; 0 of nothing."""
    return part / whole if whole else 0
