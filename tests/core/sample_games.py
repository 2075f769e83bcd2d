"""Small games and players of the core's own tests.

They are independent of every pack.  `guessing` and `relay` between them yield every kind of move;
the rest never end or have bugs.
"""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import msgspec

from playpen.conversation import Conversation, Message, Reply, TokenTrace
from playpen.episode import Episode
from playpen.game import Game, Metrics, Program, Role
from playpen.instance import Experiment, Instance, split_of
from playpen.moves import (
    Ask,
    Draw,
    Exchange,
    Lose,
    Note,
    Outcome,
    Play,
    Reward,
    Round,
    Success,
    Tell,
    Violation,
    ask,
)
from playpen.player import NoOptions, Player, PlayerError
from playpen.referee import Referee

WORDS = ("amber", "birch", "cedar", "dune", "ember", "fjord")


# --- games ---------------------------------------------------------------------------------------


def whole_number(text: str) -> int:
    """The number that a reply consists of; asks again for anything else."""
    if not re.fullmatch(r"[0-9]{1,9}", text.strip()):
        raise Violation("not_a_number", "expected a whole number", retry="Say a whole number.")
    return int(text.strip())


class GuessingGame(Game):
    """Find a secret number from the answers higher and lower."""

    name = "guessing"
    roles = (Role("guesser", "looks for the number"),)
    rules = "1.2"

    limits: ClassVar[dict[str, int]] = {"small": 20, "large": 1000}

    def play(self, instance: Instance) -> Play:
        message = f"Find my number from 1 to {instance['limit']}."
        for attempt in range(1, instance["tries"] + 1):
            guess = yield from ask("guesser", message, whole_number, retries=1)
            if guess == instance["secret"]:
                return Success(100 / attempt)
            yield Reward("guesser", 1 / (1 + abs(guess - instance["secret"])))
            message = "higher" if guess < instance["secret"] else "lower"
        return Lose(fault="guesser")

    def metrics(self, episode: Episode) -> Metrics:
        return Metrics(episode={"Requests": len(episode.replies())})

    def fingerprint(self, instance: Instance) -> str:
        return _puzzle(instance["limit"], instance["secret"])

    def levels(self) -> tuple[str, ...]:
        return tuple(self.limits)

    def generate(
        self, split: str, *, seed: int = 0, level: str | None = None, n: int | None = None
    ) -> dict[str, Any]:
        experiments = []
        for name in [level] if level else self.levels():
            limit = self.limits[name]
            secrets = [s for s in range(1, limit + 1) if split_of(_puzzle(limit, s)) == split]
            random.Random(f"{seed}/{split}/{name}").shuffle(secrets)
            chosen = secrets[: 3 if n is None else n]
            items = [{"game_id": i, "secret": secret} for i, secret in enumerate(chosen)]
            experiments.append(
                {"name": name, "limit": limit, "tries": 10, "game_instances": items},
            )
        return {"experiments": experiments}

    def oracle(self, role: str) -> Program:
        return bisect

    @classmethod
    def schema(cls) -> dict[str, Any]:
        positive = {"type": "integer", "minimum": 1}
        return {
            "$defs": {
                "experiment": {
                    "type": "object",
                    "properties": {"limit": positive, "tries": positive},
                    "required": ["limit", "tries"],
                },
                "instance": {
                    "type": "object",
                    "properties": {
                        "secret": positive,
                        "hints": {"type": "array", "items": {"type": "string"}},
                    },
                    "required": ["secret"],
                },
            }
        }


def _puzzle(limit: int, secret: int) -> str:
    return f"{limit}:{secret}"


