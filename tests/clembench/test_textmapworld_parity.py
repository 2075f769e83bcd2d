"""A recorded evaluation, read in place where it exists: replay and oracles."""

from __future__ import annotations

from pathlib import Path

import pytest

from playpen import Reply, play
from playpen.instance_sets import Checker
from playpen.interop.recordings import instance_of, read_recordings, replay_recording
from playpen.players.program import FunctionPlayer
from playpen.replay import replay_script
from playpen.scoring import episode_scores
from playpen_clembench.textmapworld.game import (
    TextMapWorld,
    TextMapWorldGraphReasoning,
    TextMapWorldSpecificRoom,
)

GAMES = (TextMapWorld(), TextMapWorldGraphReasoning(), TextMapWorldSpecificRoom())
COUNTS = {"textmapworld": 10, "textmapworld_graphreasoning": 6, "textmapworld_specificroom": 6}
NOT_RECORDED = {"similarity", "graph_similarity"}
"""Upstream left the comparison of maps out of these recordings."""


@pytest.fixture(scope="module", params=GAMES, ids=lambda game: game.name)
def game(request):
    return request.param


@pytest.fixture(scope="module")
def recorded(parity: Path, game):
    return list(read_recordings(parity / "clem" / f"{game.name}.jsonl.gz"))


def replayed(game, recording):
    script = [("explorer", Reply(r.content)) for r in recording.responses]
    return replay_script(game, instance_of(recording), script)


def turn_scores(parity: Path, game):
    """By the recording's id; `read_recordings` has no use for them."""
    import gzip
    import json

    with gzip.open(parity / "clem" / f"{game.name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        return {line["id"]: line["turn_scores"] for line in map(json.loads, lines)}


def test_recorded_episodes_replay_to_the_same_scores(parity, game, recorded):
    assert len(recorded) == COUNTS[game.name]
    by_round = turn_scores(parity, game)
    for recording in recorded:
        result, divergences = replay_recording(game, recording)
        assert divergences == []
        assert (result.incomplete, result.unused_responses, result.error) == (False, 0, None)
        episode = replayed(game, recording).episode
        scores = episode_scores(game, episode)
        assert {k: v for k, v in scores.items() if k not in NOT_RECORDED} == pytest.approx(
            recording.episode_scores, abs=1e-6
        )
        rounds = game.metrics(episode).rounds
        assert {
            key: {k: v for k, v in values.items() if k not in NOT_RECORDED}
            for key, values in rounds.items()
        } == by_round[recording.id]


def test_recorded_prompts_are_sent_as_recorded(game, recorded):
    for recording in recorded:
        sent = [
            event["content"]
            for turn in recording.turns
            for event in turn
            if event["to"] == "Player 1" and event["type"] == "send message"
        ]
        chat = replayed(game, recording).episode.conversation("explorer")
        assert [m.content for m in chat if m.role == "user"] == sent


def test_recorded_instances_are_valid(game, recorded):
    checker = Checker(game)
    for recording in recorded:
        assert checker.errors("instance", recording.instance) == []
        assert checker.errors("experiment", instance_of(recording).experiment.config) == []


def test_the_oracle_succeeds_on_the_recorded_instances(game, recorded):
    players = {"explorer": FunctionPlayer(game.oracle("explorer"))}
    episodes = list(play(game, players, [instance_of(recording) for recording in recorded]))
    assert [episode.success for episode in episodes] == [True] * len(recorded)
