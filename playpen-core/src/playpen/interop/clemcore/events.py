"""The events of an episode in clemcore's form: rounds of messages and game-master events."""

from __future__ import annotations

from typing import Any

import msgspec

from playpen.episode import Drawn, Episode, Said, View
from playpen.game import Game
from playpen.interop.clemcore.vocabulary import (
    CONTEXT,
    DRAWN,
    FORGET,
    GET,
    MASTER,
    PSEUDO,
    RESPONSE,
    SEND,
    players_of,
)
from playpen.moves import Ask, Exchange, Note, Reward, Round, Tell, Violated


class EpisodeEvents:
    """The rounds of an episode, and how many replies each round saw and how many broke a rule.

    A player's message is what its conversation shows: what it was told before comes first.
    """

    def __init__(self, game: Game, episode: Episode, timestamp: str) -> None:
        """Go through the record.

        Args:
            game: whose roles are the players.
            episode: the record.
            timestamp: the time of every event.
        """
        self.rounds: list[list[dict[str, Any]]] = [[]]
        self.requests = [0]
        self.violated = [0]
        self._timestamp = timestamp
        self._players = players_of(game)
        self._views = {role: View() for role in self._players}
        self._answer = RESPONSE
        for event in episode.events:
            self._add(event)
        for role, view in self._views.items():
            if view.pending:  # told at the end, and nothing was asked after it
                self._send(role, view.question(view.pending.pop()).content, CONTEXT)
        self._note("outcome", msgspec.to_builtins(episode.outcome))

    def _add(self, event: object) -> None:
        match event:
            case Round():
                self.rounds.append([])
                self.requests.append(0)
                self.violated.append(0)
            case Tell(role, text):
                self._views[role].pending.append(text)
            case Ask(role, text, keep):
                content = self._views[role].question(text, side=not keep).content
                self._send(role, content, CONTEXT if keep else FORGET)
                self._answer = RESPONSE if keep else FORGET
            case Said(role, reply):
                self._get(role, reply.text, self._answer)
                self.requests[-1] += 1
            case Exchange(role, text, reply):
                self._send(role, self._views[role].question(text).content, PSEUDO)
                self._get(role, reply, PSEUDO)
            case Violated(role, code, message, retried):
                self.violated[-1] += 1
                broken = {"role": role, "code": code, "message": message, "retried": retried}
                self._note("violation", broken)
            case Note(kind, data):
                self._note(kind, data)
            case Reward(role, value):
                self._note("reward", {"role": role, "value": value})
            case Drawn(values):
                self._note(DRAWN, values)

    def _send(self, role: str, content: str, label: str) -> None:
        action = {"type": SEND, "content": content, "label": label}
        self._event(MASTER, self._players[role], action)

    def _get(self, role: str, content: str, label: str) -> None:
        action = {"type": GET, "content": content, "label": label}
        self._event(self._players[role], MASTER, action)

    def _note(self, kind: str, content: object) -> None:
        self._event(MASTER, MASTER, {"type": kind, "content": content})

    def _event(self, sender: str, to: str, action: dict[str, Any]) -> None:
        self.rounds[-1].append(
            {"from": sender, "to": to, "timestamp": self._timestamp, "action": action}
        )
