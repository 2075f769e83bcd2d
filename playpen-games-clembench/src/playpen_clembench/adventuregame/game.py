"""The rules of AdventureGame (docs/rules/adventuregame.md).

The player is to put three things in their places.  It sees only the room that it is in, gives one
command a turn, and says itself when it is done.

The flow of the game is here.  What a reply must look like is in `replies`, how a command is
understood in `interpreter` and `grammar`, what it does and when it fails in `actions`, what the
player reads in `feedback`, how goals are counted in `progress`, how plans are tried out in
`planning`.
"""

from __future__ import annotations

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
from playpen_clembench.adventuregame.interpreter import Interpreter
from playpen_clembench.adventuregame.language import language
from playpen_clembench.adventuregame.planning import Planner
from playpen_clembench.adventuregame.progress import Progress
from playpen_clembench.adventuregame.replies import reader
from playpen_clembench.adventuregame.world import World, parse_fact

ADVENTURER = "adventurer"
PLAN = "plan"
"""The planning variant."""
DONE = "done"
"""The action with which the player ends the game."""
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
    oracles = {ADVENTURER: "playpen_clembench.adventuregame.oracle:adventurer"}
    levels_stand_alone = True

    def play(self, instance: Instance) -> Play:
        """Command after command, until the player says that it is done or its turns are over.

        It wins if all goals were true after one of its commands, even if it has undone that since.
        The score is the share of the goals that are true when it is done.
        """
        interpreter = self._interpreter(instance)
        progress = Progress(interpreter.goals)
        planner = Planner() if instance["variant"] == PLAN else None
        read = reader(interpreter.language, planning=planner is not None)
        limit = instance["max_turns"]
        finished = False
        yield Note("adventure", scores.setting(instance, interpreter.goals))
        message = self._opening(instance, interpreter)
        for number in range(1, limit + 1):
            if number > 1:
                yield Round()
            # What is asked: a command, in the planning variant with a plan.
            turn = yield from ask(ADVENTURER, message, read)
            result = interpreter.execute(turn.command)
            yield Note("action", scores.action(result, interpreter.exploration))

            # What counts: the goals that are true after a command that succeeded.
            yield Note("goals", progress.report(interpreter.achieved))
            if result.succeeded and (gain := progress.gain()):
                yield Reward(ADVENTURER, gain)
            if planner is not None:
                trial = planner.turn(turn.command, turn.plan, interpreter)
                yield Note("plan", trial.record())
            if result.succeeded and progress.complete:
                finished = True
                yield Note("finished")

            # What ends it: the limit, even if the player is done in the last turn, or the player.
            if number == limit:
                break
            if result.succeeded and result.action == DONE:
                score = 100 * progress.share
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
        """All scores (docs/rules/adventuregame.md, "Scores")."""
        return scores.metrics(episode)

    def fingerprint(self, instance: Instance) -> str:
        """The house, as far as the goals are concerned: the same for all variants."""
        return fingerprint(instance["initial_state"], instance["goal_state"])
