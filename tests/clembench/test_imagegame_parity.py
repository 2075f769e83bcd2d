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
from playpen_clembench.imagegame.game import ImageGame

ROLES = {"Player 1": "giver", "Player 2": "follower"}
COUNTS = {"Request Count", "Parsed Request Count", "Request Success Ratio"}


class AsRecorded(ImageGame):
    """The sample was recorded with clemcore 3.2."""

    header_is_event = True


@pytest.fixture(scope="module")
def recorded(parity):
    return list(read_recordings(parity / "clem" / "imagegame.jsonl.gz"))


@pytest.fixture(scope="module")
def turn_scores(parity):
    with gzip.open(parity / "clem" / "imagegame.jsonl.gz", "rt", encoding="utf-8") as lines:
        return {line["id"]: line["turn_scores"] for line in map(json.loads, lines)}


def replayed(game, recording):
    script = [(ROLES[r.player], Reply(r.content)) for r in recording.responses]
    return replay_script(game, instance_of(recording), script).episode


def test_recorded_episodes_replay_to_the_same_scores(recorded, turn_scores):
    assert len(recorded) == 11
    game = AsRecorded()
    for recording in recorded:
        assert replay_recording(game, recording)[1] == []
        metrics = game.metrics(replayed(game, recording))
        assert metrics.episode == pytest.approx(recording.episode_scores)
        assert metrics.rounds == turn_scores[recording.id]


def test_the_count_of_the_present_clemcore_differs_in_the_first_round_only(recorded, turn_scores):
    game = ImageGame()
    for recording in recorded:
        assert {d.where for d in replay_recording(game, recording)[1]} <= COUNTS
        metrics = game.metrics(replayed(game, recording))
        header = int(any(r.player == "Player 2" for r in recording.responses))
        assert (
            metrics.episode["Request Count"] + header == (recording.episode_scores["Request Count"])
        )
        for key, values in turn_scores[recording.id].items():
            if key != "0":
                assert metrics.rounds[key] == values


def test_recorded_prompts_are_sent_as_recorded(recorded):
    for recording in recorded:
        episode = replayed(ImageGame(), recording)
        events = [event for turn in recording.turns for event in turn]
        for player, role in ROLES.items():
            sent = [
                event["content"]
                for event in events
                if event["to"] == player and event["type"] == "send message"
            ]
            if role == "follower" and sent:
                sent[:2] = ["\n\n".join(sent[:2])]  # the header was logged by itself
            chat = episode.conversation(role)
            assert [message.content for message in chat if message.role == "user"] == sent


def test_recorded_instances_are_valid(recorded):
    checker = Checker(ImageGame())
    for recording in recorded:
        assert checker.errors("experiment", recording.experiment_config) == []
        assert checker.errors("instance", recording.instance) == []


def test_the_oracles_win_the_recorded_instances(recorded):
    game = ImageGame()
    players = {role: FunctionPlayer(game.oracle(role)) for role in game.role_names()}
    episodes = play(game, players, [instance_of(recording) for recording in recorded])
    assert [episode.main_score for episode in episodes] == [100] * 11
