"""The rules of match it with character grids (docs/rules/matchit_ascii.md)."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from playpen import (
    Episode,
    Game,
    Instance,
    Lose,
    Metrics,
    Move,
    Note,
    Play,
    Reward,
    Role,
    Round,
    Success,
    ask,
)
from playpen_clembench.matchit_ascii import scores
from playpen_clembench.matchit_ascii.fingerprint import fingerprint
from playpen_clembench.matchit_ascii.replies import decision_reader, flagged
from playpen_clembench.matchit_ascii.texts import flags_of, fragment

PLAYER_A, PLAYER_B = "player_a", "player_b"


class MatchItAscii(Game):
    """Two players describe their grids, question each other, and decide if the grids are the same.

    Both must be right.  A decision is rewarded with 1 if it is right and with 0 if it is not.
    """

    name = "matchit_ascii"
    roles = (
        Role(PLAYER_A, "describes its grid first, answers before it asks, decides last"),
        Role(PLAYER_B, "describes its grid second, asks before it answers, decides first"),
    )
    rules = "2.0"
    generator = "playpen_clembench.matchit_ascii.generate"
    oracles = {
        PLAYER_A: "playpen_clembench.matchit_ascii.oracle:play",
        PLAYER_B: "playpen_clembench.matchit_ascii.oracle:play",
    }
    levels_stand_alone = True

    def play(self, instance: Instance) -> Play:
        """Descriptions, then questions and answers each way, then the decisions."""
        questions = instance["decision_turn"]
        flags = flags_of(instance)
        description, question = flagged(flags.description), flagged(flags.question)
        answer = flagged(flags.answer)
        intro = fragment(instance, "desc_intro")
        for_answer = fragment(instance, "a_request", TAG=flags.answer)
        for_question = self.prompt(
            "question", instance, instance.get("q_reprompt"), TAG=flags.question
        )

        of_a = yield from ask(PLAYER_A, self._initial_prompt(instance, "grid_a"), description)
        of_b = yield from ask(PLAYER_B, self._initial_prompt(instance, "grid_b"), description)
        asked_by_b = yield from ask(PLAYER_B, f"{intro}{of_a}\n{for_question}", question)
        said_by_b = f"{intro}{of_b}"
        for number in range(1, questions + 1):
            yield Round()
            said_by_a = yield from ask(PLAYER_A, f"{said_by_b}\n{asked_by_b}{for_answer}", answer)
            asked_by_a = yield from ask(PLAYER_A, for_question, question)
            said_by_b = yield from ask(PLAYER_B, f"{said_by_a}\n{asked_by_a}{for_answer}", answer)
            if number < questions:
                asked_by_b = yield from ask(PLAYER_B, for_question, question)

        for_decision = self._decision_prompt(instance)
        b_is_right = yield from self._decision(PLAYER_B, for_decision, instance)
        yield Round()
        a_is_right = yield from self._decision(PLAYER_A, f"{said_by_b}\n{for_decision}", instance)
        if a_is_right and b_is_right:
            return Success()
        return Lose(fault=PLAYER_A if b_is_right else PLAYER_B if a_is_right else None)

    def _decision(self, role: str, text: str, instance: Instance) -> Generator[Move, Any, bool]:
        """Ask for a decision and give whether it is right; a wrong one does not end the game."""
        read = decision_reader(
            flags_of(instance).decision, instance["solution"], instance["wrong_solution"]
        )
        right = yield from ask(role, text, read)
        yield Note("decision", {"role": role, "right": right})
        yield Reward(role, float(right))
        return right

    def _initial_prompt(self, instance: Instance, grid: str) -> str:
        return self.prompt(
            "initial",
            instance,
            instance.get("initial_prompt"),
            GRID=instance[grid],
            TAG=flags_of(instance).description,
            N=instance["decision_turn"],
        )

    def _decision_prompt(self, instance: Instance) -> str:
        # Sorted, so that the order does not tell which one is right.
        phrases = sorted([instance["solution"], instance["wrong_solution"]])
        flag = flags_of(instance).decision
        return self.prompt(
            "decision",
            instance,
            instance.get("d_reprompt"),
            CHOICES="\n".join(f"{flag} {phrase}" for phrase in phrases),
        )

    def metrics(self, episode: Episode) -> Metrics:
        """Upstream's numbers (docs/rules/matchit_ascii.md, "Scores")."""
        return scores.metrics(episode)

    def fingerprint(self, instance: Instance) -> str:
        """The two grids, whoever has which, and however many questions there are."""
        return fingerprint(instance["grid_a"], instance["grid_b"])
