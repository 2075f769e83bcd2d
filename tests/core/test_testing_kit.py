"""The conformance kit: for each check a game that is broken in that way, and games that are not.

Most tests call the checks as pytest would, on one game; the last ones run pytest.
"""

from __future__ import annotations

import datetime
import inspect
import os
import random
import re
import subprocess
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, ClassVar

import pytest

from playpen import (
    Abort,
    Ask,
    Conversation,
    Draw,
    Episode,
    Exchange,
    Game,
    GameSpec,
    Instance,
    Lose,
    Metrics,
    Note,
    Play,
    Program,
    Reward,
    Role,
    Success,
    Tell,
    Violation,
    ask,
    split_of,
)
from playpen.instance import InstanceError
from playpen.testing import GameConformance
from playpen.testing.game_under_test import QUICK, THOROUGH, Effort, GameUnderTest

HIGHERLOWER = Path(__file__).parents[1] / "packs/playpen-game-higherlower/src"
MANUAL = Path(__file__).parents[2] / "docs/conformance.md"
SMALL = Effort(per_split=1, examples=8, processes=0, huge=20_000)
HEAVY = Effort(per_split=1, examples=8, processes=0, huge=2_000_000)
WORDS = re.findall(
    r"\w+",
    """
    anchor basket candle dragon engine falcon garden hammer island jacket kettle ladder magnet
    needle orange pencil quarry rabbit saddle temple umpire velvet window yellow zipper badger
    cactus donkey elbow fiddle goblet harbor insect jungle kitten lizard marble nutmeg oyster
    pillow ribbon salmon turtle urchin violin walrus beaver cherry desert empire
    """,
)


# --- a game without fault ------------------------------------------------------------------------


def tagged(tag: str) -> Callable[[str], str]:
    def parse(reply: str) -> str:
        if not reply.startswith(tag):
            raise Violation("missing_tag", f"the reply does not begin with {tag}")
        return reply.removeprefix(tag).strip()[:100]

    return parse


class Backwards(Game):
    """One role says a word backwards, the other finds it; both may be wrong once."""

    name = "backwards"
    roles = (Role("giver", "says the word backwards"), Role("finder", "finds the word"))
    rounds: ClassVar[dict[str, int]] = {"short": 1, "long": 3}

    def play(self, instance: Instance) -> Play:
        yield Exchange("finder", "Do you know the rules?", "Yes.")
        (colour,) = yield Draw(["red", "green", "blue"])
        yield Tell("finder", f"Today we play with the colour {colour}.")
        yield Note("rounds", instance["rounds"])
        message = f"Say this backwards, after HINT: and one space.\n{instance['word']}"
        for number in range(instance["rounds"]):
            hint = yield from ask("giver", message, tagged("HINT:"))
            guess = yield from ask("finder", f"What is this backwards? {hint}", tagged("GUESS:"))
            yield Reward("finder", float(guess == instance["word"]))
            if guess == instance["word"]:
                return Success(100 / (number + 1), role_scores={"giver": 1, "finder": 1})
            message = f"The guess was {guess or 'nothing'}. Say it again."
        return Lose(fault="finder")

    def metrics(self, episode: Episode) -> Metrics:
        return Metrics(episode={"Requests": len(episode.replies())})

    def fingerprint(self, instance: Instance) -> str:
        return str(instance["word"])

    def levels(self) -> tuple[str, ...]:
        return tuple(self.rounds)

    def generate(
        self, split: str, *, seed: int = 0, level: str | None = None, n: int | None = None
    ) -> dict[str, Any]:
        levels = tuple(self.rounds) if level is None else (level,)
        return {"experiments": [self.experiment(name, split, seed, n) for name in levels]}

    def experiment(self, level: str, split: str, seed: int, n: int | None) -> dict[str, Any]:
        words = [word for word in WORDS if split_of(word) == split]
        if n is not None and n > len(words):
            raise InstanceError(f"there are {len(words)} words, not {n}")
        chosen = random.Random(f"{seed} {split} {level}").sample(
            words, len(words) if n is None else n
        )
        items = [{"game_id": i, "word": word} for i, word in enumerate(chosen)]
        return {"name": level, "rounds": self.rounds[level], "game_instances": items}

    def oracle(self, role: str) -> Program:
        return {"giver": say_backwards, "finder": find}[role]

    @classmethod
    def schema(cls) -> dict[str, Any] | None:
        return {
            "$defs": {
                "experiment": {
                    "type": "object",
                    "properties": {"rounds": {"type": "integer", "minimum": 1}},
                    "required": ["rounds"],
                },
                "instance": {
                    "type": "object",
                    "properties": {"word": {"type": "string", "minLength": 1}},
                    "required": ["game_id", "word"],
                },
            }
        }


def say_backwards(conversation: Conversation) -> str:
    word = conversation.messages[0].content.splitlines()[-1]
    return f"HINT: {word[::-1]}"


