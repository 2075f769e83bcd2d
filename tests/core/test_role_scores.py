"""What roles score for themselves is shown wherever scores are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.core.command_line import good
from tests.core.conftest import PackFolder
from tests.core.sample_games import RelayGame, drive, relay

from playpen.conversation import Conversation
from playpen.moves import own_scores
from playpen.report.records import transcript_of
from playpen.store import EpisodeWriter, Run, RunConfig


def honest(conversation: Conversation) -> str:
    """Tells the word, and says what was told."""
    if conversation.role == "giver":
        return conversation.last.partition("The word is ")[2].partition(".")[0]
    return conversation.last.partition("hint is: ")[2].partition("\n")[0]


@pytest.fixture
def means(installed: PackFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The mean score of each role, of a run in the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    instances = [relay(rounds) for rounds in (2, 3, 4)]
    config = RunConfig(
        created="2026-01-02T03:04:05+00:00",
        players={"a": "program:oracle"},
        assignments={"relay": {"giver": "a", "finder": "a"}},
        episodes={"relay": len(instances)},
    )
    with EpisodeWriter(Run.create(Path("out"), config, instances)) as writer:
        for instance in instances:
            episode, _ = drive(RelayGame(), instance, honest)
            episode.players = {"giver": "a", "finder": "a"}
            writer.append(episode)
    scores = [own_scores(episode.outcome) for episode in Run.open("out").episodes()]
    assert scores and all(scores)
    return {
        role: f"{sum(score[role] for score in scores) / len(scores):.2f}"
        for role in ("giver", "finder")
    }


def test_score_shows_the_means(means: dict[str, str]) -> None:
    line = f"Mean scores of the roles in relay: giver {means['giver']}, finder {means['finder']}"
    assert line in good("score", "out").splitlines()
    stored = json.loads(good("score", "out", "--json"))["games"][0]["role_scores"]
    assert {role: f"{mean:.2f}" for role, mean in stored.items()} == means


def test_a_transcript_shows_the_roles_scores(means: dict[str, str]) -> None:
    episode = next(iter(Run.open("out").episodes()))
    own = own_scores(episode.outcome)
    assert f"(giver {own['giver']:g}, finder {own['finder']:g})" in good("transcript", "out", "1")
    assert transcript_of(episode).role_scores == own


def test_reports_show_the_means(means: dict[str, str]) -> None:
    text = good("report", "out", "--format", "markdown")
    assert f": giver {means['giver']}, finder {means['finder']}." in text
    document = json.loads(good("report", "out", "--format", "json"))
    stored = document["runs"][0]["games"][0]["role_scores"]
    assert {role: f"{mean:.2f}" for role, mean in stored.items()} == means
    good("report", "out", "-o", "page.html")
    page = Path("page.html").read_text(encoding="utf-8")
    for role, mean in means.items():
        assert f"<bdi>{role}</bdi> {mean}" in page
