"""Replays the recorded episodes of the parity sample, where it is present."""

from __future__ import annotations

import gzip
import json

import pytest

from playpen import play
from playpen.conversation import Reply
from playpen.instance_sets import Checker
from playpen.interop.recordings import instance_of, read_recordings, replay_recording
from playpen.players.program import FunctionPlayer
from playpen.replay import replay_script
from playpen_clembench.matchit_ascii.game import MatchItAscii

GAME = MatchItAscii()
ROLES = {"Player 1": "player_a", "Player 2": "player_b"}


@pytest.fixture(scope="module")
def recorded(parity):
    return list(read_recordings(parity / "clem" / "matchit_ascii.jsonl.gz"))


@pytest.fixture(scope="module")
def turn_scores(parity):
    with gzip.open(parity / "clem" / "matchit_ascii.jsonl.gz", "rt", encoding="utf-8") as lines:
        return {line["id"]: line["turn_scores"] for line in map(json.loads, lines)}


def replayed(recording):
    script = [(ROLES[r.player], Reply(r.content)) for r in recording.responses]
    return replay_script(GAME, instance_of(recording), script).episode


def test_recorded_episodes_replay_to_the_same_scores(recorded, turn_scores):
    assert len(recorded) == 8
    flags = {"Aborted", "Success", "Lose", "Main Score"}
    for recording in recorded:
        assert replay_recording(GAME, recording)[1] == []
        metrics = GAME.metrics(replayed(recording))
        assert metrics.rounds == turn_scores[recording.id]
        assert metrics.episode.keys() | flags == recording.episode_scores.keys()


def test_recorded_prompts_are_sent_as_recorded(recorded):
    for recording in recorded:
        episode = replayed(recording)
        events = [event for turn in recording.turns for event in turn]
        for player, role in ROLES.items():
            sent = [
                event["content"]
                for event in events
                if event["to"] == player and event["type"] == "send message"
            ]
            chat = episode.conversation(role)
            assert [message.content for message in chat if message.role == "user"] == sent


def test_recorded_instances_are_valid(recorded):
    checker = Checker(GAME)
    for recording in recorded:
        assert checker.errors("experiment", recording.experiment_config) == []
        assert checker.errors("instance", recording.instance) == []


def test_the_oracles_win_the_recorded_instances(recorded):
    players = {role: FunctionPlayer(GAME.oracle(role)) for role in GAME.role_names()}
    episodes = play(GAME, players, [instance_of(recording) for recording in recorded])
    assert [episode.main_score for episode in episodes] == [100] * 8