def find(conversation: Conversation) -> str:
    return f"GUESS: {conversation.last.rpartition('? ')[2][::-1]}"


# --- calling the checks --------------------------------------------------------------------------


def check_all(game: Game, tmp_path: Path, effort: Effort = SMALL, **known: Any) -> dict[str, str]:
    """The results of all checks: ``passed``, or the message of a failure or of a skip.

    `known` replaces what the kit would find out about the game.
    """
    subject = GameUnderTest(game, effort, known.pop("seconds", 30.0))
    subject.__dict__.update(known)
    results: dict[str, str] = {}
    for name, check in inspect.getmembers(GameConformance(), inspect.ismethod):
        if not name.startswith("test_"):
            continue
        folder = tmp_path / f"{len(results)}"
        folder.mkdir(parents=True)
        given = {"subject": subject, "tmp_path": folder}
        try:
            check(**{p: given[p] for p in inspect.signature(check).parameters})
        except pytest.fail.Exception as failure:
            results[name] = f"failed: {failure.msg}"
        except pytest.skip.Exception as skip:
            results[name] = f"skipped: {skip.msg}"
        else:
            results[name] = "passed"
    return results


def failures(results: dict[str, str]) -> dict[str, str]:
    """The checks that failed, and their messages."""
    return {
        name.removeprefix("test_"): result.removeprefix("failed: ")
        for name, result in results.items()
        if result.startswith("failed: ")
    }


def skips(results: dict[str, str]) -> set[str]:
    return {name.removeprefix("test_") for name, r in results.items() if r.startswith("skipped")}


SPEC = GameSpec(
    name="backwards",
    path=f"{__name__}:Backwards",
    summary="say it backwards",
    roles=("giver", "finder"),
)


def test_a_game_without_fault_passes_every_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, __name__, sys.modules[Backwards.__module__])
    effort = Effort(per_split=3, examples=50, huge=1_000_000)
    results = check_all(Backwards(), tmp_path, effort, spec=SPEC)
    assert failures(results) == {}
    # It has no prompt files; the wordle family and the others of our pack have.
    assert skips(results) == {"prompts_exist_in_every_language"}
    assert len(results) > 30


# --- games with faults ---------------------------------------------------------------------------

BROKEN: list[Any] = []


def broken(check: str, *words: str, seconds: float = 30.0, **known: Any) -> Any:
    """Register a game that fails one check, with a message that holds some words.

    Where one fault is two, `check` holds two names; the message is that of the first.
    """

    def register(cls: type[Game]) -> type[Game]:
        BROKEN.append(pytest.param(cls, check, words, seconds, known, id=cls.__name__))
        return cls

    return register


@broken("class_is_complete", "summary of the role 'finder' is ''", "in one line what it does")
class RoleWithoutSummary(Backwards):
    roles = (Role("giver", "says the word backwards"), Role("finder"))


@broken("class_is_complete", "shared_fields is 'word'", 'frozenset({"board"})')
class TextInsteadOfFields(Backwards):
    shared_fields = "word"


@broken("class_is_complete", "score_range is (100, 0)", "two finite numbers")
class EmptyRange(Backwards):
    score_range = (100, 0)

    def play(self, instance: Instance) -> Play:
        yield Ask("giver", "Say something.")
        yield Ask("finder", "Say something.")
        return Success(None)


@broken(
    "spec_agrees_with_the_class",
    "its roles are ('finder', 'giver'), those of the class ('giver', 'finder')",
    "the same names in the same order",
    spec=GameSpec(
        name="backwards",
        path=f"{Backwards.__module__}:SpecWithOtherRoles",
        summary="say it backwards",
        roles=("finder", "giver"),
    ),
)
class SpecWithOtherRoles(Backwards):
    pass


@broken(
    "spec_agrees_with_the_class",
    "the summary is 'say it\\nbackwards'",
    "in one line",
    spec=GameSpec(
        name="backwards",
        path=f"{Backwards.__module__}:SpecWithTwoLines",
        summary="say it\nbackwards",
        roles=("giver", "finder"),
    ),
)
class SpecWithTwoLines(Backwards):
    pass


@broken(
    "spec_agrees_with_the_class",
    "is not the class SpecOfAnother that is checked",
    spec=GameSpec(
        name="backwards",
        path=f"{Backwards.__module__}:Backwards",
        summary="say it backwards",
        roles=("giver", "finder"),
    ),
)
class SpecOfAnother(Backwards):
    pass


@broken(
    "every_level_can_be_made", "level='huge'", "KeyError: 'huge'", "for every split and every level"
)
class LevelThatCannotBeMade(Backwards):
    def levels(self) -> tuple[str, ...]:
        return ("short", "long", "huge")


@broken("every_level_can_be_made", "it made ['long'], which levels() does not name")
class LevelThatIsNotNamed(Backwards):
    def levels(self) -> tuple[str, ...]:
        return ("short",)


