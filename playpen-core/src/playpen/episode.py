"""The episode record and the referee that drives a game's generator; replay and fork."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any, Literal, TypeAlias

import msgspec

from playpen.conversation import (
    Conversation,
    Message,
    Reply,
    Trajectory,
    derive_seed,
    encodable,
    storable,
    trajectory,
)
from playpen.game import Game
from playpen.instance import Instance
from playpen.moves import (
    Abort,
    Ask,
    Draw,
    Exchange,
    Lose,
    Move,
    Note,
    Outcome,
    Reward,
    Round,
    Success,
    Tell,
    Violated,
    Violation,
)

MOST_MOVES = 100_000
"""A game that makes so many moves in a row without a question will never ask one."""


class Said(msgspec.Struct, frozen=True, tag="reply"):
    """A reply that the game got."""

    role: str
    reply: Reply


class Drawn(msgspec.Struct, frozen=True, tag="drawn"):
    """What a chance move gave."""

    values: list[Any]


Event: TypeAlias = Ask | Tell | Exchange | Note | Reward | Round | Draw | Violated | Said | Drawn
"""A move of the game, or what came back for one."""


class GameError(Exception):
    """A game broke the rules of the framework (a bug in the game, not a player's mistake)."""


class Failure(msgspec.Struct, frozen=True):
    """Why an episode has no outcome: a player or its server failed, or a game has a bug."""

    kind: str
    message: str
    role: str | None = None


Ending: TypeAlias = Literal["success", "lose", "abort"]
"""How an episode ended that has an outcome."""

Key: TypeAlias = tuple[str, str, str, int, int]
"""Identity of a unit of work: game, instance hash, role assignment, seed, repeat."""


def identity(game: str, instance: str, players: Mapping[str, str], seed: int, repeat: int) -> Key:
    """The identity of a unit of work; the order of the roles carries no meaning."""
    assignment = "|".join(f"{role}={name}" for role, name in sorted(players.items()))
    return (game, instance, assignment, seed, repeat)


class Episode(msgspec.Struct, omit_defaults=True):
    """The complete record of one episode.

    ``(game, instance, players, seed, repeat)`` is its identity; the replies and draws among
    `events` determine everything else.

    Attributes:
        game, rules: name of the game and version of its rules.
        experiment, instance_id: the names people know the instance by.
        instance: the instance's content hash.
        players: label of the player in each role.
        seed, repeat: seed of the run, and number of the repeat of this instance in it.
        events: the moves, replies and draws, in order.
        outcome: `None` exactly if the episode failed.
        failure: what went wrong with the infrastructure, if something did.
        attempts: how often the episode was tried.
        started: start, in seconds since 1970 (UTC).
        seconds: duration.
    """

    game: str
    instance: str
    players: dict[str, str]
    seed: int = 0
    repeat: int = 0
    rules: str = ""
    experiment: str = ""
    instance_id: int | str = ""
    split: str | None = None
    events: list[Event] = []
    outcome: Outcome | None = None
    failure: Failure | None = None
    attempts: int = 1
    started: float = 0.0
    seconds: float = 0.0

    @property
    def key(self) -> Key:
        """Identity: game, instance hash, role assignment, seed, repeat."""
        return identity(self.game, self.instance, self.players, self.seed, self.repeat)

    @property
    def name(self) -> str:
        """What messages for people call the episode."""
        repeat = f"#{self.repeat}" if self.repeat else ""
        return f"{self.game}/{self.experiment}/{self.instance_id}{repeat}"

    @property
    def draw_seed(self) -> int:
        """Seed of the chance moves: the same for all repeats of one instance."""
        return derive_seed("draw", self.seed, self.game, self.instance)

    @property
    def sampling_seed(self) -> int:
        """Seed of the players' sampling: one per repeat."""
        return derive_seed("sampling", self.seed, self.game, self.instance, self.repeat)

    @property
    def aborted(self) -> bool:
        """Whether a broken rule ended the episode."""
        return isinstance(self.outcome, Abort)

    @property
    def success(self) -> bool:
        """Whether the goal was reached."""
        return isinstance(self.outcome, Success)

    @property
    def lose(self) -> bool:
        """Whether the episode was played to its end and lost."""
        return isinstance(self.outcome, Lose)

    @property
    def ending(self) -> Ending:
        """How it ended; asked of an episode that has an outcome."""
        return "success" if self.success else "lose" if self.lose else "abort"

    @property
    def main_score(self) -> float | None:
        """The main score, `None` for aborted and failed episodes."""
        return None if self.outcome is None else self.outcome.score

    def replies(self, role: str | None = None) -> list[Said]:
        """The replies in order, of one role or of all."""
        return [e for e in self.events if isinstance(e, Said) and role in (None, e.role)]

    def draws(self) -> list[list[Any]]:
        """What the chance moves gave, in order."""
        return [event.values for event in self.events if isinstance(event, Drawn)]

    def conversation(self, role: str) -> list[Message]:
        """The chat of one role as it stands at the end, side questions left out."""
        return self._follow(role)[0].messages

    def turns(self, role: str) -> list[Turn]:
        """What one role was asked and what it replied, in order, side questions included."""
        return self._follow(role)[1]

    def _follow(self, role: str) -> tuple[View, list[Turn]]:
        view = View()
        turns: list[Turn] = []
        asked: list[Message] = []
        keep = True
        for event in self.events:
            match event:
                case Tell(r, text) if r == role:
                    view.pending.append(text)
                case Exchange(r, text, answer) if r == role:
                    view.exchange(text, answer)
                case Ask(r, text, keep=kept) if r == role:
                    keep = kept
                    question = view.question(text, side=not keep)
                    asked = [*view.messages, question]
                    if keep:
                        view.messages.append(question)
                case Said(r, reply) if r == role:
                    turns.append(Turn(asked, reply, keep))
                    if keep:
                        view.messages.append(Message("assistant", reply.text, reply))
        return view, turns

    def trajectory(self, role: str) -> Trajectory | None:
        """The tokens of one role, or `None` if its player did not see tokens."""
        return trajectory(role, [(turn.reply, turn.keep) for turn in self.turns(role)])


class Turn(msgspec.Struct, frozen=True):
    """One reply with the chat that it answers; `keep` is false for a side question."""

    messages: list[Message]
    reply: Reply
    keep: bool


class View:
    """One role's chat while an episode is played."""

    __slots__ = ("messages", "pending", "turn")

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.pending: list[str] = []
        self.turn = 0

    def question(self, text: str, *, side: bool = False) -> Message:
        """The next user message: what is pending, then `text`.  A side question leaves it."""
        if side or not self.pending:
            return Message("user", text)
        joined = "\n\n".join([*self.pending, text])
        self.pending.clear()
        return Message("user", joined)

    def exchange(self, text: str, reply: str) -> None:
        """Add a fixed question and answer."""
        self.messages.append(self.question(text))
        self.messages.append(Message("assistant", reply))


def _copied(value: Any) -> Any:
    """The value as a file gives it back; raises for what is not JSON."""
    if value is None or (type(value) is str and value.isascii()):
        return value
    return msgspec.json.decode(msgspec.json.encode(value))


class Referee:
    """Drives one episode of a game, without any input or output of its own.

    Call `advance()` once to start, then `advance(reply)` for each reply.  It returns the
    conversation to be answered next, or `None` when the episode is over and `outcome` is set.
    """

    def __init__(
        self,
        game: Game,
        instance: Instance,
        episode: Episode | None = None,
        *,
        draws: Iterable[list[Any]] = (),
        sampling_seed: int | None = None,
    ) -> None:
        """Prepare an episode.

        Args:
            game: the rules.
            instance: what is played.
            episode: identity and seeds; its events are filled while playing.
            draws: recorded results of the first chance moves, in order; further ones are drawn.
            sampling_seed: replaces the episode's own (forks sample anew).
        """
        self.game = game
        self.instance = instance
        self.episode = episode or new_episode(game, instance, {})
        self.outcome: Outcome | None = None
        self._sampling_seed = self.episode.sampling_seed if sampling_seed is None else sampling_seed
        self._name = self.episode.name
        # One stream: a recording need not tell where one chance move ended and the next began.
        self._recorded = chain.from_iterable(draws)
        self._draws = 0
        self._asked = 0
        self._pending: Ask | None = None
        self._views = {name: View() for name in game.role_names()}
        self._generator = game.play(instance)

    def advance(self, reply: Reply | None = None) -> Conversation | None:
        """Hand in the reply that was asked for and run the game to its next question.

        Raises:
            GameError: the game broke the framework's rules.
            Exception: whatever a buggy game raises; the scheduler records it as a failure.
        """
        value: Any = None
        events = self.episode.events
        ask = self._pending
        if ask is not None:
            if reply is None:
                raise TypeError("advance() needs the reply that was asked for")
            reply = storable(reply)
            view = self._views[ask.role]
            view.turn += 1
            if ask.keep:
                view.messages.append(Message("assistant", reply.text, reply))
            events.append(Said(ask.role, reply))
            self._pending = None
            value = reply
        send = self._generator.send
        try:
            for _ in range(MOST_MOVES):
                move: Move = send(value)
                value = None
                kind = type(move)
                if kind is Ask:
                    assert isinstance(move, Ask)
                    if self._asked >= self.game.max_replies:
                        self._generator.close()
                        limit = self.game.max_replies
                        self._end(
                            Abort("reply_limit", f"the game asked for more than {limit} replies")
                        )
                        return None
                    return self._question(move)
                if kind is Draw:
                    assert isinstance(move, Draw)
                    # Copies, here and for notes: the game may go on using what it drew from.
                    events.append(Draw(_copied(move.options), move.k))
                    value = self._draw(move)
                    events.append(Drawn(_copied(value)))
                    continue
                if kind is Note:
                    assert isinstance(move, Note)
                    # The game may go on using what it noted; the record must not change with it.
                    events.append(Note(self._text(move.kind), _copied(move.data)))
                    continue
                if kind is Tell:
                    assert isinstance(move, Tell)
                    self._view(move.role).pending.append(self._text(move.text))
                elif kind is Exchange:
                    assert isinstance(move, Exchange)
                    view = self._view(move.role)
                    view.exchange(self._text(move.text), self._text(move.reply))
                elif kind is Reward:
                    assert isinstance(move, Reward)
                    self._view(move.role)
                    self._number(move.value, "reward")
                elif kind is Violated:
                    assert isinstance(move, Violated)
                    self._view(move.role)
                    self._text(move.message)
                elif kind is not Round:
                    raise GameError(
                        f"the game {self.game.name!r} yielded {move!r}, which is not a move"
                    )
                events.append(move)
        except StopIteration as stop:
            self._end(stop.value)
        except Violation as violation:
            self._end(Abort(violation.code, violation.message, violation.role))
        else:
            raise GameError(
                f"the game {self.game.name!r} made {MOST_MOVES} moves without asking anybody"
            )
        return None

    def _view(self, role: str) -> View:
        try:
            return self._views[role]
        except KeyError:
            raise GameError(
                f"the game {self.game.name!r} addressed the role {role!r}; "
                f"its roles are {', '.join(self._views)}"
            ) from None

    def _text(self, text: object) -> str:
        """A text of a move, if a record can hold it."""
        if type(text) is not str or not encodable(text):
            raise GameError(f"a move of the game {self.game.name!r} has {text!r} as its text")
        return text

    def _number(self, value: object, name: str) -> None:
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not math.isfinite(value)
        ):
            raise GameError(f"the game {self.game.name!r} gave the {name} {value!r}, not a number")

    def _question(self, move: Ask) -> Conversation:
        view = self._view(move.role)
        message = view.question(self._text(move.text), side=not move.keep)
        self.episode.events.append(move)
        self._pending = move
        self._asked += 1
        messages = view.messages
        if move.keep:
            messages.append(message)
        else:
            messages = [*messages, message]
        return Conversation(
            move.role,
            messages,
            game=self.game.name,
            instance=self.episode.instance,
            repeat=self.episode.repeat,
            turn=view.turn,
            side=not move.keep,
            sampling_seed=self._sampling_seed,
            max_new_tokens=move.max_new_tokens,
            episode=self._name,
        )

    def _draw(self, move: Draw) -> list[Any]:
        number = self._draws
        self._draws += 1
        recorded = list(islice(self._recorded, move.k))
        if len(recorded) == move.k:
            return recorded
        # A generator of its own for each draw: a fork needs no state of an earlier one.
        rng = random.Random(derive_seed(self.episode.draw_seed, number))
        return rng.sample(move.options, move.k)

    def _end(self, outcome: object) -> None:
        if not isinstance(outcome, Success | Lose | Abort):
            raise GameError(
                f"play() of the game {self.game.name!r} returned {outcome!r}; "
                "it must return Success, Lose or Abort"
            )
        if isinstance(outcome, Abort):
            self._text(outcome.message)
        else:
            for role, value in (outcome.role_scores or {}).items():
                self._view(role)
                self._number(value, f"score of {role}")
        low, high = self.game.score_range
        if outcome.score is not None:
            self._number(outcome.score, "score")
            if not low <= outcome.score <= high:
                raise GameError(
                    f"the game {self.game.name!r} gave the score {outcome.score}; "
                    f"its score_range is {low} to {high}"
                )
        self.outcome = self.episode.outcome = outcome


