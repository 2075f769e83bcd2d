"""Replays the recorded episodes of the parity sample, where it is present."""

from __future__ import annotations

import gzip
import json

import pytest

from playpen import Experiment, Instance, play
from playpen.conversation import Reply
from playpen.instance_sets import Checker
from playpen.interop.recordings import instance_of, read_recordings, replay_recording
from playpen.players.program import FunctionPlayer
from playpen.replay import replay_script
from playpen_clembench.privateshared.game import PrivateShared

GAME = PrivateShared()
ROLE = "answerer"


@pytest.fixture(scope="module")
def recorded(parity):
    return list(read_recordings(parity / "clem" / "privateshared.jsonl.gz"))


@pytest.fixture(scope="module")
def lines(parity):
    with gzip.open(parity / "clem" / "privateshared.jsonl.gz", "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def script(line):
    return [(ROLE, Reply(response["content"])) for response in line["responses"]]


def sent(line, label):
    return [
        event["content"]
        for turn in line["turns"]
        for event in turn
        if event["type"] == "send message"
        and event["to"] == "Player 1"
        and event.get("label") == label
    ]


def with_recorded_texts(line):
    """The instance with an experiment that brings the wordings that were used in a recording."""
    data, asides = line["instance"], sent(line, "forget")
    questions = {}
    for number, probes in enumerate(line["logged"]["probes"]):
        wordings = data["probes"][str(number)]
        for probe in probes:
            slot = probe["target"].lower()
            pool = questions.setdefault(slot, ["not used"] * 20)
            pool[wordings[slot]] = probe["question"].removeprefix("ME: ")
    suffixes = {1: ""}
    for probe in (probe for probes in line["logged"]["probes"] for probe in probes):
        plain = probe["question"].removeprefix("ME: ")
        attempts = [text for text in asides if text.endswith(f" {plain}")]
        for number, text in enumerate(attempts[: probe.get("tries", 1)], start=1):
            suffixes[number] = text.removeprefix("ME: ").removesuffix(plain).removesuffix(" ")
    requests = {}
    for slot, text in zip(data["request_order"], sent(line, "context"), strict=False):
        pool = requests.setdefault(slot, ["not used"] * 20)
        pool[data["requests"][slot]] = text.removeprefix(f"{data['tag']}: ")
    texts = {
        "requests": requests,
        "probing_questions": questions,
        "reprompts": {"suffixes": [suffixes.get(n, "not used") for n in range(1, 6)]},
        "words": {
            "ANSWER": "ANSWER: ",
            "ASIDE": "ASIDE: ",
            "ME": "ME: ",
            "PROBE": "ME: {}",
            "YES": "yes",
            "NO": "no",
            "OK": "Ok.",
        },
    }
    assert Checker(GAME).errors("experiment", {"texts": texts}) == []
    return Instance(GAME.name, Experiment(line["experiment"], {"texts": texts}), data)


def test_recorded_episodes_replay_to_the_same_scores(recorded, lines):
    assert len(recorded) == 10
    for recording, line in zip(recorded, lines, strict=True):
        assert replay_recording(GAME, recording)[1] == []
        episode = replay_script(GAME, instance_of(recording), script(line)).episode
        metrics = GAME.metrics(episode)
        assert metrics.rounds == line["turn_scores"]
        flags = {"Aborted", "Success", "Lose", "Main Score"}
        assert metrics.episode.keys() | flags == line["episode_scores"].keys()


def test_with_texts_brought_along_everything_is_sent_as_recorded(lines):
    for line in lines:
        result = replay_script(GAME, with_recorded_texts(line), script(line))
        assert (result.complete, result.unused) == (True, 0)
        turns = result.episode.turns(ROLE)
        for label, keep in (("forget", False), ("context", True)):
            asked = [turn.messages[-1].content for turn in turns if turn.keep == keep]
            assert asked == sent(line, label)[: len(asked)]
            # A game aborted before its first question: upstream's questioner utters it still.
            assert len(sent(line, label)) - len(asked) in ([0, 1] if keep else [0])
        first, ok = turns[0].messages[:2]
        assert [first.content] == sent(line, "pseudo")
        assert ok.content == "Ok."


def test_recorded_instances_are_valid(recorded):
    checker = Checker(GAME)
    for recording in recorded:
        assert checker.errors("experiment", recording.experiment_config) == []
        assert checker.errors("instance", recording.instance) == []


def test_the_oracle_wins_the_recorded_instances(recorded):
    players = {ROLE: FunctionPlayer(GAME.oracle(ROLE))}
    episodes = play(GAME, players, [instance_of(recording) for recording in recorded])
    assert [episode.main_score for episode in episodes] == [100] * 10


def test_the_oracle_understands_most_recorded_questions(lines):
    players = {ROLE: FunctionPlayer(GAME.oracle(ROLE))}
    complete = [line for line in lines if not line["logged"]["Aborted"]]
    episodes = play(GAME, players, [with_recorded_texts(line) for line in complete])
    scores = [episode.main_score for episode in episodes]
    assert None not in scores
    assert sum(scores) / len(scores) > 80, scores