@broken("ready_splits_are_not_empty", "generate('validation'", "it made no instance")
class NoValidation(Backwards):
    def experiment(self, level: str, split: str, seed: int, n: int | None) -> dict[str, Any]:
        made = super().experiment(level, split, seed, n)
        if split == "validation":
            made["game_instances"] = []
        return made


@broken("instances_follow_the_schema", "it has no schema", "put a schema.json beside")
class NoSchema(Backwards):
    @classmethod
    def schema(cls) -> dict[str, Any] | None:
        return None


@broken(
    "instances_follow_the_schema",
    "experiment 'short', instance 0: field 'word': 7 is not of type 'string'",
    "mend the generator, or the schema",
)
class AgainstTheSchema(Backwards):
    def experiment(self, level: str, split: str, seed: int, n: int | None) -> dict[str, Any]:
        made = super().experiment(level, split, seed, n)
        for item in made["game_instances"][:1]:
            item["word"] = 7
        return made


@broken("instances_are_json", "experiments[0].game_instances[0].marks", "is a tuple", "lists")
class TupleInInstance(Backwards):
    def experiment(self, level: str, split: str, seed: int, n: int | None) -> dict[str, Any]:
        made = super().experiment(level, split, seed, n)
        for item in made["game_instances"]:
            item["marks"] = (1, 2)
        return made


@broken("instance_ids_are_unique", "two instances have the game_id 0", "number the instances")
class SameIds(Backwards):
    def experiment(self, level: str, split: str, seed: int, n: int | None) -> dict[str, Any]:
        made = super().experiment(level, split, seed, n)
        for item in made["game_instances"]:
            item["game_id"] = 0
        return made


@broken("splits_share_no_puzzle", "it is the same puzzle (", "playpen.split_of")
class SplitsByPosition(Backwards):
    def experiment(self, level: str, split: str, seed: int, n: int | None) -> dict[str, Any]:
        words = random.Random(seed).sample(WORDS, len(WORDS))
        part = {"train": words[:30], "validation": words[30:40], "test": words[40:]}[split]
        if n is not None and n > len(part):
            raise InstanceError("too many")
        items = [{"game_id": i, "word": word} for i, word in enumerate(part[:n])]
        return {"name": level, "rounds": self.rounds[level], "game_instances": items}


@broken("splits_share_no_puzzle", "fingerprint() raised KeyError: 'secret'", "in fingerprint)")
class BrokenFingerprint(Backwards):
    def fingerprint(self, instance: Instance) -> str:
        return str(instance["secret"])


@broken("gives_as_many_instances_as_asked_for", "it made ", "raise InstanceError, saying how many")
class FewerThanAskedFor(Backwards):
    def experiment(self, level: str, split: str, seed: int, n: int | None) -> dict[str, Any]:
        made = super().experiment(level, split, seed, None)
        made["game_instances"] = made["game_instances"][:n]
        return made


@broken("gives_as_many_instances_as_asked_for", "it raised ValueError: Sample larger")
class NoPoliteRefusal(Backwards):
    def experiment(self, level: str, split: str, seed: int, n: int | None) -> dict[str, Any]:
        made = super().experiment(level, split, seed, None)
        if n is not None:
            made["game_instances"] = random.Random(seed).sample(made["game_instances"], n)
        return made


@broken("generating_again_gives_the_same", "other instances the second time", "random.Random of")
class GlobalChanceInGenerator(Backwards):
    def experiment(self, level: str, split: str, seed: int, n: int | None) -> dict[str, Any]:
        made = super().experiment(level, split, seed, n)
        random.shuffle(made["game_instances"])
        return made


@broken("generating_again_gives_the_same", "it used (or seeded) the global generator")
class SeededGlobalChance(Backwards):
    def experiment(self, level: str, split: str, seed: int, n: int | None) -> dict[str, Any]:
        made = super().experiment(level, split, seed, n)
        random.seed(f"{seed} {split}")
        random.shuffle(made["game_instances"])
        return made


@broken(
    "levels_stand_alone", "it made other instances than without", "leave out levels_stand_alone"
)
class NumbersThroughAllLevels(Backwards):
    levels_stand_alone = True

    def generate(
        self, split: str, *, seed: int = 0, level: str | None = None, n: int | None = None
    ) -> dict[str, Any]:
        made = super().generate(split, seed=seed, level=level, n=n)
        items = [item for e in made["experiments"] for item in e["game_instances"]]
        for number, item in enumerate(items):
            item["game_id"] = number
        return made


@broken("instances_are_left_alone", "play() changed the content", "copy what you change")
class ChangesItsInstance(Backwards):
    def play(self, instance: Instance) -> Play:
        instance["marks"].append(1)
        return (yield from super().play(instance))

    def experiment(self, level: str, split: str, seed: int, n: int | None) -> dict[str, Any]:
        made = super().experiment(level, split, seed, n)
        for item in made["game_instances"]:
            item["marks"] = []
        return made


