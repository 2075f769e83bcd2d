"""The rules of match it with character grids (specs/matchit_ascii.md)."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from playpen import (
    Ask,
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
    Violated,
    ask,
)
from playpen_clembench.counts import plain_counts
from playpen_clembench.matchit_ascii.fingerprint import fingerprint
from playpen_clembench.matchit_ascii.replies import UNKNOWN_DECISION, decision_reader, flagged
from playpen_clembench.matchit_ascii.texts import flags_of, fragment

A, B = "player_a", "player_b"


class MatchItAscii(Game):
    """Two players describe their grids, question each other, and decide if the grids are the same.

    Both must be right.  A decision is rewarded with 1 if it is right and with 0 if it is not.
    """

    name = "matchit_ascii"
    roles = (
        Role(A, "describes its grid first, answers before it asks, decides last"),
        Role(B, "describes its grid second, asks before it answers, decides first"),
    )
    rules = "2.0"
    generator = "playpen_clembench.matchit_ascii.generate"
    levels_stand_alone = True
    oracles = {
        A: "playpen_clembench.matchit_ascii.oracle:play",
        B: "playpen_clembench.matchit_ascii.oracle:play",
    }

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

        of_a = yield from ask(A, self._initial_prompt(instance, "grid_a"), description)
        of_b = yield from ask(B, self._initial_prompt(instance, "grid_b"), description)
        asked_by_b = yield from ask(B, f"{intro}{of_a}\n{for_question}", question)
        said_by_b = f"{intro}{of_b}"
        for number in range(1, questions + 1):
            yield Round()
            said_by_a = yield from ask(A, f"{said_by_b}\n{asked_by_b}{for_answer}", answer)
            asked_by_a = yield from ask(A, for_question, question)
            said_by_b = yield from ask(B, f"{said_by_a}\n{asked_by_a}{for_answer}", answer)
            if number < questions:
                asked_by_b = yield from ask(B, for_question, question)

        for_decision = self._decision_prompt(instance)
        b_is_right = yield from self._decision(B, for_decision, instance)
        yield Round()
        a_is_right = yield from self._decision(A, f"{said_by_b}\n{for_decision}", instance)
        if a_is_right and b_is_right:
            return Success()
        return Lose(fault=A if b_is_right else B if a_is_right else None)

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
        """Upstream's numbers (specs/matchit_ascii.md, section 7); `None` stands for NaN."""
        requests, violated = [0], [0]
        right = 0
        for event in episode.events:
            match event:
                case Round():
                    requests.append(0)
                    violated.append(0)
                case Ask():
                    requests[-1] += 1
                case Violated(code=code):
                    # Upstream checks a decision twice, and counts both checks.
                    requests[-1] += code == UNKNOWN_DECISION
                    violated[-1] += 1
                case Note("decision", data):
                    right += data["right"]
        score = None if episode.aborted else 50 * right
        return Metrics(
            {"Player Score": score, **plain_counts(sum(requests), sum(violated))},
            {
                str(number): plain_counts(*of_round)
                for number, of_round in enumerate(zip(requests, violated, strict=True))
            },
        )

    def fingerprint(self, instance: Instance) -> str:
        """The two grids, whoever has which, and however many questions there are."""
        return fingerprint(instance["grid_a"], instance["grid_b"])
