"""Whole runs against a server that fails: nothing is lost, nothing is there twice."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from tests.core.command_line import good, playpen, script, started
from tests.core.fault_server import EVERY_FAULT, FaultServer, Payload, talking

from playpen import Episode
from playpen.store import Run

TALKER = "program:tests.core.fault_server:talker"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty working directory, and no key, server or proxy of the developer's."""
    monkeypatch.chdir(tmp_path)
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def played(episodes: Iterable[Episode]) -> dict[Any, Any]:
    """What was said in each episode and how it ended; fails if an episode is there twice."""
    found: dict[Any, Any] = {}
    for episode in episodes:
        key = (episode.instance, episode.repeat)
        assert key not in found
        said = [(said.role, said.reply.text) for said in episode.replies()]
        found[key] = (said, episode.outcome)
    return found


def expected(count: int) -> dict[Any, Any]:
    """The same episodes with the program that the server answers with, and no server."""
    good("play", "taboo", "-p", TALKER, "-n", str(count), "-o", "expected")
    return played(Run.open("expected").episodes())


def test_a_thousand_episodes_with_one_request_in_five_failing() -> None:
    with FaultServer(talking, share=0.2) as server:
        spec = server.spec(max_retries=12, timeout=2)
        good("play", "taboo", "-p", spec, "-n", "1000", "-o", "out")
        # Every kind of fault was met, and the server saw more requests than there are replies.
        assert min(server.faults[kind] for kind in EVERY_FAULT) > 10
        run = Run.open("out")
        replies = sum(len(episode.replies()) for episode in run.episodes())
        assert server.faults.total() <= len(server.requests) - replies
        assert 0.15 < server.faults.total() / len(server.requests) < 0.25
    episodes = played(run.episodes(failed=True))
    assert len(episodes) == 1000
    assert episodes == expected(1000)


def breaks(payload: Payload) -> bool:
    """A tenth of all requests."""
    return random.Random(payload["seed"]).random() < 0.1


def test_what_fails_for_good_is_listed_and_played_on_resume() -> None:
    with FaultServer(talking, share=0.1, kinds=("500", "reset", "malformed")) as server:
        server.broken = breaks
        spec = server.spec("x", max_retries=3)
        result = playpen("play", "taboo", "-p", spec, "-n", "200", "-o", "out")
        assert result.code == 3
        run = Run.open("out")
        episodes = list(run.episodes(failed=True))
        failed = [episode for episode in episodes if episode.failure is not None]
        assert len(episodes) == 200
        assert 10 < len(failed) < 100
        for episode in failed:
            assert episode.failure is not None
            assert episode.failure.role in ("describer", "guesser")
            assert "gave no answer in 4 attempts" in episode.failure.message
        assert f"{len(failed)} episodes failed.  Try them again with: playpen resume out" in (
            result.err
        )
        assert f"Failed: openai:x: {server.url}/chat/completions gave no answer" in result.err
        assert "Traceback" not in result.err

        server.broken = lambda payload: False
        good("resume", "out")
        assert played(run.episodes()) == expected(200)
        assert len(list(run.episodes(failed=True))) == 200 + len(failed)
        assert good("resume", "out").startswith("Nothing was left to play.")


def test_a_killed_run_goes_on_where_it_was() -> None:
    with FaultServer(talking, share=0.2, kinds=("500", "reset", "malformed"), delay=0.02) as server:
        spec = server.spec(max_retries=12)
        command = ("play", "taboo", "-p", spec, "-n", "200", "--concurrency", "8", "-o", "out")
        recorded = Path("out/episodes.jsonl")
        with started(*command, cwd=Path()) as process:
            deadline = time.monotonic() + 60
            while not recorded.exists() or recorded.read_bytes().count(b"\n") < 40:
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.01)
            process.kill()
            process.wait()
        before = recorded.read_bytes()
        assert before.count(b"\n") < 200
        resumed = script("resume", "out")
        assert resumed.returncode == 0, resumed
    assert recorded.read_bytes().startswith(before[: before.rfind(b"\n") + 1])
    run = Run.open("out")
    episodes = played(run.episodes(failed=True))
    assert len(episodes) == 200
    assert episodes == expected(200)