@broken("playing_again_gives_the_same", "gave another episode", "yield Draw(options) instead of")
class GlobalChanceInPlay(Backwards):
    def play(self, instance: Instance) -> Play:
        yield Note("luck", random.random())
        return (yield from super().play(instance))


@broken("playing_again_gives_the_same", "play() used the global generator")
class HiddenGlobalChance(Backwards):
    def play(self, instance: Instance) -> Play:
        random.random()
        return (yield from super().play(instance))


@broken("concurrent_episodes_do_not_mix", "beside other episodes it is another", "not on self")
class StateOnSelf(Backwards):
    def play(self, instance: Instance) -> Play:
        self.word = instance["word"]
        yield Ask("giver", f"Say this backwards, after HINT: and one space.\n{self.word}")
        guess = yield from ask("finder", "What is it?")
        yield Note("word", self.word)
        return Success() if guess else Lose()


@broken("every_role_has_an_oracle", "role 'finder': oracle('finder') raised LookupError")
class NoOracle(Backwards):
    def oracle(self, role: str) -> Program:
        return say_backwards if role == "giver" else Game.oracle(self, role)


@broken(
    "oracles_keep_to_the_rules",
    "level 'long'",
    "aborted (missing_tag: the reply does not begin with HINT:)",
    "the form of replies that the prompt asks for",
)
class OracleForgetsItsTag(Backwards):
    def oracle(self, role: str) -> Program:
        def hint(conversation: Conversation) -> str:
            said = say_backwards(conversation)
            return said if len(said) % 2 else said.removeprefix("HINT:")

        return hint if role == "giver" else find

    def play(self, instance: Instance) -> Play:
        if instance["rounds"] > 1:
            yield Note("long")
            yield from ask("giver", f"Now.\n{instance['word']}x", tagged("HINT:"))
        return (yield from super().play(instance))

    def experiment(self, level: str, split: str, seed: int, n: int | None) -> dict[str, Any]:
        made = super().experiment(level, split, seed, n)
        for item in made["game_instances"]:
            item["word"] = item["word"].ljust(7, "e")
        return made

    oracle_wins = 0.0


@broken("oracles_win", "won 0 of 6 episodes; declared is a share of 1", "oracle_wins = 0.9")
class OracleThatLoses(Backwards):
    def oracle(self, role: str) -> Program:
        return say_backwards if role == "giver" else lambda conversation: "GUESS: nothing"


@broken("oracles_need_only_their_conversation", "oracle of 'finder'", "asked again with the messag")
class OracleThatPeeks(Backwards):
    def oracle(self, role: str) -> Program:
        def peek(conversation: Conversation) -> str:
            return find(conversation) if conversation.instance else "GUESS: nothing"

        return say_backwards if role == "giver" else peek


@broken("oracles_need_only_their_conversation", "remember nothing from one call to the next")
class OracleThatCounts(Backwards):
    def oracle(self, role: str) -> Program:
        calls: Counter[str] = Counter()

        def count(conversation: Conversation) -> str:
            calls[conversation.last] += 1
            return f"{find(conversation)}{' ' * calls[conversation.last]}"

        return say_backwards if role == "giver" else count

    def play(self, instance: Instance) -> Play:
        yield Ask("giver", "Say something.\nso")
        yield Ask("finder", f"Now you? {instance['word']}")
        return Success()


@broken("oracles_answer_any_partner", "oracle of 'finder'", "it raised IndexError", "whatever")
class OracleThatExpectsItsPartner(Backwards):
    def oracle(self, role: str) -> Program:
        def trusting(conversation: Conversation) -> str:
            word = conversation.last.rpartition("? ")[2].split()[0]
            return f"GUESS: {word[::-1]}"

        return say_backwards if role == "giver" else trusting


@broken("oracles_answer_any_partner", "oracle of 'giver'", "it was still busy after", seconds=0.5)
class OracleThatNeverAnswers(Backwards):
    def oracle(self, role: str) -> Program:
        def stubborn(conversation: Conversation) -> str:
            while "nothing" in conversation.last:
                pass
            return say_backwards(conversation)

        return stubborn if role == "giver" else find


@broken("any_reply_ends_in_an_outcome", "play() raised ValueError: invalid literal", "Violation")
class NoParser(Backwards):
    def play(self, instance: Instance) -> Play:
        outcome = yield from super().play(instance)
        reply = yield Ask("finder", "How many letters had it? 6")
        yield Note("letters", int(reply.text.removeprefix("GUESS: ")[:9]))
        return outcome


@broken("any_reply_ends_in_an_outcome", "it asked 500 times and had to be cut off", "re-prompts")
class AsksForEver(Backwards):
    def play(self, instance: Instance) -> Play:
        while not (yield Ask("giver", f"Say something.\n{instance['word']}")).text.strip():
            pass
        return (yield from super().play(instance))


