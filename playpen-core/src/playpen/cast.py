"""Who plays: every player is made once, seated once per role, and closed at the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any

from playpen.game import Game
from playpen.play_loop import PlayLoop
from playpen.player import Player
from playpen.plugins import make_player, resolve_spec
from playpen.rollout import AssignmentError, assign


class Cast:
    """Who plays: the players by label, and who holds which role.

    Players are made when they are first asked for, and models are loaded when a role is first
    given to them.  Both stay until the cast is closed::

        with make_cast([(None, "hf:runs/sft/final")]) as cast:
            play_run(create_run("runs/first", instances, cast), cast)

    Attributes:
        specs: the spec string of each player, by label.
        everyone: label of who holds the roles that `by_role` does not name, if somebody does.
        by_role: label of who holds a role.
        loop: where they play, and are closed.
    """

    def __init__(
        self,
        specs: Mapping[str, str],
        everyone: str | None = None,
        by_role: Mapping[str, str] | None = None,
        *,
        loop: PlayLoop | None = None,
    ) -> None:
        """Name the players; nobody is made yet.

        Args:
            specs: spec string by label.
            everyone: a label.
            by_role: role to label.
            loop: a new one if `None`.
        """
        self.specs = dict(specs)
        self.everyone = everyone
        self.by_role = dict(by_role or {})
        self.loop = loop or PlayLoop()
        self._lent: Callable[[], Mapping[str, Player]] | None = None
        self._players: Mapping[str, Player] | None = None
        self._seats: dict[tuple[str, str, str], Player] = {}

    @property
    def players(self) -> Mapping[str, Player]:
        """The players by label.

        Raises:
            SpecError, PluginError: a spec is wrong, or its extra is not installed.
        """
        if self._players is None:
            self._players = (
                self._lent()
                if self._lent is not None
                else {label: make_player(spec) for label, spec in self.specs.items()}
            )
        return self._players

    @property
    def serial(self) -> bool:
        """Whether somebody plays one episode at a time (a person at a terminal)."""
        return any(player.serial for player in self.players.values())

    def assignments(self, games: Sequence[Game]) -> dict[str, dict[str, str]]:
        """Per game, the label of the player in each role.

        A role need not be one of every game, but must be one of some game.

        Raises:
            AssignmentError: a role that no game has, or a role that nobody plays.
        """
        everywhere = {role for game in games for role in game.role_names()}
        return {
            game.name: assign(
                game,
                self.everyone,
                {
                    role: label
                    for role, label in self.by_role.items()
                    if role in game.role_names() or role not in everywhere
                },
            )
            for game in games
        }

    def seats(self, game: Game, labels: Mapping[str, str]) -> dict[str, Player]:
        """The player in each role of a game.

        Args:
            game: whose roles.
            labels: role to label.

        Raises:
            SpecError, PluginError, PlayerError: a player cannot be made, or cannot play the game.
        """
        return {role: self._seat(game, role, label) for role, label in labels.items()}

    def _seat(self, game: Game, role: str, label: str) -> Player:
        key = (game.name, role, label)
        if key not in self._seats:
            self._seats[key] = self.players[label].seat(game, role)
        return self._seats[key]

    def describe(self) -> dict[str, dict[str, Any]]:
        """What a run records about each player, by label."""
        return {label: player.describe() for label, player in self.players.items()}

    def share(
        self,
        members: Mapping[str, str],
        everyone: str | None = None,
        by_role: Mapping[str, str] | None = None,
    ) -> Cast:
        """Some of the players, who stay this cast's to close, under other labels.

        Args:
            members: the new label of each, to its label here.
            everyone: a new label.
            by_role: role to new label.
        """
        specs = {label: self.specs[mine] for label, mine in members.items()}
        shared = Cast(specs, everyone, by_role, loop=self.loop)
        shared._lent = lambda: {label: self.players[mine] for label, mine in members.items()}
        return shared

    def close(self) -> None:
        """Release the players that were made, and end the loop."""
        try:
            if self._players:
                self.loop.run(self.release())
        finally:
            self.loop.close()

    async def release(self) -> None:
        """Release the players that were made, in the loop that is running."""
        made, self._players = self._players, None
        self._seats.clear()
        async with AsyncExitStack() as stack:  # all of them, whatever one of them raises
            for player in (made or {}).values():
                stack.push_async_callback(player.close)

    def __enter__(self) -> Cast:
        """The cast, which is closed at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def make_cast(assignments: Sequence[tuple[str | None, str]]) -> Cast:
    """Label the players of ``-p SPEC`` (role `None`) and ``-p ROLE=SPEC`` assignments.

    Each is a player of its own: naming the same spec twice gives two players.

    Raises:
        SpecError: a spec is malformed.
        AssignmentError: a role is given twice, or more than one player is for all roles.
    """
    specs: dict[str, str] = {}
    everyone: str | None = None
    by_role: dict[str, str] = {}
    for role, text in assignments:
        spec = str(resolve_spec(text))
        label, number = spec, 2
        while label in specs:
            label, number = f"{spec}#{number}", number + 1
        specs[label] = spec
        if role is None:
            if everyone is not None:
                raise AssignmentError(
                    "-p SPEC names the player of all roles and can be given once; "
                    "use -p ROLE=SPEC for single roles"
                )
            everyone = label
        elif role in by_role:
            raise AssignmentError(f"the role {role!r} is given to two players")
        else:
            by_role[role] = label
    return Cast(specs, everyone, by_role)
