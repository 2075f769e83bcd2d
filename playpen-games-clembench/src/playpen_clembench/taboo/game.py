"""The rules of taboo (docs/rules/taboo.md).

The describer knows a secret word and gives clues; the guesser has `max_turns` guesses.  Saying the
secret word or a forbidden word, in any form, loses the game for both.
"""

from __future__ import annotations

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
from playpen_clembench.taboo import scores
from playpen_clembench.taboo.fingerprint import fingerprint
from playpen_clembench.taboo.replies import tagged
from playpen_clembench.taboo.words import forbidden_use, without_tag

DESCRIBER, GUESSER = "describer", "guesser"


class Taboo(Game):
    """Describe a secret word without the forbidden words; the partner guesses it."""

    name = "taboo"
    rules = "2.0"
    roles = (
        Role(DESCRIBER, "knows the secret word and gives clues"),
        Role(GUESSER, "guesses the secret word"),
    )
    generator = "playpen_clembench.taboo.generate"
    oracles = {
        DESCRIBER: "playpen_clembench.taboo.oracle:describe",
        GUESSER: "playpen_clembench.taboo.oracle:guess",
    }
    levels_stand_alone = True

    def play(self, instance: Instance) -> Play:
        """A round is a clue and a guess; the secret word is found or the rounds run out."""
        target, related = instance["target_word"], instance["related_word"]
        rounds = instance["max_turns"]
        for_describer = self.prompt(
            "describer",
            instance,
            instance.get("describer_initial_prompt"),
            TARGET_WORD=target,
            REL_WORD="\n".join(f"- {word}" for word in related),
            N=rounds,
        )
        guesser_prompt = self.prompt(
            "guesser", instance, instance.get("guesser_initial_prompt"), N=rounds
        )
        for number in range(1, rounds + 1):
            if number > 1:
                yield Round()
            clue = yield from ask(DESCRIBER, for_describer, tagged("CLUE:"))
            used = forbidden_use(without_tag(clue, "CLUE:"), target, related)
            if used:
                yield Note("forbidden word", {"used": used[0], "forbidden": used[1]})
                return Lose(fault=DESCRIBER)

            for_guesser = f"{guesser_prompt}\n\n{clue}" if number == 1 else clue
            guess = yield from ask(GUESSER, for_guesser, tagged("GUESS:"))
            if without_tag(guess, "GUESS:") == target:
                yield Note("correct guess", target)
                yield Reward(DESCRIBER, 1.0)
                yield Reward(GUESSER, 1.0)
                return Success(100 / number)
            for_describer = guess
        return Lose()

    def fingerprint(self, instance: Instance) -> str:
        """The card: the secret word and the forbidden words."""
        return fingerprint(instance["target_word"], instance["related_word"])

    def metrics(self, episode: Episode) -> Metrics:
        """Upstream's numbers (docs/rules/taboo.md, "Scores")."""
        return scores.metrics(episode)
