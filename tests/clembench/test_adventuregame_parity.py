"""Recorded episodes, read in place where they exist: replay, events and oracle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from playpen import Note, Reply, play
from playpen.instance_sets import parse_instances
from playpen.interop.recordings import Recording, instance_of, read_recordings, replay_recording
from playpen.players.program import FunctionPlayer
from playpen.replay import Replay, replay_script
from playpen_clembench.adventuregame.game import AdventureGame

GAME = AdventureGame()


class Recorded(Recording):
    """A recording with the scores of its turns."""

    turn_scores: dict[str, dict[str, Any]] = {}


@pytest.fixture(scope="module")
def recorded(parity: Path) -> list[Recording]:
    return list(read_recordings(parity / "clem" / "adventuregame.jsonl.gz"))


def again(recording: Recording) -> Replay:
    script = [("adventurer", Reply(response.content)) for response in recording.responses]
    return replay_script(GAME, instance_of(recording), script)


def test_all_episodes_come_out_as_recorded(recorded: list[Recording]) -> None:
    assert len(recorded) == 24
    for recording in recorded:
        result, differences = replay_recording(GAME, recording)
        assert differences == []
        assert result.main_score == pytest.approx(recording.episode_scores["Main Score"])
        assert result.episode_scores == pytest.approx(recording.episode_scores)


def test_all_turns_have_the_recorded_scores(parity: Path) -> None:
    import gzip

    with gzip.open(parity / "clem" / "adventuregame.jsonl.gz", "rb") as lines:
        for line in lines:
            recording = msgspec.json.decode(line, type=Recorded)
            rounds = GAME.metrics(again(recording).episode).rounds
            assert rounds.keys() == recording.turn_scores.keys()
            for number, scores in recording.turn_scores.items():
                assert rounds[number] == pytest.approx(scores)


def test_every_command_fails_or_succeeds_as_recorded(recorded: list[Recording]) -> None:
    for recording in recorded:
        old = []
        for event in (event for turn in recording.turns for event in turn):
            if event["type"] in ("action_info", "action_fail"):
                old.append((event["content"].get("phase"), event["content"].get("fail_type")))
        new = [
            (event.data["phase"], event.data["failure"])
            for event in again(recording).episode.events
            if isinstance(event, Note) and event.kind == "action"
        ]
        assert new == old


def test_first_messages_begin_with_the_recorded_prompt(recorded: list[Recording]) -> None:
    for recording in recorded:
        first = again(recording).episode.conversation("adventurer")[0].content
        prompt = recording.instance["prompt"]
        assert first.startswith(prompt)
        assert first[len(prompt) :].startswith("You are in the ")


def test_recorded_instances_are_valid(recorded: list[Recording]) -> None:
    for recording in recorded:
        experiment = {"name": recording.experiment, "game_instances": [recording.instance]}
        (item,) = parse_instances({"experiments": [experiment]}, GAME)
        assert GAME.fingerprint(item)


def test_the_oracle_wins_the_recorded_instances(recorded: list[Recording]) -> None:
    players = {"adventurer": FunctionPlayer(GAME.oracle("adventurer"))}
    instances = [instance_of(recording) for recording in recorded]
    assert [episode.success for episode in play(GAME, players, instances)] == [True] * 24
