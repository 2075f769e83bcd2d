"""The rules of Guess What (docs/rules/guesswhat.md)."""

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
    Round,
    Success,
    ask,
)
from playpen_clembench.guesswhat import scores
from playpen_clembench.guesswhat.fingerprint import fingerprint, mini_fingerprint
from playpen_clembench.guesswhat.replies import Guess, form_of
from playpen_clembench.guesswhat.roles import ANSWERER, GUESSER
from playpen_clembench.mini import MINI

FULL_MARKS_UP_TO = 5
"""The last round in which a guess gets the full score, whatever the level."""


class GuessWhat(Game):
    """Find the secret word of a list by questions that the partner answers with yes or no."""

    name = "guesswhat"
    roles = (
        Role(GUESSER, "asks yes/no questions about the secret word and guesses once"),
        Role(ANSWERER, "knows the secret word and answers yes or no"),
    )
    rules = "2.0"
    generator = "playpen_clembench.guesswhat.generate"
    oracles = {
        GUESSER: "playpen_clembench.guesswhat.oracle:guesser",
        ANSWERER: "playpen_clembench.guesswhat.oracle:answerer",
    }
    levels_stand_alone = True

    def play(self, instance: Instance) -> Play:
        """A round is a question and its answer; a guess ends the game, right or wrong."""
        form, target = form_of(instance), instance["target_word"]
        last = instance["max_turns"]
        answerer_prompt = self._answerer_prompt(instance)
        for_guesser = self.prompt(
            "guesser",
            instance,
            instance.get("guesser_initial_prompt"),
            LIST=list(instance["candidate_list"]),
            N=last - 1,  # although the last round, too, allows a question
        )
        for number in range(1, last + 1):
            if number > 1:
                yield Round()
            turn = yield from ask(GUESSER, for_guesser, form.read_turn)
            if isinstance(turn, Guess):
                correct = turn.word == target.lower()
                yield Note("guess", {"word": turn.word, "correct": correct})
                return Success(speed(number, last)) if correct else Lose(fault=GUESSER)
            question = turn.text if number > 1 else f"{answerer_prompt}\n\n{turn.text}"
            for_guesser = yield from ask(ANSWERER, question, form.read_answer)
        return Lose()

    def _answerer_prompt(self, instance: Instance) -> str:
        given, target = instance.get("answerer_initial_prompt"), instance["target_word"]
        if given is not None:
            return str(given).replace("$TARGET WORD$", target)
        return self.prompt("answerer", instance, TARGET_WORD=target)

    def metrics(self, episode: Episode) -> Metrics:
        """Upstream's numbers (docs/rules/guesswhat.md, "Scores")."""
        return scores.metrics(episode)

    def fingerprint(self, instance: Instance) -> str:
        """The secret word; the list around it matters only in the level `mini`.

        There the words are few, and what is unseen is the word among the others of its list.
        """
        if instance.experiment.name == MINI:
            return mini_fingerprint(instance["target_word"], instance["candidate_list"])
        return fingerprint(instance["target_word"])


def speed(number: int, last: int) -> float:
    """The score of a right guess in a round, counted from 1; a win in the last round scores 0."""
    if number <= FULL_MARKS_UP_TO:
        return 100
    return 100 * (last - number) / (last - FULL_MARKS_UP_TO)
