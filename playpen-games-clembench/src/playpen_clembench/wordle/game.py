"""The rules of `wordle`, `wordle_withclue` and `wordle_withcritic` (docs/rules/wordle.md)."""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from typing import Any, ClassVar

from playpen.episode import Episode
from playpen.game import Game, Metrics, Role
from playpen.instance import Instance
from playpen.moves import Lose, Move, Note, Play, Reward, Round, Success, ask
from playpen_clembench.wordle import feedback, scores
from playpen_clembench.wordle.fingerprint import fingerprint
from playpen_clembench.wordle.messages import Messages
from playpen_clembench.wordle.reply_format import Answer, read_guess, read_verdict
from playpen_clembench.wordle.setting import Setting, setting_of

GUESSER, CRITIC = "guesser", "critic"


class Wordle(Game):
    """Find a secret word in six guesses; each is answered with a colour for every letter.

    A committed guess is rewarded with its gain in closeness (5 points for a green letter, 3 for a
    yellow one) as a share of full marks: the rewards of an episode add up to the closeness of the
    last guess, 1 for the secret word.
    """

    name = "wordle"
    roles: ClassVar[tuple[Role, ...]] = (Role(GUESSER, "finds the secret word"),)
    rules = "2.0"
    generator = "playpen_clembench.wordle.generate:PLAIN"
    oracles = {GUESSER: "playpen_clembench.wordle.oracle:guesser"}
    levels_stand_alone = True
    has_clue: ClassVar[bool] = False
    """Whether the guesser is given a clue to the meaning of the word, at the start."""
    has_critic: ClassVar[bool] = False
    """Whether a guess is tentative until a critic has commented on it."""

    def play(self, instance: Instance) -> Play:
        """Guess until the word is found or the guesses are used up."""
        setting = setting_of(instance)
        messages = Messages(self, instance, setting)
        target = _target(instance)
        message = messages.opening(has_clue=self.has_clue, has_critic=self.has_critic)
        closeness = 0
        for number in range(1, setting.rounds + 1):
            if number > 1:
                yield Round()
            guess = yield from self.committed_guess(setting, messages, message, number)
            marks = feedback.colours(guess, target)
            shown = feedback.written(guess, marks)
            yield Note("committed guess", {"guess": guess, "feedback": shown})
            yield Reward(GUESSER, feedback.closeness_gain(marks, closeness))
            if guess == target:
                return Success(self.winning_score(number))
            closeness = feedback.closeness(marks)
            message = messages.feedback(shown)
        return Lose()

    def committed_guess(
        self, setting: Setting, messages: Messages, message: str, number: int
    ) -> Generator[Move, Any, str]:
        """One round's moves up to the guess that counts."""
        answer = yield from self.asked_guess(setting, message)
        return answer.content

    def asked_guess(self, setting: Setting, message: str) -> Generator[Move, Any, Answer]:
        """Ask for a guess; only an unknown word is asked for again."""
        parse = partial(read_guess, setting=setting)
        return (yield from ask(GUESSER, message, parse, retries=setting.retries))

    def winning_score(self, number: int) -> float:
        """The main score for finding the word with guess `number`, counted from 1."""
        return {1: 100, 2: 100, 3: 100, 4: 50, 5: 30}.get(number, 20)

    def metrics(self, episode: Episode) -> Metrics:
        """The scores under upstream's names (docs/rules/wordle.md, "Scores")."""
        return scores.metrics(episode)

    def fingerprint(self, instance: Instance) -> str:
        """The secret word: the variants share it."""
        return fingerprint(_target(instance))


class WordleWithClue(Wordle):
    """The guesser also gets a clue to the meaning of the word, at the start."""

    name = "wordle_withclue"
    generator = "playpen_clembench.wordle.generate:WITH_CLUE"
    has_clue = True

    def winning_score(self, number: int) -> float:
        """100 divided by the number of guesses."""
        return round(100 / number, 2)


class WordleWithCritic(WordleWithClue):
    """With a clue, and a critic: a guess is tentative until the critic has commented on it."""

    name = "wordle_withcritic"
    roles = (
        *Wordle.roles,
        Role(CRITIC, "says whether a tentative guess fits the clue"),
    )
    generator = "playpen_clembench.wordle.generate:WITH_CRITIC"
    oracles = {
        GUESSER: "playpen_clembench.wordle.oracle:guesser",
        CRITIC: "playpen_clembench.wordle.oracle:critic",
    }
    shared_fields = frozenset({"target_word_clue"})
    has_critic = True

    def committed_guess(
        self, setting: Setting, messages: Messages, message: str, number: int
    ) -> Generator[Move, Any, str]:
        """A tentative guess (which cannot win), the critic's verdict, the guess that counts."""
        tentative = yield from self.asked_guess(setting, message)
        yield Note("tentative guess", {"guess": tentative.content})

        question = messages.question(tentative, first=number == 1)
        verdict = yield from ask(CRITIC, question, partial(read_verdict, setting=setting))
        agrees = verdict.content == setting.keywords.verdicts[0]
        yield Note("verdict", {"verdict": verdict.content, "agrees": agrees})

        committed = yield from self.asked_guess(setting, messages.comment(verdict))
        return committed.content

    def metrics(self, episode: Episode) -> Metrics:
        """The scores, reactions to the critic included (docs/rules/wordle.md, "Scores")."""
        return scores.critic_metrics(episode)


def _target(instance: Instance) -> str:
    return str(instance["target_word"]).strip().lower()
