"""The scores of an episode, read from its record (docs/rules/adventuregame.md, "Scores")."""

from __future__ import annotations

import itertools
from typing import Any

from playpen.episode import Episode, Event, Said
from playpen.game import Metrics
from playpen.instance import Instance
from playpen.moves import Abort, Note, Violated
from playpen_clembench.adventuregame.exploration import Exploration
from playpen_clembench.adventuregame.interpreter import Result
from playpen_clembench.adventuregame.replies import NO_COMMAND, NO_PLAN
from playpen_clembench.adventuregame.world import Fact
from playpen_clembench.counts import plain_counts, request_counts
from playpen_clembench.record import events_by_round, noted

FAILURES = (
    "lark_exception",
    "malformed_command",
    "undefined_action_verb",
    "undefined_action",
    "undefined_repr_str",
    "manipulating_room",
    "undefined_argument_type",
    "taking_from_inventory",
    "other_room_argument",
    "domain_trait_type_mismatch",
    "domain_type_discrepancy",
    "world_state_discrepancy",
    "entity_not_accessible",
    "entity_state_mismatch",
    "entity_trait_mismatch",
    "entity_already_inventory",
    "going_to_current_room",
    "no_exit_to",
    "inventory_limit_exceeded",
)
"""Every type of failure that is counted; some of upstream's names cannot occur."""

END_CLAIMS = ("complete", "finish", "done", "successfully")
"""What a reply without a command may say that shows that the player believes to be done."""

TURN_LIMIT = "turn_limit"

Scores = dict[str, Any]


def setting(instance: Instance, goals: frozenset[Fact]) -> Scores:
    """What the scores need of an instance; the game notes it."""
    return {
        "variant": instance["variant"],
        "max_turns": instance["max_turns"],
        "optimal_turns": instance["optimal_turns"],
        "goal_count": len(goals),
    }


def action(result: Result, exploration: Exploration) -> Scores:
    """What the scores and a reader of the transcript need of a command; the game notes it."""
    failure = result.failure
    return {
        "action": result.action,
        "failure": None if failure is None else failure.type,
        "phase": None if failure is None else failure.phase,
        "exploration": exploration.measures(result.action),
    }


def metrics(episode: Episode) -> Metrics:
    """The scores of all turns and of the episode."""
    setting: Scores = next(iter(noted(episode.events, "adventure")), {})
    turns = [_Turn(events) for events in events_by_round(episode.events)]
    turns = [turn for turn in turns if turn.asked]
    finished = False
    rounds = {}
    for number, turn in enumerate(turns):
        rounds[str(number)] = turn.scores(finished)
        finished = finished or turn.finished
    achieved: list[str] = next((t.goals["achieved"] for t in reversed(turns) if t.goals), [])
    table = list(rounds.values())
    return Metrics(
        {
            **_sums(table),
            "turn_limit_loss": int(
                isinstance(episode.outcome, Abort) and episode.outcome.code == TURN_LIMIT
            ),
            **(_speed(len(turns), setting) if finished else dict.fromkeys(SPEEDS)),
            "achieved_goal_ratio": len(achieved) / setting["goal_count"] if setting else 0,
            **_plan_ratios(table),
        },
        rounds,
    )


class _Turn:
    """What happened in one turn."""

    def __init__(self, events: list[Event]) -> None:
        self.reply = next((e.reply.text for e in events if isinstance(e, Said)), "")
        self.asked = any(isinstance(event, Said) for event in events)
        self.violation = next((e.code for e in events if isinstance(e, Violated)), None)
        notes = {e.kind: e.data for e in events if isinstance(e, Note)}
        self.action: Scores = notes.get("action", {})
        self.goals: Scores = notes.get("goals", {})
        self.plan: Scores = notes.get("plan", {})
        self.finished = "finished" in notes

    def scores(self, finished_before: bool) -> Scores:
        failure = self.action.get("failure")
        phase = self.action.get("phase")
        return {
            **plain_counts(1, int(self.violation is not None)),
            NO_COMMAND: int(self.violation == NO_COMMAND),
            NO_PLAN: int(self.violation == NO_PLAN),
            "hallucination": int(self._claims_the_end(finished_before)),
            "action_parsing_fail": int(phase == "parsing"),
            "action_resolution_fail": int(phase == "resolution"),
            **{name: int(name == failure) for name in FAILURES},
            "goal_score": self.goals.get("change", 0),
            **self.action.get("exploration", {}),
            "plan_followed": int(self.plan.get("followed") or 0),
            "plan_command_success_ratio": self.plan.get("viability", 0),
            # Always 0 upstream, which has no previous turn to look at here.
            "bad_plan_followed": 0,
        }

    def _claims_the_end(self, finished_before: bool) -> bool:
        if self.violation == NO_COMMAND:
            return any(claim in self.reply for claim in END_CLAIMS)
        done = self.action.get("action") == "done" and not self.action.get("failure")
        return done and not finished_before


def _sums(table: list[Scores]) -> Scores:
    def total(name: str) -> int:
        return sum(scores[name] for scores in table)

    parsing, resolution = total("action_parsing_fail"), total("action_resolution_fail")
    counts = request_counts(len(table), total("Violated Request Count"))
    return {
        **counts,
        "hallucination_count": total("hallucination"),
        "action_parsing_fail": parsing,
        "action_resolution_fail": resolution,
        **{name: total(name) for name in FAILURES},
        "successful_actions": counts["Parsed Request Count"] - parsing - resolution,
    }


SPEEDS = ("turns_over_par", "turn_ratio", "finish_speed")


def _speed(turns: int, setting: Scores) -> Scores:
    over_par = turns - setting["optimal_turns"]
    spare = setting["max_turns"] - setting["optimal_turns"]
    ratio = 1 - over_par / spare if spare else None
    speed = None if ratio is None else 1 - ratio
    return dict(zip(SPEEDS, (over_par, ratio, speed), strict=True))


def _plan_ratios(table: list[Scores]) -> Scores:
    turns = len(table)
    later = list(itertools.pairwise(table))
    followed = sum(scores["plan_followed"] for _, scores in later)
    viability = sum(scores["plan_command_success_ratio"] for scores in table)
    bad = sum(
        scores["plan_followed"]
        for before, scores in later
        if before["plan_command_success_ratio"] == 0
    )
    bad_ratio = bad / turns if turns else 0
    return {
        "plan_followed_ratio": followed / turns if turns else 0,
        "plan_average_viability_ratio": viability / turns if turns else 0,
        "bad_plan_follow_ratio": bad_ratio,
        "bad_plan_dismiss_ratio": 1 - bad_ratio,
    }
