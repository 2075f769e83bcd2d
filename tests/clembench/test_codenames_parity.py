"""Codenames: replays the recorded episodes of the parity sample, where it is present."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from playpen import Note, Reply
from playpen.instance import Experiment, Instance
from playpen.instance_sets import Checker
from playpen.interop.recordings import instance_of, read_recordings, replay_recording
from playpen.referee import Referee
from playpen.replay import replay_script
from playpen_clembench.codenames.game import Codenames

GAME = Codenames()
ROLES = {"Player 1": "cluegiver", "Player 2": "guesser"}
NOTED = (
    *("board status", "clue", "targets", "word targeted", "guesses", "team revealed"),
    *("target revealed", "turn end after", "opponent revealed"),
)


@pytest.fixture(scope="module")
def sample(parity: Path) -> Path:
    return parity / "clem" / "codenames.jsonl.gz"


@pytest.fixture(scope="module")
def lines(sample: Path) -> list[dict[str, Any]]:
    with gzip.open(sample, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def events_of(line: dict[str, Any]) -> list[dict[str, Any]]:
    return [event for turn in line["turns"] for event in turn]


def sent(line: dict[str, Any], player: str) -> list[str]:
    return [
        event["content"]
        for event in events_of(line)
        if event["to"] == player and event["type"] == "send message"
    ]


def test_flags_and_scores_agree(sample: Path) -> None:
    checker = Checker(GAME)
    count = 0
    for recording in read_recordings(sample):
        instance = instance_of(recording)
        assert checker.errors("experiment", instance.experiment.config) == []
        assert checker.errors("instance", instance.data) == []
        result, differences = replay_recording(GAME, recording)
        assert result.unused_responses == 0
        assert differences == [], recording.id
        count += 1
    assert count == 26


def templates(lines: list[dict[str, Any]]) -> dict[str, str]:
    """The recorded prompts with their variables put back, taken from one episode."""
    line = next(
        line
        for line in lines
        if line["instance"]["assignments"]["assassin"] and len(sent(line, "Player 2")) > 1
    )
    texts: dict[str, str] = {}
    for player, role in ROLES.items():
        for number, name in enumerate(("initial", "follow_up")):
            text = sent(line, player)[number]
            texts[f"{role}_{name}_prompt"] = text.partition("\n")[2] if number else text
    statuses = [e["content"]["hidden"] for e in events_of(line) if e["type"] == "board status"]
    moved = [e["content"]["word"] for e in events_of(line) if e["type"] == "opponent revealed"]
    clues = [e["content"] for e in events_of(line) if e["type"] == "clue"]
    targets = [e["content"] for e in events_of(line) if e["type"] == "targets"]
    for number, name in enumerate(("initial", "follow_up")):
        hidden = statuses[number]
        board = [w for w in line["instance"]["board"] if any(w in ws for ws in hidden.values())]
        for kind, words in hidden.items():
            if number and kind == "opponent":
                whole = line["instance"]["assignments"]["opponent"]
                words = [w for w in whole if w in words or w == moved[0]]
            field = f"cluegiver_{name}_prompt"
            texts[field] = texts[field].replace(", ".join(words) + ".", f"${kind}_words.")
        field = f"guesser_{name}_prompt"
        texts[field] = (
            texts[field]
            .replace(", ".join(board), "$board")
            .replace(f"'{clues[number]}'", "'$clue'")
            .replace(f"up to {len(targets[number])} ", "up to $number ")
        )
    return texts


def test_messages_and_events_agree(lines: list[dict[str, Any]]) -> None:
    """With the recorded templates all messages agree but for our own reports."""
    given = templates(lines)
    assert all(text.count("$") == (4 if "cluegiver" in name else 3) for name, text in given.items())
    for line in lines:
        experiment = Experiment(line["experiment"], {**line["experiment_config"], **given})
        instance = Instance(GAME.name, experiment, line["instance"])
        script = [(ROLES[r["player"]], Reply(r["content"])) for r in line["responses"]]
        recorded = events_of(line)
        done = replay_script(GAME, instance, script, draws=GAME.recorded_draws(recorded))
        assert done.complete and done.unused == 0 and done.divergences == []

        for player, role in ROLES.items():
            shown = [m.content for m in done.episode.conversation(role) if m.role == "user"]
            expected = sent(line, player)
            assert shown[:1] == expected[:1]
            reports = [text.partition("\n")[2] for text in shown[1:]]
            assert reports == [text.partition("\n")[2] for text in expected[1:]]

        noted = [
            (e.kind, e.data) for e in done.episode.events if isinstance(e, Note) and e.kind in NOTED
        ]
        assert noted == [(e["type"], e["content"]) for e in recorded if e["type"] in NOTED]
        metrics = GAME.metrics(done.episode)
        assert metrics.rounds == line["turn_scores"]
        assert list(metrics.episode) == list(line["episode_scores"])
        (end,) = [
            e.data
            for e in done.episode.events
            if isinstance(e, Note) and e.kind == "board end status"
        ]
        assert end == line["logged"]["board end status"]


def test_the_oracle_wins_the_recorded_boards(lines: list[dict[str, Any]]) -> None:
    given = templates(lines)
    for extra in ({}, given):
        for line in lines:
            config = {**line["experiment_config"], **extra}
            instance = Instance(GAME.name, Experiment("x", config), line["instance"])
            referee = Referee(GAME, instance)
            pending = referee.advance()
            while pending is not None:
                pending = referee.advance(Reply(GAME.oracle(pending.role)(pending)))
            assert referee.episode.success, line["id"]
