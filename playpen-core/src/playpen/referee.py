"""The referee: drives a game's generator from question to question."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable
from itertools import chain, islice
from typing import Any

import msgspec

from playpen.conversation import (
    Conversation,
    Message,
    Reply,
    derive_seed,
    encodable,
    storable,
)
from playpen.episode import Drawn, Episode, Said, View, blank_episode
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


class GameError(Exception):
    """A game broke the rules of the framework (a bug in the game, not a player's mistake)."""


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


def blank_copy(game: Game, instance: Instance, played: Episode, *, attempts: int = 1) -> Episode:
    """The empty record of playing an episode again: the same players, seed and repeat.

    Args:
        game: the rules as they are now.
        instance: what was played.
        played: the episode.
        attempts: how often it was tried, this time included.
    """
    return new_episode(
        game, instance, played.players, seed=played.seed, repeat=played.repeat, attempts=attempts
    )


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
    return blank_episode(
        instance, players, rules=game.rules, seed=seed, repeat=repeat, attempts=attempts
    )