def new_episode(
    game: Game,
    instance: Instance,
    players: dict[str, str],
    *,
    seed: int = 0,
    repeat: int = 0,
    attempts: int = 1,
) -> Episode:
    """An empty record with its identity filled in."""
    return Episode(
        game=game.name,
        instance=instance.hash,
        players=players,
        seed=seed,
        repeat=repeat,
        rules=game.rules,
        experiment=instance.experiment.name,
        instance_id=instance.id,
        split=instance.split,
        events=[],
        attempts=attempts,
    )


class Divergence(msgspec.Struct, frozen=True):
    """A place where a replay differs from the recording.

    `where` is the number of the event, or ``outcome``, or the name of a score.
    """

    where: int | str
    kind: Literal["move", "role", "outcome", "score", "missing", "unused"]
    recorded: Any
    replayed: Any

    def __str__(self) -> str:
        place = f"event {self.where}" if isinstance(self.where, int) else str(self.where)
        return f"{place}: recorded {_short(self.recorded)}, replayed {_short(self.replayed)}"


def _short(value: object) -> str:
    text = str(value) if not isinstance(value, str) else repr(value)
    return text if len(text) <= 160 else text[:157] + "..."


class Replay(msgspec.Struct):
    """Result of replaying a script of replies.

    Attributes:
        episode: the episode as the rules play it now.
        complete: whether it came to an outcome before the script ran out.
        unused: how many replies were left over.
        divergences: where it differs from the recording.
    """

    episode: Episode
    complete: bool
    unused: int
    divergences: list[Divergence] = []


