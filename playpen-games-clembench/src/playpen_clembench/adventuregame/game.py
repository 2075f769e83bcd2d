"""The rules of AdventureGame (specification of v2).

The player is to put three things in their places.  It sees only the room that it is in, gives one
command a turn, and says itself when it is done.
"""

from __future__ import annotations

from typing import Any

from playpen import (
    Abort,
    Episode,
    Game,
    Instance,
    Lose,
    Metrics,
    Note,
    Play,
    Reward,
    Role,
    Round,
    Success,
    ask,
)
from playpen_clembench.adventuregame import feedback, scores
from playpen_clembench.adventuregame.fingerprint import fingerprint
from playpen_clembench.adventuregame.interpreter import Interpreter, Result
from playpen_clembench.adventuregame.language import language
from playpen_clembench.adventuregame.planning import Planner
from playpen_clembench.adventuregame.replies import reader
from playpen_clembench.adventuregame.world import World, fact_text, parse_fact

ADVENTURER = "adventurer"
PLAN = "plan"
LIMITED_ACTIONS = "basic_actions_v2_invlimit.json"
"""Name of the rule set in which only two things can be carried."""


class AdventureGame(Game):
    """Find things in a house and deliver them.

    Each command is rewarded with the share of the goals that it reaches, or loses: the rewards of
    an episode add up to the share that is reached at the end.
    """

    name = "adventuregame"
    rules = "2.0"
    roles = (Role(ADVENTURER, "explores the house and delivers the things"),)
    generator = "playpen_clembench.adventuregame.generate"
    levels_stand_alone = True
    oracles = {ADVENTURER: "playpen_clembench.adventuregame.oracle:adventurer"}

    def play(self, instance: Instance) -> Play:
        """Command after command, until the player says that it is done or its turns are over."""
        interpreter = self._interpreter(instance)
        goals, limit = interpreter.goals, instance["max_turns"]
        planner = Planner() if instance["variant"] == PLAN else None
        read = reader(interpreter.language, planning=planner is not None)
        yield Note(
            "adventure",
            {
                "variant": instance["variant"],
                "max_turns": limit,
                "optimal_turns": instance["optimal_turns"],
                "goal_count": len(goals),
            },
        )
        message = self._opening(instance, interpreter)
        reported = reached = 0
        finished = False
        for number in range(1, limit + 1):
            if number > 1:
                yield Round()
            turn = yield from ask(ADVENTURER, message, read)
            result = interpreter.execute(turn.command)
            yield Note("action", _record(result, interpreter))

            # A failed command reports the goals that were reached last, if only in a plan.
            achieved = interpreter.achieved
            change = len(achieved) - reported
            reported = len(achieved)
            yield Note("goals", {"achieved": sorted(map(fact_text, achieved)), "change": change})
            if result.failure is None:
                if reported != reached:
                    yield Reward(ADVENTURER, (reported - reached) / len(goals))
                reached = reported
            if planner is not None:
                trial = planner.turn(turn.command, turn.plan, interpreter)
                yield Note("plan", {**trial._asdict(), "viability": trial.viability})

            if result.failure is None and achieved == goals:
                # Once and for all, even if the player undoes it.
                finished = True
                yield Note("finished")
            if number == limit:
                break
            if result.failure is None and result.action == "done":
                score = 100 * (reported / len(goals))
                return Success(score) if finished else Lose(score, fault=ADVENTURER)
            message = feedback.describe_result(interpreter.world, interpreter.language, result)
        return Abort(scores.TURN_LIMIT, f"all {limit} turns are used up", fault=ADVENTURER)

    def _interpreter(self, instance: Instance) -> Interpreter:
        facts = [parse_fact(text) for text in instance["initial_state"]]
        limited = LIMITED_ACTIONS in instance["action_definitions"]
        goals = frozenset(parse_fact(text) for text in instance["goal_state"])
        return Interpreter(language(instance.language), World(facts, limited=limited), goals)

    def _opening(self, instance: Instance, interpreter: Interpreter) -> str:
        """The task and, without anything in between, the first room."""
        world, words = interpreter.world, interpreter.language
        room = feedback.describe_room(world, words)
        if "prompt" in instance:
            return f"{instance['prompt']}{room}"
        goals = [parse_fact(text) for text in instance["goal_state"]]
        task = self.prompt(
            instance["variant"],
            instance,
            GOAL=feedback.describe_goals(world, words, goals),
            CARRYING=words.say("limit" if world.limited else "no_limit"),
            PLAN_TAG=words.words.plan_tag,
            TURNS=instance["max_turns"],
        )
        return f"{task}\n\n{room}"

    def metrics(self, episode: Episode) -> Metrics:
        """The scores of the specification, section 7."""
        return scores.metrics(episode)

    def fingerprint(self, instance: Instance) -> str:
        """The house, as far as the goals are concerned: the same for all variants."""
        return fingerprint(instance["initial_state"], instance["goal_state"])


def _record(result: Result, interpreter: Interpreter) -> dict[str, Any]:
    """What the scores and a reader of the transcript need to know of a command."""
    failure = result.failure
    return {
        "action": result.action,
        "failure": None if failure is None else failure.type,
        "phase": None if failure is None else failure.phase,
        "exploration": interpreter.exploration.measures(result.action),
    }
