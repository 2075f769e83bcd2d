"""Tokens that players use: counted per player, and a budget that stops a run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.core.command_line import good, playpen
from tests.core.fault_server import Canned, FaultServer, Payload, completion, words

from playpen.store import Run

WRONG = "program:tests.core.command_line:wrong"


def clue(payload: Payload) -> str:
    """Keep to the form of taboo and never win."""
    return "GUESS: no" if "GUESS: <" in payload["messages"][0]["content"] else "CLUE: a thing"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer(clue) as started:
        yield started


def used(server: FaultServer, model: str = "m") -> tuple[int, int]:
    """Tokens that the server has counted for a model."""
    payloads = [r.payload for r in server.requests if r.payload["model"] == model]
    return sum(map(words, payloads)), sum(len(clue(payload).split()) for payload in payloads)


def stored(folder: str = "out") -> dict[str, dict[str, int]]:
    good("score", folder)
    scores = json.loads(Path(folder, "scores.json").read_text(encoding="utf-8"))
    return {label.partition("?")[0]: count for label, count in scores["tokens"].items()}


def test_tokens_are_counted_for_each_player(server: FaultServer) -> None:
    players = ("-p", f"describer={server.spec('a')}", "-p", f"guesser={server.spec('b')}")
    out = good("play", "taboo", *players, "-n", "5", "-o", "out")
    counts = {}
    for model in ("a", "b"):
        prompt, completion = used(server, model)
        counts[f"openai:{model}"] = {"prompt": prompt, "completion": completion, "uncounted": 0}
        assert f"{prompt} read, {completion} written" in out
    assert stored() == counts
    assert counts["openai:a"] != counts["openai:b"]


def test_players_that_count_nothing_have_no_line(server: FaultServer) -> None:
    out = good("play", "taboo", "-p", f"guesser={server.spec()}", "-p", WRONG, "-n", "2", "-o", "o")
    assert out.count("Tokens of ") == 1
    assert list(stored("o")) == ["openai:m"]


def test_failed_attempts_and_later_sittings_are_counted(server: FaultServer) -> None:
    calls = iter(range(1000))
    failing = Canned(400, b'{"error": "no"}')
    # The fourth request of each of the first episodes is refused.
    server.answer = lambda payload: failing if next(calls) in (3, 7) else clue(payload)
    command = ("play", "taboo", "-p", server.spec(), "-n", "3", "--concurrency", "1", "-o", "out")
    assert playpen(*command).code == 3
    good("resume", "out")
    answered = [r for n, r in enumerate(server.requests) if n not in (3, 7)]
    prompt = sum(words(r.payload) for r in answered)
    completion = sum(len(clue(r.payload).split()) for r in answered)
    counted = {"prompt": prompt, "completion": completion, "uncounted": 0}
    assert stored() == {"openai:m": counted}
    assert len(list(Run.open("out").episodes(failed=True))) == 5


def test_a_budget_stops_a_run_and_a_higher_one_goes_on(server: FaultServer) -> None:
    one = playpen("play", "taboo", "-p", server.spec(), "-n", "1", "-o", "one")
    assert one.code == 0
    cost = sum(used(server))
    server.requests.clear()

    budget = 3 * cost
    options = ("-n", "20", "--concurrency", "2", "-o", "out", "--max-tokens-total", str(budget))
    result = playpen("play", "taboo", "-p", server.spec(), *options)
    assert result.code == 3
    spent = sum(used(server))
    done = len(list(Run.open("out").episodes(failed=True)))
    assert budget <= spent < budget + 3 * cost
    assert 0 < done < 8
    assert f"Stopped by the budget: {spent} of {budget} tokens are used." in result.err
    assert f"playpen resume out --max-tokens-total {spent + budget}" in result.err
    assert f"Not complete: {20 - done} of 20 episodes are not played yet." in result.err
    assert all(episode.failure is None for episode in Run.open("out").episodes(failed=True))

    # The same budget is used up: nothing is begun.
    again = playpen("resume", "out", "--max-tokens-total", str(budget))
    assert again.code == 3
    assert sum(used(server)) == spent
    assert f"Stopped by the budget: {spent} of {budget}" in again.err
    assert "Nothing was left" not in again.out

    # A higher one counts what was spent before.
    assert playpen("resume", "out", "--max-tokens-total", str(spent + budget)).code == 3
    assert spent + budget <= sum(used(server)) < spent + budget + 3 * cost
    good("resume", "out")
    assert len({e.key for e in Run.open("out").episodes(failed=True)}) == 20


def test_a_budget_that_suffices_changes_nothing(server: FaultServer) -> None:
    good(
        "play", "taboo", "-p", server.spec(), "-n", "3", "-o", "out", "--max-tokens-total", "99999"
    )
    assert len(list(Run.open("out").episodes())) == 3
    # Used up by the last episode: the run is complete all the same.
    spent = sum(used(server))
    out = good("resume", "out", "--max-tokens-total", str(spent))
    assert "Nothing was left to play." in out


def test_failed_attempts_use_up_the_budget_too(server: FaultServer) -> None:
    failing = Canned(400, b'{"error": "no"}')
    server.answer = lambda p: clue(p) if len(p["messages"]) == 1 else failing
    options = ("-n", "50", "--concurrency", "1", "-o", "out", "--max-tokens-total", "1000")
    result = playpen("play", "taboo", "-p", server.spec(), *options)
    assert result.code == 3
    assert "Stopped by the budget: " in result.err
    attempts = list(Run.open("out").episodes(failed=True))
    assert 0 < len(attempts) < 50
    assert all(episode.failure is not None for episode in attempts)


def test_an_evaluation_stops_at_its_budget_and_goes_on(server: FaultServer) -> None:
    call = ("eval", server.spec("a"), "--games", "taboo", "-o", "out", "--concurrency", "2")
    stopped = playpen(*call, "--max-tokens-total", "500")
    assert stopped.code == 3 and "Stopped by the budget" in stopped.err
    run = Run.open("out/runs/games")
    played = sum(1 for _ in run.episodes())
    assert 0 < played < sum(run.config.episodes.values())
    assert "*" not in good(*call, "--max-tokens-total", "100000000")
    assert sum(1 for _ in run.episodes()) == sum(run.config.episodes.values())


def without_usage(payload: Payload) -> Canned:
    """Answer as servers do that do not say how many tokens that took."""
    body = json.loads(completion(clue(payload)))
    del body["usage"]
    return Canned(200, json.dumps(body).encode())


def test_tokens_that_the_server_does_not_count_are_unknown(server: FaultServer) -> None:
    server.answer = without_usage
    out = good("play", "taboo", "-p", server.spec(), "-n", "2", "-o", "out")
    assert "Tokens of openai:m" in out
    assert "unknown (the server does not count them)" in out
    asked = len(server.requests)
    assert stored() == {"openai:m": {"prompt": 0, "completion": 0, "uncounted": asked}}
    replies = [said.reply for e in Run.open("out").episodes() for said in e.replies()]
    assert len(replies) == asked
    assert {(reply.prompt_tokens, reply.completion_tokens) for reply in replies} == {(None, None)}

    # From now on the server counts.
    server.answer = clue
    server.requests.clear()
    out = good("play", "taboo", "-p", server.spec(), "-n", "2", "-o", "counted")
    assert "unknown" not in out
    prompt, written = used(server)
    counted = {"prompt": prompt, "completion": written, "uncounted": 0}
    assert stored("counted") == {"openai:m": counted}


def test_a_budget_that_nobody_can_keep_stops_at_once(server: FaultServer) -> None:
    server.answer = without_usage
    options = ("-n", "20", "--concurrency", "2", "-o", "out", "--max-tokens-total", "99999999")
    result = playpen("play", "taboo", "-p", server.spec(), *options)
    assert result.code == 3
    done = len(list(Run.open("out").episodes(failed=True)))
    assert 0 < done <= 3
    replies = len(server.requests)
    assert f"how many tokens {replies} of the replies took" in result.err
    assert "Continue without a budget: playpen resume out" in result.err

    again = playpen("resume", "out", "--max-tokens-total", "99999999")
    assert again.code == 3
    assert len(server.requests) == replies

    good("resume", "out")
    assert len(list(Run.open("out").episodes())) == 20


def test_an_evaluation_stops_at_once_too(server: FaultServer) -> None:
    server.answer = without_usage
    options = ("--games", "taboo", "--concurrency", "2", "--max-tokens-total", "9999999")
    result = playpen("eval", server.spec(), *options)
    assert result.code == 3
    assert "The same command without one goes on" in result.err
    assert 0 < len(server.requests) <= 3 * 6


def test_programs_do_not_use_up_a_budget(server: FaultServer) -> None:
    good("play", "taboo", "-p", WRONG, "-n", "4", "-o", "out", "--max-tokens-total", "1")
    assert len(list(Run.open("out").episodes())) == 4