@broken("any_reply_ends_in_an_outcome", "gave the score -1; its score_range is 0 to 100")
class ScoreOutOfRange(Backwards):
    def play(self, instance: Instance) -> Play:
        outcome = yield from super().play(instance)
        return outcome if isinstance(outcome, Success) else Lose(-1)


@broken(
    "any_reply_ends_in_an_outcome",
    "was still busy after 0.5 seconds (test_testing_kit.py",
    "end every loop; cap",
    seconds=0.5,
)
class NeverComesBack(Backwards):
    def play(self, instance: Instance) -> Play:
        reply = yield Ask("giver", f"Say something.\n{instance['word']}")
        while not reply.text:
            pass
        return (yield from super().play(instance))


@broken("outcomes_name_roles_of_the_game", "Abort names 'player 2'", "the roles are giver, finder")
class NamesNoRole(Backwards):
    def play(self, instance: Instance) -> Play:
        try:
            return (yield from super().play(instance))
        except Violation as violation:
            return Abort(violation.code, violation.message, "player 2")


@broken("any_reply_ends_in_an_outcome", "addressed the role 'nobody'", "after the replies")
class AddressesNoRole(Backwards):
    def play(self, instance: Instance) -> Play:
        try:
            return (yield from super().play(instance))
        except Violation:
            yield Tell("nobody", "The reply was wrong.")
            raise


@broken("metrics_work_for_every_episode", "ended with Abort", "it raised IndexError", "aborts at")
class MetricsOfCompleteEpisodes(Backwards):
    def metrics(self, episode: Episode) -> Metrics:
        return Metrics(episode={"Guess": episode.replies("finder")[0].reply.text[:5]})


@broken("metrics_work_for_every_episode", "at episode.Ratio: nan is not a JSON number", "use None")
class MetricsWithoutANumber(Backwards):
    def metrics(self, episode: Episode) -> Metrics:
        return Metrics(episode={"Ratio": float("nan")})


@broken("metrics_work_for_every_episode", "asked twice, it gave two results")
class MetricsThatCount(Backwards):
    calls = 0

    def metrics(self, episode: Episode) -> Metrics:
        type(self).calls += 1
        return Metrics(episode={"Calls": self.calls})


@broken("metrics_work_for_every_episode", "was written down and read", "and nothing else")
class MetricsByIdentity(Backwards):
    thanks = Tell("giver", "Thank you.")

    def play(self, instance: Instance) -> Play:
        yield self.thanks
        return (yield from super().play(instance))

    def metrics(self, episode: Episode) -> Metrics:
        return Metrics(episode={"Thanks": sum(event is self.thanks for event in episode.events)})


@broken("metrics_work_for_every_episode", "after another episode was played", "long after it was")
class MetricsFromSelf(Backwards):
    def play(self, instance: Instance) -> Play:
        self.word = instance["word"]
        return (yield from super().play(instance))

    def metrics(self, episode: Episode) -> Metrics:
        return Metrics(episode={"Word": self.word})


@broken(
    "huge_replies_take_bounded_work",
    "2,000,000 characters (",
    "cap the length",
    seconds=1.0,
    effort=HEAVY,
)
class QuadraticWork(Backwards):
    def play(self, instance: Instance) -> Play:
        reply = yield Ask("giver", f"Say something.\n{instance['word']}")
        text = reply.text
        yield Note("frequencies", sum(text.count(text[i : i + 9]) for i in range(len(text))) > 9)
        return (yield from super().play(instance))


@broken(
    "episodes_replay_from_a_run_directory instances_are_json", "lists instead of tuples, texts as"
)
class ShowsATuple(TupleInInstance):
    def play(self, instance: Instance) -> Play:
        yield Tell("finder", f"The marks are {instance['marks']}.")
        return (yield from super().play(instance))


@broken("chance_moves_are_recorded", "options of a chance move are no JSON values", "is a tuple")
class DrawsTuples(Backwards):
    def play(self, instance: Instance) -> Play:
        ((letter, _),) = yield Draw([("a", 1), ("b", 2)])
        yield Note("letter", letter)
        return (yield from super().play(instance))


@broken(
    "messages_have_no_unfilled_placeholders", "the placeholder $WORD$ is not filled", "WORD=..."
)
class UnfilledPlaceholder(Backwards):
    def play(self, instance: Instance) -> Play:
        yield Tell("giver", "The word is $WORD$.")
        return (yield from super().play(instance))


@broken("no_message_is_empty", "message to 'finder': the message is ' '", "or do not ask")
class EmptyMessage(Backwards):
    def play(self, instance: Instance) -> Play:
        yield Ask("finder", " ")
        return (yield from super().play(instance))


