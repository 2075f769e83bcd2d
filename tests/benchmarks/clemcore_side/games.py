"""Taboo and wordle as small clemcore 3.7.2 games, played by scripted players.

clemcore ships no games, so these masters were written for the throughput benchmark, from the
rules alone and against clemcore's public interface. They do what the rules and the records ask
for and nothing more; everything that can be shared between episodes (stems, vocabulary, compiled
pattern) is computed once, so that the time measured is clemcore's rather than theirs.
"""

import re
import string
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from clemcore.backends import Model
from clemcore.clemgame import (
    DialogueGameMaster,
    GameBenchmark,
    GameError,
    GameSpec,
    NotApplicableError,
    ParseError,
    Player,
    RuleViolationError,
)
from clemcore.clemgame.master import Outcome
from clemcore.clemgame.metrics import METRIC_ABORTED, METRIC_LOSE, METRIC_SUCCESS
from nltk.stem.snowball import SnowballStemmer

EpisodeKey = tuple[str, int]
"""Experiment name and game id: what tells the episodes of one game apart."""


class ScriptError(RuntimeError):
    """The game asked for a reply that its script does not have at this point."""


class Script:
    """The replies of one episode, in the order in which the game has to ask for them."""

    def __init__(self, replies: Sequence[Sequence[str]]) -> None:
        self._replies = replies
        self._position = 0

    @property
    def is_used_up(self) -> bool:
        """Whether every reply has been given."""
        return self._position == len(self._replies)

    def next_reply(self, speaker: str) -> str:
        """Return the next reply, which must be the given player's."""
        if self.is_used_up:
            raise ScriptError(f"{speaker} is asked for a reply after the end of the script")
        scripted_speaker, reply = self._replies[self._position]
        if scripted_speaker != speaker:
            raise ScriptError(f"{speaker} is asked, but the script has {scripted_speaker} next")
        self._position += 1
        return reply


class ScriptedPlayer(Player):
    """A programmatic player that says the next line of the episode's script."""

    def __init__(self, model: Model, script: Script, game_role: str) -> None:
        super().__init__(model, game_role=game_role)
        self._script = script

    def _custom_response(self, context: dict[str, Any]) -> str:
        return self._script.next_reply(self.name)


class ScriptedMaster(DialogueGameMaster):
    """What both games share: the scripts and the outcome flags of the record."""

    def __init__(
        self,
        game_spec: GameSpec,
        experiment: dict[str, Any],
        player_models: list[Model],
        scripts: Mapping[EpisodeKey, Script],
    ) -> None:
        super().__init__(game_spec, experiment, player_models)
        self._scripts = scripts

    def script_of(self, game_id: int) -> Script:
        """Return the script of the instance that is being set up."""
        return self._scripts[self.experiment["name"], game_id]

    def main_score(self) -> float | None:
        """Return the main score of the finished episode, None for an aborted one."""
        raise NotImplementedError

    def log_outcome(self) -> None:
        """Log the three flags that scorers read."""
        outcome = self.state.outcome
        self.log_key(METRIC_ABORTED, int(outcome is Outcome.ABORTED))
        self.log_key(METRIC_LOSE, int(outcome is Outcome.FAILURE))
        self.log_key(METRIC_SUCCESS, int(outcome is Outcome.SUCCESS))


# --------------------------------------------------------------------------------------- taboo

CLUE_TAG = "CLUE:"
GUESS_TAG = "GUESS:"
PUNCTUATION_REMOVAL = str.maketrans("", "", string.punctuation)
STOP_WORD_LIST = """
    a about above after again against ain all am an and any are aren as at be because been before
    being below between both but by can couldn d did didn do does doesn doing don down during each
    few for from further had hadn has hasn have haven having he her here hers herself him himself
    his how i if in into is isn it its itself just ll m ma me mightn more most mustn my myself
    needn no nor not now o of off on once only or other our ours ourselves out over own re s same
    shan she should shouldn so some such t than that the their theirs them themselves then there
    these they this those through to too under until up ve very was wasn we were weren what when
    where which while who whom why will with won wouldn y you your yours yourself yourselves
"""
STOP_WORDS = frozenset(STOP_WORD_LIST.split())
stem = lru_cache(maxsize=None)(SnowballStemmer("english").stem)


def normalised(reply: str, tag: str) -> str:
    """Return the reply without its tag and ASCII punctuation, in lower case."""
    return reply.replace(tag, "").strip().lower().translate(PUNCTUATION_REMOVAL)