def replay_script(
    game: Game,
    instance: Instance,
    script: Sequence[tuple[str | None, Reply]],
    *,
    draws: Iterable[list[Any]] = (),
    episode: Episode | None = None,
) -> Replay:
    """Play an instance with given replies: one queue over all roles.

    Args:
        game: the rules.
        instance: what to play.
        script: ``(role, reply)`` in order; a role of `None` fits any.
        draws: recorded results of the chance moves.
        episode: an empty record that carries identity and seeds.
    """
    referee = Referee(game, instance, episode, draws=draws)
    divergences: list[Divergence] = []
    pending = referee.advance()
    used = 0
    while pending is not None and used < len(script):
        role, reply = script[used]
        if role is not None and role != pending.role:
            divergences.append(Divergence(f"reply {used}", "role", role, pending.role))
        used += 1
        pending = referee.advance(reply)
    return Replay(referee.episode, pending is None, len(script) - used, divergences)


def replay(game: Game, instance: Instance, recorded: Episode) -> Replay:
    """Play a recorded episode again and compare every move and the outcome.

    A failed episode has no outcome; its replay is compared as far as it was played.
    """
    script = [(said.role, said.reply) for said in recorded.replies()]
    blank = new_episode(
        game, instance, recorded.players, seed=recorded.seed, repeat=recorded.repeat
    )
    result = replay_script(game, instance, script, draws=recorded.draws(), episode=blank)
    for number, (old, new) in enumerate(zip(recorded.events, result.episode.events, strict=False)):
        if not _same(old, new):
            result.divergences.append(Divergence(number, "move", old, new))
    old_length, new_length = len(recorded.events), len(result.episode.events)
    if recorded.outcome is not None:
        if old_length != new_length:
            result.divergences.append(
                Divergence("number of events", "move", old_length, new_length)
            )
        if recorded.outcome != result.episode.outcome:
            result.divergences.append(
                Divergence("outcome", "outcome", recorded.outcome, result.episode.outcome)
            )
    return result


