"""The rules of the image game (docs/rules/imagegame.md)."""

from __future__ import annotations

from typing import ClassVar

from playpen import (
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
from playpen_clembench.imagegame import scores
from playpen_clembench.imagegame.drawing import NOTHING, blank, changed_cells, shape, similarity
from playpen_clembench.imagegame.replies import command_reader, grid_reader
from playpen_clembench.imagegame.roles import FOLLOWER, GIVER

GOOD_ENOUGH = 99
"""F1, in whole percent, from which on the drawing counts as the target."""


class ImageGame(Game):
    """One player dictates a target grid that only it sees; the other draws it.

    Each complete round is rewarded with what the drawing gained in F1, as a share of full marks:
    the rewards of either role add up to the F1 at the end.
    """

    name = "imagegame"
    roles = (
        Role(GIVER, "sees the target grid and gives one command per round"),
        Role(FOLLOWER, "keeps the drawing and returns the whole grid after each command"),
    )
    rules = "2.0"
    generator = "playpen_clembench.imagegame.generate"
    oracles = {
        GIVER: "playpen_clembench.imagegame.oracle:giver",
        FOLLOWER: "playpen_clembench.imagegame.oracle:follower",
    }
    levels_stand_alone = True
    # Before clemcore 3.7 the follower's header counted as a request of its own.
    unstable_scores = frozenset({"Request Count", "Parsed Request Count", "Request Success Ratio"})
    header_is_event: ClassVar[bool] = False
    """How requests are counted: clemcore before 3.7 logged the follower's header by itself.

    A subclass that sets this counts as in the recordings made with such a version.
    """

    def play(self, instance: Instance) -> Play:
        """Commands and drawings take turns until the giver is done or the rounds run out."""
        target, size = instance["target_grid"], instance["grid_dimension"]
        question = self.prompt("question", instance, instance.get("player_1_question"))
        giver_header = self.prompt("giver", instance, instance.get("player_1_prompt_header"))
        follower_header = self.prompt("follower", instance, instance.get("player_2_prompt_header"))
        read_command, read_grid = command_reader(instance), grid_reader(instance)

        for_giver = f"{giver_header}\n{target}\n{question}"
        drawn, score = blank(size), NOTHING
        for number in range(2 * size * size):
            if number:
                yield Round()
            command = yield from ask(GIVER, for_giver, read_command)
            if command is None:
                yield Note("done")
                break
            for_follower = command if number else f"{follower_header}\n\n{command}"
            before, drawn = drawn, (yield from ask(FOLLOWER, for_follower, read_grid))

            previous, measured = score, similarity(target, drawn)
            # What cannot be compared, such as an empty drawing, keeps the score.
            if measured is not None:
                score = measured
            changed = changed_cells(before, drawn)
            yield Note("drawing", {**score._asdict(), "changed": changed})
            for role in (GIVER, FOLLOWER):
                yield Reward(role, (score.f1 - previous.f1) / 100)
            for_giver = question
        else:
            yield Note("round limit")
        return Success(score.f1) if score.f1 >= GOOD_ENOUGH else Lose(score.f1)

    def metrics(self, episode: Episode) -> Metrics:
        """Upstream's numbers; see `playpen_clembench.imagegame.scores`."""
        return scores.metrics(episode, header_is_event=self.header_is_event)

    def fingerprint(self, instance: Instance) -> str:
        """The cells that are filled alike, whatever the letter."""
        return shape(instance["target_grid"])
