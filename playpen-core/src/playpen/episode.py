"""The record of an episode: its moves, replies and outcome, and each role's view of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import msgspec

from playpen.conversation import (
    Message,
    Reply,
    Trajectory,
    derive_seed,
    trajectory,
)
from playpen.instance import Instance
from playpen.moves import (
    Abort,
    Ask,
    Draw,
    Exchange,
    Lose,
    Note,
    Outcome,
    Reward,
    Round,
    Success,
    Tell,
    Violated,
)


class Said(msgspec.Struct, frozen=True, tag="reply"):
    """A reply that the game got."""

    role: str
    reply: Reply


class Drawn(msgspec.Struct, frozen=True, tag="drawn"):
    """What a chance move gave."""

    values: list[Any]


Event: TypeAlias = Ask | Tell | Exchange | Note | Reward | Round | Draw | Violated | Said | Drawn
"""A move of the game, or what came back for one."""


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


def blank_episode(
    instance: Instance,
    players: dict[str, str],
    *,
    rules: str,
    seed: int = 0,
    repeat: int = 0,
    attempts: int = 1,
) -> Episode:
    """An empty record with its identity filled in."""
    return Episode(
        game=instance.game,
        instance=instance.hash,
        players=players,
        seed=seed,
        repeat=repeat,
        rules=rules,
        experiment=instance.experiment.name,
        instance_id=instance.id,
        split=instance.split,
        events=[],
        attempts=attempts,
    )


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
