"""Replays the recorded episodes of the parity sample, where it is present."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from playpen.conversation import Reply
from playpen.instance import Experiment, Instance
from playpen.instance_sets import Checker
from playpen.replay import replay_script
from playpen_clembench.wordle.game import Wordle, WordleWithClue, WordleWithCritic

SAMPLE = Path(__file__).parents[2].parent / "shared" / "parity" / "clem"
GAMES = {game.name: game for game in (Wordle(), WordleWithClue(), WordleWithCritic())}
PLAYERS = {"Player 1": "guesser", "Player 2": "critic"}

pytestmark = pytest.mark.skipif(not SAMPLE.is_dir(), reason="the parity sample is not here")


def recorded(name):
    with gzip.open(SAMPLE / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def messages_to(player, events):
    """What a player was sent; older recordings split the first message in two events."""
    sent, prompt = [], ""
    for event in events:
        if event["to"] != player or event["type"] != "send message":
            continue
        if event.get("label") == "initial prompt":
            prompt = event["content"] + "\n\n"
        else:
            sent.append(prompt + event["content"])
            prompt = ""
    return sent


@pytest.mark.parametrize("name", GAMES)
def test_recorded_episodes_replay_with_the_same_scores(name):
    game = GAMES[name]
    checker = Checker(game)
    lines = recorded(name)
    assert len(lines) == 6
    for line in lines:
        experiment = Experiment(line["experiment"], line["experiment_config"])
        instance = Instance(name, experiment, line["instance"])
        assert checker.errors("experiment", experiment.config) == []
        assert checker.errors("instance", instance.data) == []

        script = [(PLAYERS[r["player"]], Reply(r["content"])) for r in line["responses"]]
        result = replay_script(game, instance, script)
        assert result.complete and result.unused == 0 and result.divergences == [], line["id"]

        metrics = game.metrics(result.episode)
        assert list(metrics.episode) == list(line["episode_scores"])
        assert metrics.episode == pytest.approx(line["episode_scores"], abs=1e-6), line["id"]
        assert list(metrics.rounds) == list(line["turn_scores"])
        for key, values in line["turn_scores"].items():
            assert metrics.rounds[key] == pytest.approx(values, abs=1e-6), line["id"]

        events = [event for turn in line["turns"] for event in turn]
        for player, role in PLAYERS.items():
            chat = result.episode.conversation(role)
            shown = [m.content for m in chat if m.role == "user"]
            assert shown == messages_to(player, events), line["id"]