@broken(
    "secrets_stay_with_their_role",
    "from the field 'word', is shown to finder and giver",
    'shared_fields = frozenset({"word"})',
)
class ToldToBoth(Backwards):
    def play(self, instance: Instance) -> Play:
        yield Tell("finder", f"Psst, it is {instance['word']}.")
        return (yield from super().play(instance))


@broken("secrets_stay_with_their_role", "is shown to giver and finder")
class ToldTooLate(Backwards):
    def play(self, instance: Instance) -> Play:
        outcome = yield from super().play(instance)
        yield Tell("finder", f"It was {instance['word']}.")
        return outcome


@pytest.mark.parametrize(("cls", "check", "words", "seconds", "known"), BROKEN)
def test_a_fault_is_found_by_its_check_alone(
    cls: type[Game],
    check: str,
    words: tuple[str, ...],
    seconds: float,
    known: dict[str, Any],
    tmp_path: Path,
) -> None:
    results = check_all(cls(), tmp_path, seconds=seconds, **known)
    found = failures(results)
    assert set(found) == set(check.split()), found
    message = found[check.split()[0]]
    assert "\nWhat to do: " in message
    assert "backwards" in message
    for text in words:
        assert text in message


def test_every_check_has_a_broken_game_and_a_line_in_the_manual() -> None:
    checks = {name for name in dir(GameConformance) if name.startswith("test_")}
    described = re.findall(r"^\| `(test_\w+)` \|", MANUAL.read_text(), re.MULTILINE)
    assert sorted(described) == sorted(checks)
    shown = {f"test_{name}" for param in BROKEN for name in param.values[1].split()}
    shown |= {f"test_{name}" for name in RECORDS}
    assert checks - shown == {
        # Each has a test of its own below.
        "test_another_process_gives_the_same",
        "test_prompts_exist_in_every_language",
    }


# --- what the broken games above cannot show one by one ------------------------------------------


class NeverTheSame(Backwards):
    """Tells the finder how often it was played; most checks are skipped for such a game."""

    plays: ClassVar[list[int]] = []

    def play(self, instance: Instance) -> Play:
        self.plays.append(1)
        yield Tell("finder", f"Played {len(self.plays)} times.")
        return (yield from super().play(instance))


RECORDS = {
    "episodes_replay": "the replay differs from the record: event 0",
    "episodes_replay_from_a_run_directory": "the replay differs from the record: event 0",
    "episodes_fork_at_every_turn": "forking before reply 0 failed",
    "any_prefix_is_a_snapshot": "after the same 1 replies another question follows",
    "chance_moves_are_recorded": "with the recorded draws under another seed it plays otherwise",
    "concurrent_episodes_do_not_mix": "played beside other episodes it is another one",
}


def test_checks_of_records_are_skipped_for_a_game_that_is_never_the_same(tmp_path: Path) -> None:
    results = check_all(NeverTheSame(), tmp_path)
    assert set(failures(results)) == {"playing_again_gives_the_same"}
    assert skips(results) >= set(RECORDS)


def test_checks_of_records_see_a_game_that_is_never_the_same(tmp_path: Path) -> None:
    found = failures(check_all(NeverTheSame(), tmp_path, unsteady=None))
    assert set(found) == set(RECORDS)
    for check, words in RECORDS.items():
        assert words in found[check]
        assert "What to do: " in found[check]


class HashOrder(Backwards):
    """Goes through a set of texts, whose order each process chooses for itself."""

    def play(self, instance: Instance) -> Play:
        yield Tell("finder", f"All words: {', '.join({*WORDS})}.")
        return (yield from super().play(instance))


class LocalTime(Backwards):
    """Tells the time as it is where the process runs."""

    def play(self, instance: Instance) -> Play:
        offset = datetime.datetime.now().astimezone().utcoffset()
        yield Tell("finder", f"Our time zone is {offset}.")
        return (yield from super().play(instance))


class TimeSinceStart(Backwards):
    """Looks at the clock, in a generator."""

    def experiment(self, level: str, split: str, seed: int, n: int | None) -> dict[str, Any]:
        made = super().experiment(level, split, seed, n)
        return {**made, "epoch": int(time.time() / 10_000_000)}


class OracleInHashOrder(Backwards):
    """One of its oracles goes through a set of texts."""

    def oracle(self, role: str) -> Program:
        return guess_from_a_set if role == "finder" else say_backwards

    oracle_wins = 0.0


def guess_from_a_set(conversation: Conversation) -> str:
    return f"GUESS: {' '.join({*WORDS, conversation.last})[:90]}"


@pytest.mark.parametrize(
    ("cls", "where"),
    [
        (HashOrder, "backwards, level "),
        (LocalTime, "backwards, level "),
        (TimeSinceStart, "backwards, generate('train', seed=2025)"),
        (OracleInHashOrder, "backwards, the oracles on level "),
    ],
)
def test_what_differs_between_processes_is_found(
    cls: type[Game], where: str, tmp_path: Path
) -> None:
    effort = Effort(per_split=1, examples=10, processes=1, huge=20_000)
    found = failures(check_all(cls(), tmp_path, effort))
    assert set(found) == {"another_process_gives_the_same"}
    (message,) = found.values()
    assert message.startswith(where)
    assert "another process got something else" in message
    assert "sort it" in message