def _same(old: Event, new: Event) -> bool:
    """Compare as JSON: a game may note a tuple, a recording holds the list it became."""
    return old == new or msgspec.json.encode(old) == msgspec.json.encode(new)


def fork(
    game: Game,
    instance: Instance,
    recorded: Episode,
    turn: int,
    *,
    sampling_seed: int,
    episode: Episode | None = None,
) -> tuple[Referee, Conversation]:
    """Take an episode up again before its reply number `turn` (counted over all roles).

    The prefix of replies and its draws are kept; what follows is sampled with `sampling_seed`.
    The record is written into `episode`, an empty one with the same seed and repeat, if given.

    Returns:
        The referee and the conversation that waits for a new reply.

    Raises:
        ValueError: the episode has no such reply, or the rules now play the prefix differently.
    """
    said = recorded.replies()
    if not 0 <= turn < len(said):
        raise ValueError(f"{recorded.name} has {len(said)} replies; there is no reply {turn}")
    blank = episode or new_episode(
        game, instance, recorded.players, seed=recorded.seed, repeat=recorded.repeat
    )
    draws = list(_draws_before(recorded, turn))
    referee = Referee(game, instance, blank, draws=draws, sampling_seed=sampling_seed)
    pending = referee.advance()
    for past in said[:turn]:
        if pending is None or pending.role != past.role:
            break
        pending = referee.advance(past.reply)
    prefix = zip(recorded.events, referee.episode.events, strict=False)
    same = all(_same(old, new) for old, new in prefix)
    if pending is None or pending.role != said[turn].role or not same:
        raise ValueError(f"{recorded.name} no longer plays as recorded; replay it to see where")
    return referee, pending


def _draws_before(recorded: Episode, turn: int) -> Iterator[list[Any]]:
    seen = 0
    for event in recorded.events:
        if isinstance(event, Said):
            if seen == turn:
                return
            seen += 1
        elif isinstance(event, Drawn):
            yield event.values
