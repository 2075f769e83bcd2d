"""A recorded evaluation, read in place where it exists: replay and oracles."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from playpen import Experiment, Instance, Reply, play
from playpen.instance_sets import parse_instances
from playpen.players.program import FunctionPlayer
from playpen.replay import replay_script
from playpen.scoring import episode_scores
from playpen_clembench.referencegame.game import ReferenceGame

RECORDINGS = Path(__file__).parents[2].resolve() / "../shared/parity/clem/referencegame.jsonl.gz"
GAME = ReferenceGame()
ROLES = {"Player 1": "giver", "Player 2": "follower"}

pytestmark = pytest.mark.skipif(not RECORDINGS.exists(), reason="the parity sample is not here")


@pytest.fixture(scope="module")
def recorded() -> list[dict[str, Any]]:
    with gzip.open(RECORDINGS, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def instance_of(episode: dict[str, Any]) -> Instance:
    experiment = Experiment(episode["experiment"], episode["experiment_config"])
    return Instance(GAME.name, experiment, episode["instance"])


def test_recorded_episodes_replay_to_the_same_scores(recorded: list[dict[str, Any]]) -> None:
    assert len(recorded) == 15
    for episode in recorded:
        script = [(ROLES[r["player"]], Reply(r["content"])) for r in episode["responses"]]
        result = replay_script(GAME, instance_of(episode), script)
        assert (result.complete, result.unused, result.divergences) == (True, 0, [])
        assert episode_scores(GAME, result.episode) == pytest.approx(episode["episode_scores"])
        assert GAME.metrics(result.episode).rounds == episode["turn_scores"]


def test_recorded_prompts_are_sent_as_recorded(recorded: list[dict[str, Any]]) -> None:
    for episode in recorded:
        script = [(ROLES[r["player"]], Reply(r["content"])) for r in episode["responses"]]
        result = replay_script(GAME, instance_of(episode), script)
        sent = {
            ROLES[event["to"]]: event["content"]
            for event in episode["turns"][0]
            if event["type"] == "send message"
        }
        assert {role: result.episode.conversation(role)[0].content for role in sent} == sent


def test_recorded_instances_are_valid(recorded: list[dict[str, Any]]) -> None:
    for episode in recorded:
        document = {"name": episode["experiment"], "game_instances": [episode["instance"]]}
        assert parse_instances({"experiments": [document]}, GAME)


def test_the_oracles_win_the_recorded_instances(recorded: list[dict[str, Any]]) -> None:
    players = {role: FunctionPlayer(GAME.oracle(role)) for role in GAME.role_names()}
    episodes = play(GAME, players, [instance_of(episode) for episode in recorded])
    assert [episode.success for episode in episodes] == [True] * len(recorded)