def test_a_field_that_is_declared_shared_may_be_shown_to_both(tmp_path: Path) -> None:
    class Declared(ToldToBoth):
        shared_fields = frozenset({"word"})

    assert failures(check_all(Declared(), tmp_path)) == {}


def test_a_secret_that_somebody_said_is_no_leak(tmp_path: Path) -> None:
    class ToldByTheGiver(Backwards):
        def play(self, instance: Instance) -> Play:
            hint = yield from ask("giver", f"Say it.\n{instance['word']}", tagged("HINT:"))
            yield Tell("finder", f"{hint[::-1]} is {hint} backwards.")
            return (yield from super().play(instance))

        def oracle(self, role: str) -> Program:
            def say(conversation: Conversation) -> str:
                word = conversation.messages[0].content.splitlines()[-1]
                return f"HINT: {word if not conversation.turn else word[::-1]}"

            return say if role == "giver" else find

    assert "secrets_stay_with_their_role" not in failures(check_all(ToldByTheGiver(), tmp_path))


class Languages(Backwards):
    """Has prompt files in a package of its own."""

    @classmethod
    def package(cls) -> str:
        return "prompts_of_the_kit_test"


@pytest.mark.parametrize(
    ("german", "wrong"),
    [
        ({"giver.md": "Gib einen Hinweis."}, "prompts/de/finder.md is missing"),
        ({"giver.md": "Gib einen Hinweis.", "finder.md": " \n"}, "prompts/de/finder.md is empty"),
        ({}, "prompts/de/finder.md is missing"),
        ({"giver.md": "Gib einen Hinweis.", "finder.md": "Rate."}, None),
    ],
)
def test_prompt_files_are_complete_in_every_language(
    german: dict[str, str], wrong: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    english = {"giver.md": "Give a hint.", "finder.md": "Guess."}
    package = tmp_path / "prompts_of_the_kit_test"
    for language, files in (("en", english), ("de", german)):
        folder = package / "prompts" / language
        folder.mkdir(parents=True)
        for name, text in files.items():
            (folder / name).write_text(text)
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "prompts_of_the_kit_test", raising=False)
    spec = GameSpec(
        name="backwards",
        path=f"{Languages.__module__}:Languages",
        summary="say it backwards",
        roles=("giver", "finder"),
        languages=("en", "de"),
    )
    found = failures(check_all(Languages(), tmp_path, spec=spec))
    if wrong is None:
        assert found == {}
    else:
        assert set(found) == {"prompts_exist_in_every_language"}
        assert wrong in found["prompts_exist_in_every_language"]


def test_an_instance_in_a_language_that_is_not_declared_is_found(tmp_path: Path) -> None:
    class Foreign(Backwards):
        def experiment(self, level: str, split: str, seed: int, n: int | None) -> dict[str, Any]:
            return {**super().experiment(level, split, seed, n), "lang": "tlh"}

    found = failures(check_all(Foreign(), tmp_path))
    assert set(found) == {"prompts_exist_in_every_language"}
    assert "there are instances in tlh" in found["prompts_exist_in_every_language"]


# --- as a plug-in of pytest ----------------------------------------------------------------------

PLUGIN = "playpen.testing.plugin"
INSTALLED = any(entry.value == PLUGIN for entry in entry_points(group="pytest11"))