class TabooMaster(ScriptedMaster):
    """One player describes a word without naming it or its relatives, the other guesses it."""

    def _on_setup(self, **instance: Any) -> None:
        script = self.script_of(instance["game_id"])
        self.target: str = instance["target_word"]
        related: list[str] = instance["related_word"]
        self.max_rounds: int = self.experiment["max_turns"]
        self.forbidden = {stem(word): word for word in (self.target, *related)}
        self.clue_error: str | None = None
        rounds = str(self.max_rounds)
        describer_prompt = (
            self.experiment["describer_initial_prompt"]
            .replace("$TARGET_WORD$", self.target)
            .replace("$REL_WORD$", "\n".join(f"- {word}" for word in related))
            .replace("$N$", rounds)
        )
        guesser_prompt = self.experiment["guesser_initial_prompt"].replace("$N$", rounds)
        describer_model, guesser_model = self.player_models
        self.describer = ScriptedPlayer(describer_model, script, "WordDescriber")
        self.guesser = ScriptedPlayer(guesser_model, script, "WordGuesser")
        self.add_player(self.describer, initial_context=describer_prompt)
        self.add_player(self.guesser, initial_prompt=guesser_prompt)

    def _parse_response(self, player: Player, response: str) -> str:
        tag = CLUE_TAG if player is self.describer else GUESS_TAG
        if not response.startswith(tag):
            raise ParseError(f"the reply does not begin with {tag}", response)
        self.log_to_self("valid response", "continue")
        return response

    def _advance_game(self, player: Player, parsed_response: str) -> None:
        if player is self.describer:
            self._give_clue(parsed_response)
        else:
            self._make_guess(parsed_response)

    def _give_clue(self, reply: str) -> None:
        clue = normalised(reply, CLUE_TAG)
        for token in clue.split(" "):
            word = None if token in STOP_WORDS else self.forbidden.get(stem(token))
            if word is not None:
                raise RuleViolationError(f"'{token}' in the clue is a form of '{word}'", reply)
        self.log_to_self("valid clue", clue)
        self.set_context_for(self.guesser, reply)

    def _make_guess(self, reply: str) -> None:
        guess = normalised(reply, GUESS_TAG)
        self.log_to_self("valid guess", guess)
        if guess == self.target:
            self.state.succeed()
        elif self.current_round + 1 >= self.max_rounds:
            self.state.failed()
        else:
            self.set_context_for(self.describer, reply)

    def _on_parse_error(self, error: ParseError) -> None:
        self.state.abort()

    def _on_game_error(self, error: GameError) -> None:
        self.clue_error = error.reason
        self.state.failed()

    def _on_after_game(self) -> None:
        if self.state.outcome is Outcome.ABORTED:
            self.log_to_self("invalid format", "game aborted")
        if self.clue_error is not None:
            self.log_to_self("invalid clue", self.clue_error)
        if self.current_round >= self.max_rounds:
            self.log_to_self("max rounds reached", str(self.max_rounds))
        if self.state.outcome is Outcome.SUCCESS:
            self.log_to_self("correct guess", "game won")
        self.log_outcome()

    def main_score(self) -> float | None:
        """Return 100 divided by the number of rounds for a success."""
        if self.state.outcome is Outcome.ABORTED:
            return None
        return 100 / self.current_round if self.state.outcome is Outcome.SUCCESS else 0.0


class TabooBenchmark(GameBenchmark):
    """Makes taboo masters."""

    def __init__(self, game_spec: GameSpec, scripts: Mapping[EpisodeKey, Script]) -> None:
        super().__init__(game_spec)
        self._scripts = scripts

    def create_game_master(
        self, experiment: dict[str, Any], player_models: list[Model]
    ) -> TabooMaster:
        """Return a new master for one episode."""
        return TabooMaster(self.game_spec, experiment, player_models, self._scripts)


# -------------------------------------------------------------------------------------- wordle

UNKNOWN_WORD = "NOT_VALID_WORD_FOR_GAME"
SCORE_OF_WINNING_ROUND = (100.0, 100.0, 100.0, 50.0, 30.0, 20.0)


class WordleRules:
    """The parts of an experiment's configuration that its episodes share."""

    def __init__(self, experiment: Mapping[str, Any]) -> None:
        config, words = experiment["common_config"], experiment["lang_keywords"]
        errors = words["error_prompt_text"]
        self.max_rounds: int = config["n_turns"]
        self.max_retries: int = config["max_retry_per_error"][UNKNOWN_WORD]
        self.word_length: int = config["max_word_length"]
        self.vocabulary = frozenset(words["official_words_list"])
        self.explanation_tag: str = words["explanation_lang"]
        self.guess_pattern = re.compile(re.escape(words["guess_lang"]) + "(.*)", re.IGNORECASE)
        self.feedback_tag: str = words["guess_feedback_lang"]
        self.format_block = (
            f"{errors['INVALID_FORMAT']}\n"
            f"{self.explanation_tag} {words['explanataion_details_lang']}\n"
            f"{words['guess_lang']} {words['guess_word_lang']}"
        )
        self.retry_message = f"{errors[UNKNOWN_WORD]} {errors['RETRY']}\n\n{self.format_block}"
        self.unknown_word_text: str = errors[UNKNOWN_WORD]


