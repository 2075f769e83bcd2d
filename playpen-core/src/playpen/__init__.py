"""Playpen: language models learn by playing dialogue games.

The names here are the public interface for pack authors and notebooks; heavier parts
(`playpen.training`, `playpen.players.hf`) are imported from their modules.
"""

from playpen.conversation import Conversation, Message, Reply, Row, TokenTrace, Trajectory
from playpen.episode import Episode
from playpen.errors import PlaypenError
from playpen.game import Game, Metrics, Program, Role
from playpen.hookspecs import GameSpec, PlayerSpec, RecipeSpec, RewardSpec, TrainerSpec, hookimpl
from playpen.instance import Experiment, Instance, split_of
from playpen.instance_sets import read_instances, ready_instances
from playpen.moves import (
    Abort,
    Ask,
    Draw,
    Exchange,
    Lose,
    Move,
    Note,
    Outcome,
    Play,
    Reward,
    Round,
    Success,
    Tell,
    Violated,
    Violation,
    ask,
)
from playpen.player import Player, PlayerError
from playpen.plugins import get_game, make_player
from playpen.referee import Referee
from playpen.replay import fork, replay
from playpen.rollout import play

__all__ = [
    "Abort",
    "Ask",
    "Conversation",
    "Draw",
    "Episode",
    "Exchange",
    "Experiment",
    "Game",
    "GameSpec",
    "Instance",
    "Lose",
    "Message",
    "Metrics",
    "Move",
    "Note",
    "Outcome",
    "Play",
    "Player",
    "PlayerError",
    "PlayerSpec",
    "PlaypenError",
    "Program",
    "RecipeSpec",
    "Referee",
    "Reply",
    "Reward",
    "RewardSpec",
    "Role",
    "Round",
    "Row",
    "Success",
    "Tell",
    "TokenTrace",
    "TrainerSpec",
    "Trajectory",
    "Violated",
    "Violation",
    "ask",
    "fork",
    "get_game",
    "hookimpl",
    "make_player",
    "play",
    "read_instances",
    "ready_instances",
    "replay",
    "split_of",
]