def run_pytest(folder: Path, *args: str, paths: Sequence[Path] = ()) -> tuple[int, str]:
    """Run pytest in a folder; its exit code and what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *([] if INSTALLED else ["-p", PLUGIN]), *args],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([*map(str, paths), os.environ.get("PYTHONPATH", "")]),
            "PYTEST_ADDOPTS": "-p no:cacheprovider -p no:randomly",
            "COLUMNS": "200",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def installed(tmp_path: Path) -> list[Path]:
    """The folders in which `playpen-game-higherlower` and a broken pack are found."""
    site = tmp_path / "site"
    for name, line in [
        ("playpen-game-higherlower", "higherlower = playpen_higherlower.plugin"),
        ("broken-pack", "broken = broken_pack"),
    ]:
        info = site / f"{name.replace('-', '_')}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[playpen]\n{line}\n")
    (site / "broken_pack.py").write_text(
        textwrap.dedent(
            """
            from playpen import GameSpec, hookimpl

            @hookimpl
            def playpen_games():
                path = "module_that_is_not_there:Game"
                return [GameSpec(name="lost", path=path, summary="a game", roles=("player",))]
            """
        )
    )
    return [site, HIGHERLOWER]


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    folder = tmp_path / "empty"
    folder.mkdir()
    return folder


def test_a_pack_is_checked_in_an_empty_folder(empty: Path, installed: list[Path]) -> None:
    code, output = run_pytest(
        empty, "-v", "--playpen-pack", "Playpen_Game.HigherLower", paths=installed
    )
    assert code == 0, output
    ids = re.findall(r"^playpen-game-higherlower::higherlower::(\S+) (\w+)", output, re.MULTILINE)
    results = dict(ids)
    assert {name for name, result in results.items() if result != "PASSED"} == {
        "test_secrets_stay_with_their_role",  # one role has no secrets from another
        "test_chance_moves_are_recorded",  # it makes none
    }
    checks = {name for name in dir(GameConformance) if name.startswith("test_")}
    assert set(results) == checks


def test_an_unknown_pack_is_refused_with_a_suggestion(empty: Path, installed: list[Path]) -> None:
    code, output = run_pytest(empty, "--playpen-pack", "higherlowr", paths=installed)
    assert code == pytest.ExitCode.USAGE_ERROR
    assert "ERROR: --playpen-pack higherlowr: no installed distribution" in output
    assert "did you mean 'higherlower'?" in output
    assert "playpen-game-higherlower" in output
    assert "Traceback" not in output


def test_a_game_that_does_not_import_is_reported_with_its_pack(
    empty: Path, installed: list[Path]
) -> None:
    code, output = run_pytest(
        empty, "--playpen-pack", "broken-pack", "--playpen-pack", "higherlower", "-k", "complete",
        "--continue-on-collection-errors", paths=installed,
    )  # fmt: skip
    assert code == pytest.ExitCode.TESTS_FAILED
    assert "the game 'lost' of broken-pack cannot be imported" in output
    assert "module_that_is_not_there" in output
    assert "1 passed" in output
    assert "1 error" in output


OWN_TESTS = """
import sys

import pytest
from playpen.testing import GameConformance
from playpen_higherlower.game import HigherLower


class TestWithAttribute(GameConformance):
    game = HigherLower()

    def test_effort(self, subject):
        assert subject.effort.examples == EXAMPLES


@pytest.fixture(params=[HigherLower(), HigherLower()], ids=["one", "other"])
def game(request):
    return request.param


class TestWithFixture(GameConformance):
    test_oracles_win = None
"""


def test_the_base_class_takes_an_attribute_or_a_fixture(empty: Path, installed: list[Path]) -> None:
    (empty / "test_own.py").write_text(OWN_TESTS.replace("EXAMPLES", str(QUICK.examples)))
    code, output = run_pytest(
        empty, "-v", "-k", "complete or oracles_win or effort", paths=installed
    )
    assert code == 0, output
    assert set(re.findall(r"^test_own.py::(\S+) PASSED", output, re.MULTILINE)) == {
        "TestWithAttribute::test_class_is_complete",
        "TestWithAttribute::test_oracles_win",
        "TestWithAttribute::test_effort",
        "TestWithFixture::test_class_is_complete[one]",
        "TestWithFixture::test_class_is_complete[other]",
    }


def test_thorough_tries_more(empty: Path, installed: list[Path]) -> None:
    (empty / "test_own.py").write_text(OWN_TESTS.replace("EXAMPLES", str(THOROUGH.examples)))
    code, output = run_pytest(empty, "-k", "test_effort", "--playpen-thorough", paths=installed)
    assert (code, "1 passed" in output) == (0, True), output


def test_a_pack_comes_with_the_paths_that_are_given_and_else_alone(
    empty: Path, installed: list[Path]
) -> None:
    (empty / "test_other.py").write_text("def test_of_mine(): pass")
    (empty / "pytest.ini").write_text(
        "[pytest]\ntestpaths = .\npython_functions = check_* test_of_*"
    )
    pack = ["--playpen-pack", "higherlower", "--collect-only", "-q"]
    _, alone = run_pytest(empty, *pack, paths=installed)
    _, both = run_pytest(empty, *pack, "test_other.py", paths=installed)
    assert "test_of_mine" not in alone
    assert "test_other.py::test_of_mine" in both
    for output in (alone, both):
        assert "higherlower::higherlower::test_oracles_win" in output


def test_without_its_option_the_plug_in_imports_nothing_more(
    empty: Path, installed: list[Path]
) -> None:
    (empty / "test_other.py").write_text(
        textwrap.dedent(
            """
            import sys

            def test_modules():
                loaded = [name for name in sys.modules if name.startswith("playpen.testing")]
                assert sorted(loaded) == ["playpen.testing", "playpen.testing.plugin"]
                for name in ("hypothesis", "jsonschema", "playpen_higherlower"):
                    assert name not in sys.modules
            """
        )
    )
    code, output = run_pytest(empty, paths=installed)
    assert (code, "1 passed" in output) == (0, True), output
