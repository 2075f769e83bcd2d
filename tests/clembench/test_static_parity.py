"""Replays the recorded answers of the parity sample, where it is present."""

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
from playpen.scoring import episode_scores
from playpen_clembench.static.cladder import Cladder
from playpen_clembench.static.eqbench import EqBench
from playpen_clembench.static.ifeval import IfEval
from playpen_clembench.static.mmlu_pro import MmluPro

RECORDED = pytest.mark.parametrize(
    ("game", "count"),
    [(Cladder(), 101), (EqBench(), 34), (IfEval(), 54), (MmluPro(), 113)],
    ids=lambda value: getattr(value, "name", None),
)


@pytest.fixture
def recorded(parity, game):
    return list(read_recordings(parity / "static" / f"{game.name}.jsonl.gz"))


def replayed(game, recording):
    script = [("answerer", Reply(response.content)) for response in recording.responses]
    return replay_script(game, instance_of(recording), script).episode


@RECORDED
def test_recorded_episodes_replay_to_the_same_scores(game, count, recorded):
    assert len(recorded) == count
    for recording in recorded:
        assert replay_recording(game, recording)[1] == []
        # Equal to the last bit, and nothing more than what was recorded.
        episode = replayed(game, recording)
        assert episode_scores(game, episode) == recording.episode_scores


@RECORDED
def test_there_are_no_turn_scores(game, count, parity):
    with gzip.open(parity / "static" / f"{game.name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        recorded = {line["id"]: line["turn_scores"] for line in map(json.loads, lines)}
    assert len(recorded) == count
    for recording in read_recordings(parity / "static" / f"{game.name}.jsonl.gz"):
        assert game.metrics(replayed(game, recording)).rounds == recorded[recording.id]


@RECORDED
def test_recorded_prompts_are_sent_as_recorded(game, count, recorded):
    for recording in recorded:
        (sent,) = [
            event["content"]
            for turn in recording.turns
            for event in turn
            if event["type"] == "send message"
        ]
        assert replayed(game, recording).conversation("answerer")[0].content == sent


@RECORDED
def test_recorded_instances_are_valid(game, count, recorded):
    checker = Checker(game)
    for recording in recorded:
        assert checker.errors("experiment", recording.experiment_config) == []
        assert checker.errors("instance", recording.instance) == []


@RECORDED
def test_the_oracle_keeps_to_the_rules_on_recorded_instances(game, count, recorded):
    player = FunctionPlayer(game.oracle("answerer"))
    episodes = play(game, player, [instance_of(recording) for recording in recorded])
    assert [episode.failure for episode in episodes] == [None] * count
    assert not any(episode.aborted for episode in episodes)
