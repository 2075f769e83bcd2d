"""The rules of the reference game (docs/rules/referencegame.md)."""

from __future__ import annotations

from playpen import (
    Episode,
    Game,
    Instance,
    Lose,
    Metrics,
    Note,
    Play,
    Role,
    Success,
    ask,
)
from playpen_clembench.referencegame import scores
from playpen_clembench.referencegame.replies import reader, words_of
from playpen_clembench.referencegame.roles import FOLLOWER, GIVER
from playpen_clembench.referencegame.triplet import Triplet


class ReferenceGame(Game):
    """One player describes one of three grids; the other, who sees them reordered, finds it."""

    name = "referencegame"
    roles = (
        Role(GIVER, "describes the target grid so that it can be told from two others"),
        Role(FOLLOWER, "finds the grid that the giver describes"),
    )
    rules = "2.0"
    generator = "playpen_clembench.referencegame.generate"
    oracles = {
        GIVER: "playpen_clembench.referencegame.oracle:giver",
        FOLLOWER: "playpen_clembench.referencegame.oracle:follower",
    }
    levels_stand_alone = True

    def play(self, instance: Instance) -> Play:
        """One expression, one choice.  Whoever breaks the form of a reply ends the game."""
        expression = yield from ask(GIVER, self._giver_prompt(instance), reader(instance, 1))
        # The follower gets the complete reply, its tag included.
        prompt = self._follower_prompt(instance, expression.string)
        choice = yield from ask(FOLLOWER, prompt, reader(instance, 2))

        label = choice["response"].lower()
        # A list of labels; very old instances have a text, of which the label must be a part.
        correct = label in instance["target_grid_name"]
        yield Note("choice", {"label": label, "correct": correct})
        return Success() if correct else Lose()

    def _giver_prompt(self, instance: Instance) -> str:
        given = instance.get("player_1_prompt_header")
        if given is not None:
            return str(given)
        return self.prompt(
            "giver",
            instance,
            TARGET_GRID=instance["player_1_target_grid"],
            SECOND_GRID=instance["player_1_second_grid"],
            THIRD_GRID=instance["player_1_third_grid"],
            TAG=words_of(instance.language).expression_tag,
        )

    def _follower_prompt(self, instance: Instance, expression: str) -> str:
        prompt = instance.get("player_2_prompt_header")
        if prompt is None:
            prompt = self.prompt(
                "follower",
                instance,
                FIRST_GRID=instance["player_2_first_grid"],
                SECOND_GRID=instance["player_2_second_grid"],
                THIRD_GRID=instance["player_2_third_grid"],
                CHOICES="\n".join(words_of(instance.language).answers),
            )
        # Last and in one pass: a TARGET_EXPRESSION inside the expression stays as it is.
        return str(prompt).replace("TARGET_EXPRESSION", expression)

    def metrics(self, episode: Episode) -> Metrics:
        """Upstream's numbers (docs/rules/referencegame.md, "Scores")."""
        return scores.metrics(episode)

    def fingerprint(self, instance: Instance) -> str:
        """The target and its distractors: the same for the three orders of a triplet."""
        return Triplet(
            instance["player_1_target_grid"],
            instance["player_1_second_grid"],
            instance["player_1_third_grid"],
        ).fingerprint
