"""What the tests of several games need: instances, oracles, scripted plays, and what was shown."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from playpen import (
    Conversation,
    Episode,
    Game,
    Instance,
    Message,
    Note,
    Program,
    Reply,
    get_game,
)
from playpen.instance_sets import parse_instances
from playpen.players.program import FunctionPlayer
from playpen.referee import Referee, new_episode
from playpen.replay import Replay, replay_script
from playpen.testing.packs import find_pack

GAMES = [get_game(name) for name in find_pack("playpen-games-clembench").games]
every_game = pytest.mark.parametrize("game", GAMES, ids=lambda game: game.name)


def generated(game: Game, split: str, **options: Any) -> list[Instance]:
    """What the game's generator makes, valid by its schema."""
    return parse_instances(game.generate(split, **options), game, split=split)


def oracles(game: Game) -> dict[str, FunctionPlayer]:
    """A player for each role."""
    return {role: FunctionPlayer(game.oracle(role)) for role in game.role_names()}


def consult(game: Game, role: str, *texts: str, seed: int = 0) -> str:
    """What a role's oracle says after messages and replies by turns, a message first."""
    messages = [Message("assistant" if n % 2 else "user", text) for n, text in enumerate(texts)]
    return game.oracle(role)(Conversation(role, messages, sampling_seed=seed))


def self_play(game: Game, item: Instance, *, repeat: int = 0, **others: Program) -> Episode:
    """The oracles' episode; `others` play their roles instead of the oracles."""
    programs = {role: others.get(role) or game.oracle(role) for role in game.role_names()}
    referee = Referee(game, item, new_episode(game, item, {}, repeat=repeat))
    pending = referee.advance()
    while pending is not None:
        pending = referee.advance(Reply(programs[pending.role](pending)))
    return referee.episode


def by_turns(game: Game, item: Instance, *replies: str) -> Replay:
    """Replies of the roles by turns, in the order in which the game names them."""
    roles = itertools.cycle(game.role_names())
    script = [(role, Reply(text)) for role, text in zip(roles, replies, strict=False)]
    return replay_script(game, item, script)


def whole(result: Replay) -> Episode:
    """The episode of a script that the game uses up, and that comes to an end with it."""
    assert (result.complete, result.unused, result.divergences) == (True, 0, [])
    return result.episode


def shown(episode: Episode, role: str) -> list[str]:
    """The user messages of a role."""
    return [m.content for m in episode.conversation(role) if m.role == "user"]


def noted(episode: Episode, kind: str) -> list[Any]:
    """The data of the game master's notes of a kind."""
    return [e.data for e in episode.events if isinstance(e, Note) and e.kind == kind]