def letter_feedback(guess: str, target: str) -> str:
    """Return the colour of each letter of the guess."""
    colours = ["red"] * len(guess)
    unmatched: list[str] = []
    for position, (guessed, wanted) in enumerate(zip(guess, target, strict=True)):
        if guessed == wanted:
            colours[position] = "green"
        else:
            unmatched.append(wanted)
    for position, guessed in enumerate(guess):
        if colours[position] == "red" and guessed in unmatched:
            colours[position] = "yellow"
            unmatched.remove(guessed)
    return " ".join(f"{letter}<{colour}>" for letter, colour in zip(guess, colours, strict=True))


class WordleMaster(ScriptedMaster):
    """One player guesses a five-letter word and is told the colours of the letters."""

    def __init__(
        self,
        game_spec: GameSpec,
        experiment: dict[str, Any],
        player_models: list[Model],
        scripts: Mapping[EpisodeKey, Script],
        rules: WordleRules,
    ) -> None:
        super().__init__(game_spec, experiment, player_models, scripts)
        self.rules = rules

    def _on_setup(self, **instance: Any) -> None:
        self.target: str = instance["target_word"].strip().lower()
        self.guesses: list[str] = []
        self.feedbacks: list[str] = []
        self.explanations: list[str] = []
        self.retries = 0
        self.guess_is_committed = False
        script = self.script_of(instance["game_id"])
        self.guesser = ScriptedPlayer(self.player_models[0], script, "WordGuesser")
        self.add_player(self.guesser, initial_context=self.experiment["guesser_prompt"])

    def _parse_response(self, player: Player, response: str) -> str:
        self.guess_is_committed = False
        tag = self.rules.explanation_tag
        if not response.startswith(tag):
            raise ParseError("the reply does not begin with the explanation", response)
        if response.strip().count("\n") > 1:
            raise ParseError("the reply has more than two lines", response)
        matches = self.rules.guess_pattern.findall(response)
        if len(matches) != 1:
            raise ParseError("the reply does not have exactly one guess", response)
        guess: str = matches[0].strip().lower()
        if not guess.isalpha():
            raise ParseError("the guess has other characters than letters", response)
        if len(guess) != self.rules.word_length:
            raise ParseError("the guess has the wrong length", response)
        self.explanation = response[len(tag) :].partition("\n")[0].strip()
        return guess

    def _advance_game(self, player: Player, parsed_response: str) -> None:
        guess, rules = parsed_response, self.rules
        if guess not in rules.vocabulary:
            raise NotApplicableError(rules.unknown_word_text, guess, UNKNOWN_WORD)
        self.guess_is_committed = True
        self.retries = 0
        feedback = letter_feedback(guess, self.target)
        self.guesses.append(guess)
        self.feedbacks.append(feedback)
        self.explanations.append(self.explanation)
        self.log_to_self(
            "metadata",
            f"attempts = {len(self.guesses)}\ntarget_word = {self.target}\n"
            f"guess = {guess}\nguess_feedback = {feedback}",
        )
        if guess == self.target:
            self.state.succeed()
        elif len(self.guesses) >= rules.max_rounds:
            self.state.failed()
        else:
            message = f"{rules.feedback_tag} {feedback}\n\n{rules.format_block}"
            self.set_context_for(self.guesser, message)

    def _start_next_round(self) -> bool:
        return self.guess_is_committed

    def _on_parse_error(self, error: ParseError) -> None:
        self.log_to_self("metadata", f"Error: {error.reason}")
        self.state.abort()

    def _on_game_error(self, error: GameError) -> None:
        self.log_to_self("metadata", f"Error: {error.reason}")
        if self.retries >= self.rules.max_retries:
            self.state.abort()
        else:
            self.retries += 1
            self.set_context_for(self.guesser, self.rules.retry_message)

    def _on_after_game(self) -> None:
        if self.state.outcome is Outcome.SUCCESS:
            self.log_to_self("correct guess", "game won")
        elif self.state.outcome is Outcome.FAILURE:
            self.log_to_self("max rounds played", "game lost")
        else:
            self.log_to_self("invalid format", "game aborted")
        self.log_key("Guesser Guesses", self.guesses)
        self.log_key("Guesser Feedbacks", self.feedbacks)
        self.log_key("Guesser Explanations", self.explanations)
        self.log_outcome()

    def main_score(self) -> float | None:
        """Return what the winning round is worth."""
        if self.state.outcome is Outcome.ABORTED:
            return None
        if self.state.outcome is Outcome.FAILURE:
            return 0.0
        return SCORE_OF_WINNING_ROUND[len(self.guesses) - 1]


class WordleBenchmark(GameBenchmark):
    """Makes wordle masters."""

    def __init__(self, game_spec: GameSpec, scripts: Mapping[EpisodeKey, Script]) -> None:
        super().__init__(game_spec)
        self._scripts = scripts
        self._rules: dict[str, WordleRules] = {}

    def create_game_master(
        self, experiment: dict[str, Any], player_models: list[Model]
    ) -> WordleMaster:
        """Return a new master for one episode; the rules are read once for each experiment."""
        name = experiment["name"]
        if name not in self._rules:
            self._rules[name] = WordleRules(experiment)
        return WordleMaster(
            self.game_spec, experiment, player_models, self._scripts, self._rules[name]
        )
