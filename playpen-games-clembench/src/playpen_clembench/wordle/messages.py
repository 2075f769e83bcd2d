"""The messages of the game master, put together from an experiment's own words or ours."""

from __future__ import annotations

from playpen.game import Game
from playpen.instance import Instance
from playpen_clembench.wordle.reply_format import Answer
from playpen_clembench.wordle.setting import Setting


class Messages:
    """The messages of one episode."""

    def __init__(self, game: Game, instance: Instance, setting: Setting) -> None:
        self._game = game
        self._instance = instance
        self._setting = setting
        self._keywords = setting.keywords

    def opening(self, *, has_clue: bool, has_critic: bool) -> str:
        """The first message to the guesser: the prompt, and the clue if there is one."""
        if has_critic:
            name = "guesser_with_critic"
        else:
            name = "guesser_with_clue" if has_clue else "guesser"
        prompt = self._prompt(name, self._instance.get("guesser_prompt"))
        return f"{prompt}\n\n{self.clue()}" if has_clue else prompt

    def clue(self) -> str:
        """The line with the clue."""
        return f"{self._keywords.clue} {str(self._instance['target_word_clue']).strip()}"

    def feedback(self, shown: str) -> str:
        """What the guesser is told of a committed guess."""
        return f"{self._keywords.guess_feedback} {shown}\n\n{self._keywords.guess_form}"

    def question(self, tentative: Answer, *, first: bool) -> str:
        """What the critic is asked about a tentative guess; before the first one, its prompt."""
        keywords = self._keywords
        question = (
            f"{self.clue()}\n"
            f"{keywords.explanation} {tentative.explanation}\n"
            f"{keywords.guess} {tentative.content}"
        )
        if first:
            prompt = self._prompt("critic", self._instance.get("guesser_critic_prompt"))
            return f"{prompt}\n\n{question}"
        return f"{question}\n\n{keywords.verdict_form}"

    def comment(self, verdict: Answer) -> str:
        """What the guesser is told of the critic's verdict."""
        keywords = self._keywords
        return (
            f"{self.clue()}\n"
            f"{keywords.guess_agreement} {verdict.content}\n"
            f"{keywords.agreement_explanation} {verdict.explanation}\n\n"
            f"{keywords.guess_form}"
        )

    def _prompt(self, name: str, given: str | None) -> str:
        """The experiment's own prompt, or else ours with its tags filled in."""
        keywords = self._keywords
        return self._game.prompt(
            name,
            self._instance,
            given or None,
            LENGTH=self._setting.word_length,
            ROUNDS=self._setting.rounds,
            EXPLANATION=keywords.explanation,
            GUESS=keywords.guess,
            FEEDBACK=keywords.guess_feedback,
            CLUE=keywords.clue,
            AGREEMENT=keywords.agreement,
            AGREEMENT_WORD=keywords.agreement_word,
        )