def bisect(conversation: Conversation) -> str:
    """Play `GuessingGame` perfectly, from the role's own conversation."""
    limit = re.search(r"from 1 to ([0-9]+)", conversation.messages[0].content)
    assert limit is not None
    low, high = 1, int(limit[1])
    for message in conversation.messages[1:]:
        middle = (low + high) // 2
        if message.content == "higher":
            low = middle + 1
        elif message.content == "lower":
            high = middle - 1
    return str((low + high) // 2)


class RelayGame(Game):
    """One player hints at a drawn word, the other finds it; yields every kind of move."""

    name = "relay"
    roles = (Role("giver", "knows the word"), Role("finder", "looks for it"))
    rules = "0.9"

    def play(self, instance: Instance) -> Play:
        (secret,) = yield Draw(list(instance["words"]))
        yield Note("secret", {"word": secret})
        yield Exchange("finder", "What do you do?", "I look for a word.")
        for number in range(instance["rounds"]):
            if number:
                yield Round()
            yield Tell("giver", f"The word is {secret}.")
            hint = yield from ask("giver", "Give a hint.", _hint)
            yield Tell("finder", f"The hint is: {hint}")
            sure: str = yield from ask("finder", "Sure?", keep=False, max_new_tokens=5)
            yield Note("sure", sure)
            offered = yield Draw(list(instance["words"]), 3)
            yield Tell("finder", f"Among others there are {', '.join(offered)}.")
            word = yield from ask("finder", "Which word is it?", _one_word, retries=2)
            yield Reward("finder", float(word == secret))
            if word == secret:
                score = 100 - 10 * number
                return Success(score, role_scores={"giver": score, "finder": score / 2})
        return Lose(fault="finder", unscored=instance.get("practice", False))

    def oracle(self, role: str) -> Program:
        if role != "finder":
            return super().oracle(role)
        return lambda conversation: conversation.last.partition("hint is: ")[2].split("\n")[0]


def _hint(text: str) -> str:
    if not text.strip():
        raise Violation("empty", "a hint must say something")
    return text.strip()[:40]


def _one_word(text: str) -> str:
    if len(text.split()) != 1:
        raise Violation("many_words", "expected one word", retry="One word only, please.")
    return text.strip().lower()


class EndlessGame(Game):
    """Asks in turn for ever, and is ended by the cap on replies."""

    name = "endless"
    roles = (Role("a"), Role("b"))
    max_replies = 7

    def play(self, instance: Instance) -> Play:
        while True:
            yield Ask("a", "And then?")
            yield Ask("b", "And then?")


class BuggyGame(Game):
    """Breaks the framework's rules in the way that the instance names under ``bug``."""

    name = "buggy"
    roles = (Role("a"), Role("b"))
    score_range = (0, 10)

    bugs: ClassVar[tuple[str, ...]] = (
        "raises at once",
        "raises after a reply",
        "returns nonsense",
        "returns nothing",
        "asks an unknown role",
        "tells an unknown role",
        "unknown role in exchange",
        "score too high",
        "score too low",
        "score is not a number",
        "score is infinite",
        "draws too many",
    )

    def play(self, instance: Instance) -> Play:
        bug = instance["bug"]
        if bug == "raises at once":
            raise ValueError("a bug before the first move")
        reply = yield Ask("a", "Go on.")
        if bug == "raises after a reply":
            raise ZeroDivisionError(f"a bug after {reply.text}")
        if bug == "returns nonsense":
            return 42  # type: ignore[return-value]
        if bug == "returns nothing":
            return None  # type: ignore[return-value]
        if bug == "asks an unknown role":
            yield Ask("nobody", "Are you there?")
        if bug == "tells an unknown role":
            yield Tell("nobody", "You are not there.")
        if bug == "unknown role in exchange":
            yield Exchange("nobody", "Are you there?", "No.")
        if bug == "draws too many":
            yield Draw([1, 2], 3)
        scores = {
            "score too high": 10.5,
            "score too low": -1,
            "score is not a number": float("nan"),
            "score is infinite": float("inf"),
        }
        return Success(scores.get(bug, 10))


def game_of(
    play: Callable[[Instance], Play],
    *,
    roles: Sequence[str] = ("a", "b"),
    name: str = "inline",
    **attributes: Any,
) -> Game:
    """A game whose rules are a generator function; `attributes` replace those of the class."""
    body = {
        "name": name,
        "roles": tuple(Role(role) for role in roles),
        "play": lambda self, instance: play(instance),
        **attributes,
    }
    game: Game = type("InlineGame", (Game,), body)()
    return game


# --- instances -----------------------------------------------------------------------------------


def instance_of(game: Game | str, /, level: str = "only", **data: Any) -> Instance:
    """An instance with the given fields, in an experiment without parameters."""
    name = game if isinstance(game, str) else game.name
    return Instance(name, Experiment(level, {}), data)


def guessing(secret: int = 7, limit: int = 20, tries: int = 6, **data: Any) -> Instance:
    """An instance of `GuessingGame`."""
    experiment = Experiment(f"up to {limit}", {"limit": limit, "tries": tries})
    return Instance("guessing", experiment, {"secret": secret, **data})


def relay(rounds: int = 3, **data: Any) -> Instance:
    """An instance of `RelayGame`."""
    return Instance("relay", Experiment("short", {"rounds": rounds}), {"words": [*WORDS], **data})


# --- playing -------------------------------------------------------------------------------------


def drive(
    game: Game,
    instance: Instance,
    replies: Mapping[str, Sequence[str]] | Program,
    episode: Episode | None = None,
) -> tuple[Episode, list[Conversation]]:
    """Play with the referee alone, from replies per role or with a program.

    Returns:
        The record, and every conversation that was to be answered.
    """
    referee = Referee(game, instance, episode)
    queues = {} if callable(replies) else {role: list(texts) for role, texts in replies.items()}
    seen = []
    pending = referee.advance()
    while pending is not None:
        seen.append(pending)
        text = replies(pending) if callable(replies) else queues[pending.role].pop(0)
        pending = referee.advance(Reply(text))
    return referee.episode, seen


def outcome_of(
    game: Game, instance: Instance, replies: Mapping[str, Sequence[str]] | Program
) -> Outcome:
    """The outcome of playing with given replies."""
    outcome = drive(game, instance, replies)[0].outcome
    assert outcome is not None
    return outcome


def content(episode: Episode) -> Episode:
    """The record without the clock, as two equal episodes share it."""
    return msgspec.structs.replace(episode, started=0.0, seconds=0.0)


def babble(conversation: Conversation) -> str:
    """A program whose reply depends on the sampling seed: good, bad and odd replies."""
    rng = random.Random(conversation.seed)
    replies = [str(rng.randint(1, 20)), rng.choice(WORDS), "", "two words", "x" * 300, "é\n\0"]
    return rng.choices(replies, weights=[8, 8, 1, 1, 1, 1])[0]


def slow_babble(conversation: Conversation) -> str:
    """As `babble`, but it takes its time, so that a process can be killed meanwhile."""
    time.sleep(0.0002)
    return babble(conversation)


# --- players -------------------------------------------------------------------------------------


class DelayedPlayer(Player):
    """Babbles after a delay that its seed decides, so that episodes overtake each other."""

    def __init__(self, target: str = "", options: NoOptions | None = None) -> None:
        self.closed = False

    async def reply(self, conversation: Conversation) -> Reply:
        await asyncio.sleep(conversation.seed % 5 * 0.0005)
        return Reply(babble(conversation))

    async def close(self) -> None:
        self.closed = True


class FlakyOptions(msgspec.Struct, forbid_unknown_fields=True):
    """How often each episode's first question fails; -1 for always."""

    failures: int = 1


class FlakyPlayer(Player):
    """``flaky:`` babbles, but fails at first; its counts outlive it, as a server's state would."""

    Options = FlakyOptions
    failed: ClassVar[dict[tuple[str, int], int]] = {}

    def __init__(self, target: str, options: FlakyOptions) -> None:
        self._failures = options.failures

    def reply(self, conversation: Conversation) -> Reply:
        key = conversation.instance, conversation.repeat
        so_far = self.failed.get(key, 0)
        if conversation.turn == 0 and (self._failures < 0 or so_far < self._failures):
            self.failed[key] = so_far + 1
            raise PlayerError(f"the server of {conversation.episode} is down")
        return Reply(babble(conversation))


class TokenPlayer(Player):
    """Sees tokens: one id per character, with marks around the messages of a made-up template.

    `sent` is what its engine was given for each reply and what it sampled.  With `rewrites` the
    template changes history (it drops old questions), so no reply continues an earlier row.
    """

    USER, ASSISTANT, END = -1, -2, -3

    def __init__(self, program: Program = babble, *, rewrites: bool = False) -> None:
        self._program = program
        self._rewrites = rewrites
        self.sent: list[tuple[str, str, int, list[int], list[int]]] = []
        """Episode, role, turn, ids that the engine read, ids that it sampled."""

    def _ids(self, messages: Sequence[Message]) -> list[int]:
        ids: list[int] = []
        for message in messages:
            mark = self.USER if message.role == "user" else self.ASSISTANT
            ids += [mark, *map(ord, message.content), self.END]
        return ids

    def reply(self, conversation: Conversation) -> Reply:
        messages = conversation.messages
        text = self._program(conversation)
        sampled = [*map(ord, text), self.END]
        kept = [i for i, message in enumerate(messages) if message.reply is not None]
        continued = bool(kept) and not self._rewrites
        shown = [m for m in messages[:-1] if m.role == "assistant"] + [messages[-1]]
        read = [*self._ids(shown if self._rewrites else messages), self.ASSISTANT]
        context = read[len(self._ids(messages[: kept[-1] + 1])) :] if continued else read
        self.sent.append(
            (conversation.episode, conversation.role, conversation.turn, read, sampled)
        )
        logprobs = [-0.5 - i for i in range(len(sampled))]
        return Reply(text, tokens=TokenTrace(context, sampled, logprobs, continued))
