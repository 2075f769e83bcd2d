"""What an experiment fixes: the limits, the accepted words, the tags and message fragments."""

from __future__ import annotations

from functools import lru_cache

import msgspec

from playpen.instance import Experiment, Instance
from playpen_clembench.wordle import material

DEFAULT_RETRIES = 5
DEFAULT_WORD_LENGTH = 5


class ErrorTexts(msgspec.Struct, frozen=True):
    """Fragments of the messages that ask for another answer."""

    unknown_word: str = msgspec.field(name="NOT_VALID_WORD_FOR_GAME")
    retry: str = msgspec.field(name="RETRY")
    answer_form: str = msgspec.field(name="INVALID_FORMAT")


class Keywords(msgspec.Struct, frozen=True):
    """Tags and message fragments; the names of clembench's ``lang_keywords`` are the aliases."""

    explanation: str = msgspec.field(name="explanation_lang")
    explanation_details: str = msgspec.field(name="explanataion_details_lang")
    guess: str = msgspec.field(name="guess_lang")
    guess_word: str = msgspec.field(name="guess_word_lang")
    guess_feedback: str = msgspec.field(name="guess_feedback_lang")
    clue: str = msgspec.field(name="clue_lang")
    agreement: str = msgspec.field(name="agreement_lang")
    agreement_word: str = msgspec.field(name="agreement_word_lang")
    verdicts: tuple[str, ...] = msgspec.field(name="agreement_match_keywords_lang")
    guess_agreement: str = msgspec.field(name="guess_agreement_lang")
    agreement_explanation: str = msgspec.field(name="agreement_explanation_lang")
    error_texts: ErrorTexts = msgspec.field(name="error_prompt_text")

    @property
    def guess_form(self) -> str:
        """The reminder of the form of a guess."""
        return self._form(self.guess, self.guess_word)

    @property
    def verdict_form(self) -> str:
        """The reminder of the form of a verdict."""
        return self._form(self.agreement, self.agreement_word)

    def _form(self, tag: str, content: str) -> str:
        first = f"{self.explanation} {self.explanation_details}"
        return f"{self.error_texts.answer_form}\n{first}\n{tag} {content}"


class Setting(msgspec.Struct, frozen=True):
    """The parameters of play.

    Attributes:
        rounds: how many guesses may be committed.
        retries: how often in a row an unknown word is asked for again.
        word_length: letters of a guess.
        words: the accepted guesses.
        keywords: tags and message fragments.
    """

    rounds: int
    retries: int
    word_length: int
    words: frozenset[str]
    keywords: Keywords


def setting_of(instance: Instance) -> Setting:
    """The setting of the experiment that an instance belongs to.

    Raises:
        msgspec.ValidationError: a language that the pack does not know, and a keyword is missing.
    """
    return _setting(instance.experiment, instance.language)


@lru_cache(maxsize=32)
def _setting(experiment: Experiment, language: str) -> Setting:
    # Cached because the word list is long: it becomes a set once, not once per episode.
    config = experiment.config
    common, given = config["common_config"], config["lang_keywords"]
    default = material.keywords(language)
    errors = {**default.get("error_prompt_text", {}), **given.get("error_prompt_text", {})}
    length = given.get("max_word_length", common.get("max_word_length", DEFAULT_WORD_LENGTH))
    limits = common.get("max_retry_per_error", {})
    return Setting(
        rounds=int(common["n_turns"]),
        retries=int(limits.get("NOT_VALID_WORD_FOR_GAME", DEFAULT_RETRIES)),
        word_length=int(length),
        words=frozenset(given["official_words_list"]),
        keywords=msgspec.convert({**default, **given, "error_prompt_text": errors}, Keywords),
    )
