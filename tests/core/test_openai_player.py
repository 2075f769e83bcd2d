"""The `openai:` player: what it sends, how it reads what comes back, limits, retries, keys."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import email.utils
import html
import json
import random
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.core.command_line import playpen, refused
from tests.core.fault_server import EVERY_FAULT, Canned, FaultServer, completion

from playpen import Conversation, Game, Message, Reply, Role
from playpen.player import PlayerError, SpecError
from playpen.players import openai
from playpen.players.http import endpoint, rate_limit
from playpen.players.http.key_mask import KeyMask
from playpen.players.http.rate_limit import RateLimiter
from playpen.plugins import PluginError, make_player
from playpen.store import Run

KEY = "sk-9f8e7d-secret"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No key, no server and no proxy of the developer's; an empty working directory."""
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as started:
        yield started


def conversation(text: str = "say hello", seed: int = 1, **settings: Any) -> Conversation:
    return Conversation("guesser", [Message("user", text)], sampling_seed=seed, **settings)


def ask(spec: str, *conversations: Conversation) -> list[Reply]:
    player = make_player(spec)

    async def together() -> list[Reply]:
        return await asyncio.gather(*(player.reply(c) for c in conversations))

    return asyncio.run(together())


def reply(spec: str, **settings: Any) -> Reply:
    return ask(spec, conversation(**settings))[0]


def failure(spec: str, **settings: Any) -> str:
    with pytest.raises(PlayerError) as caught:
        reply(spec, **settings)
    message = str(caught.value)
    assert "\n" not in message
    return message


class Talk(Game):
    """A game to be seated at."""

    name = "talk"
    roles = (Role("guesser"),)


class Clock:
    """Time that passes only where somebody sleeps."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *modules: Any) -> None:
        self.now = 0.0
        self.waits: list[float] = []
        for module in modules:
            shown = SimpleNamespace(**{**vars(asyncio), "sleep": self.sleep})
            monkeypatch.setattr(module, "asyncio", shown)
        monkeypatch.setattr(rate_limit, "time", SimpleNamespace(monotonic=lambda: self.now))

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


# --- what is sent --------------------------------------------------------------------------------


def test_a_chat_is_sent_and_answered(server: FaultServer) -> None:
    said = conversation("how are you?", max_new_tokens=20)
    said.messages[:0] = [Message("user", "hello"), Message("assistant", "hi", Reply("hi"))]
    assert ask(server.spec("some/model"), said)[0] == Reply(
        "hello", stop_reason="stop", prompt_tokens=5, completion_tokens=1
    )
    [request] = server.requests
    assert (request.method, request.path) == ("POST", "/v1/chat/completions")
    assert request.payload == {
        "model": "some/model",
        "messages": [
            {"role": "user", "content": "hello"},
            {"role": "assistant", "content": "hi"},
            {"role": "user", "content": "how are you?"},
        ],
        "temperature": 0.0,
        "max_tokens": 20,
        "seed": said.seed % 2**31,
    }
    assert "authorization" not in request.headers


def test_options_are_sent(server: FaultServer) -> None:
    spec = server.spec(
        temperature=0.7, top_p=0.9, max_new_tokens=30, seed="false",
        max_tokens_field="max_completion_tokens",
    )  # fmt: skip
    reply(spec)
    payload = server.requests[0].payload
    assert (payload["temperature"], payload["top_p"]) == (0.7, 0.9)
    assert payload["max_completion_tokens"] == 30
    assert not {"seed", "max_tokens"} & payload.keys()


def test_the_limit_of_a_reply_is_the_lower_one(server: FaultServer) -> None:
    ask(server.spec(max_new_tokens=30), conversation(max_new_tokens=9), conversation())
    ask(server.spec(), conversation())
    assert [r.payload["max_tokens"] for r in server.requests] == [9, 30, 300]


def test_the_same_seed_is_sent_for_the_same_turn_only(server: FaultServer) -> None:
    for seed, turn in ((1, 0), (1, 0), (2, 0), (1, 1)):
        reply(server.spec(), seed=seed, turn=turn)
    first, again, other, later = (r.payload["seed"] for r in server.requests)
    assert first == again
    assert len({first, other, later}) == 3


def test_openai_itself_is_asked_in_its_own_words(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openai, "DEFAULT_URL", server.url)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    reply("openai:gpt")
    assert server.requests[0].payload["max_completion_tokens"] == 300
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"


def test_the_server_may_be_named_by_the_environment(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", server.url + "/")
    assert reply("openai:m").text == "hello"
    assert make_player("openai:m").describe()["base_url"] == server.url


def test_a_key_can_come_from_another_variable(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "another")
    monkeypatch.setenv("MY_KEY", f" {KEY}\n")
    reply(server.spec(api_key_env="MY_KEY"))
    assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"


# --- what comes back -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("finish", "reason"),
    [
        ("stop", "stop"), ("eos", "stop"), ("length", "length"), ("model_length", "context"),
        ("content_filter", "filter"), ("tool_calls", None), (None, None),
    ],
)  # fmt: skip
def test_why_a_reply_ended(server: FaultServer, finish: Any, reason: str | None) -> None:
    server.scripted.append(Canned(200, completion("one two", finish=finish)))
    assert reply(server.spec(max_new_tokens=2)).stop_reason == reason


def test_a_reply_that_was_cut_before_its_limit_met_the_end_of_the_context(
    server: FaultServer,
) -> None:
    server.scripted.append(Canned(200, completion("one two", finish="length")))
    assert reply(server.spec(max_new_tokens=3)).stop_reason == "context"


def test_reasoning_in_the_text_is_stripped_or_kept(server: FaultServer) -> None:
    server.answer = lambda payload: "<think>hm</think>\n\n42"
    stripped = reply(server.spec())
    assert (stripped.text, stripped.reasoning) == ("42", "hm")
    assert stripped.raw == "<think>hm</think>\n\n42"
    kept = reply(server.spec(thinking="keep"))
    assert (kept.text, kept.reasoning, kept.raw) == ("<think>hm</think>\n\n42", None, None)


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_reasoning_in_a_field_of_its_own(server: FaultServer, field: str) -> None:
    server.answer = lambda payload: Canned(200, completion("42", **{field: " hm\n"}))
    stripped = reply(server.spec())
    assert (stripped.text, stripped.reasoning, stripped.raw) == ("42", "hm", None)
    kept = reply(server.spec(thinking="keep"))
    assert (kept.text, kept.raw) == ("<think>\nhm\n</think>\n\n42", "42")


def test_a_reply_that_never_left_its_reasoning_is_empty(server: FaultServer) -> None:
    body = completion(None, finish="length", reasoning_content="hm")
    server.scripted.append(Canned(200, body))
    thought = reply(server.spec())
    assert (thought.text, thought.reasoning) == ("", "hm")


def test_a_refusal_is_what_was_said(server: FaultServer) -> None:
    server.scripted.append(Canned(200, completion(None, refusal="I will not.")))
    assert reply(server.spec()).text == "I will not."


@pytest.mark.parametrize("usage", ["", ', "usage": null', ', "usage": {"prompt_tokens": null}'])
def test_a_server_need_not_count_tokens(server: FaultServer, usage: str) -> None:
    body = f'{{"choices": [{{"message": {{"content": "hi"}}}}]{usage}}}'
    server.scripted.append(Canned(200, body.encode()))
    answered = reply(server.spec())
    assert (answered.text, answered.prompt_tokens, answered.completion_tokens) == ("hi", None, None)


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (400, "This model's maximum context length is 100 tokens. However, your prompt ..."),
        (400, "Input length (120) exceeds model's maximum context length (100)."),
        (400, "max_tokens must be at least 1, got 0."),
        (400, "the request exceeds the available context size. try increasing it"),
        (422, "`inputs` tokens + `max_new_tokens` must be <= 100. Given: 90 and 20"),
        (413, "prompt is too long: 120 tokens > 100 maximum"),
        (400, "The input token count (120) exceeds the maximum number of tokens allowed (100)."),
    ],
)
def test_a_full_context_is_an_empty_reply(server: FaultServer, status: int, message: str) -> None:
    server.scripted.append(Canned(status, json.dumps({"error": {"message": message}}).encode()))
    assert reply(server.spec()) == Reply("", stop_reason="context")
    assert len(server.requests) == 1


def test_a_full_context_may_be_told_by_a_code(server: FaultServer) -> None:
    error = {"message": "Too many tokens.", "code": "context_length_exceeded"}
    server.scripted.append(Canned(400, json.dumps({"error": error}).encode()))
    assert reply(server.spec()).stop_reason == "context"


# --- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (400, b'{"error": {"message": "no such option"}}', "no such option"),
        (401, b'{"error": "who are you?"}', "who are you?"),
        (403, b"<html>no</html>", "<html>no</html>"),
        (404, b'{"detail": "Not Found"}', "Not Found (is the model's name right, and does"),
        (422, b'{"message": "Extra inputs"}', "Extra inputs"),
        (302, b"", "HTTP 302"),
        (400, b"[" * 100_000, "[[["),
        (400, b"\xff\xfe", "HTTP 400"),
        (400, b"{}", "HTTP 400"),
        (429, b'{"error": {"code": "insufficient_quota", "message": "pay"}}', "pay"),
    ],
)
def test_what_is_refused_is_not_asked_again(
    server: FaultServer, status: int, body: bytes, said: str
) -> None:
    server.scripted.append(Canned(status, body))
    message = failure(server.spec("x"))
    assert message.startswith(f"openai:x: {server.url}/chat/completions refused with HTTP {status}")
    assert said in message
    assert len(message) < 500
    assert len(server.requests) == 1


def test_a_key_goes_nowhere_else(server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with FaultServer() as elsewhere:
        away = {"location": f"{elsewhere.url}/chat/completions"}
        server.models = Canned(302, b"", away)
        server.answer = lambda payload: Canned(307, b"", away)
        player = make_player(server.spec("x"))
        assert player.seat(Talk(), "guesser") is player
        assert "refused with HTTP 307" in failure(server.spec("x"))
        assert elsewhere.most_in_flight == 0


@pytest.mark.parametrize("left_out", [False, True])
def test_the_environment_names_a_proxy(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch, left_out: bool
) -> None:
    monkeypatch.setenv("http_proxy", server.url.removesuffix("/v1"))
    monkeypatch.setenv("no_proxy", "playpen.invalid" if left_out else "")
    spec = "openai:x?base_url=http://playpen.invalid/v1&max_retries=0"
    if left_out:
        assert "no connection" in failure(spec)
        return
    assert reply(spec).text == "hello"
    assert server.requests[0].path == "http://playpen.invalid/v1/chat/completions"
    player = make_player(spec)
    assert player.seat(Talk(), "guesser") is player  # asks through the proxy too


@pytest.mark.parametrize("fault", EVERY_FAULT)
def test_every_fault_is_tried_again(server: FaultServer, fault: str) -> None:
    server.scripted += [fault, fault]
    assert reply(server.spec(timeout=0.3)).text == "hello"
    assert server.faults == {fault: 2}
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'"text"',
        b"\xff\xff",
        b"data: {}\n\n",
        b'{"choices": null}',
        b'{"choices": [null]}',
        b'{"choices": [{}]}',
        b'{"choices": [{"message": null}]}',
        b'{"choices": [{"message": {}}]}',
        b'{"choices": [{"message": {"content": ["a"]}}]}',
        b'{"choices": [{"message": {"content": "a"}, "finish_reason": 5}]}',
        b'{"choices": [{"message": {"content": "a"}, "finish_reason": "abort"}]}',
        b'{"choices": [{"message": {"content": "a"}}], "usage": 7}',
        b'{"choices": [{"message": {"content": "a"}}], "usage": {"prompt_tokens": -1}}',
        b'{"choices": [{"message": {"content": "a"}}], "usage": {"prompt_tokens": 1' + b"0" * 400,
        b'{"error": {"message": "overloaded", "code": 529}}',
        b'{"choices": ' + b"[" * 200_000,
        b'{"x": ' + b"[" * 200_000,
    ],
)
def test_a_body_that_is_no_answer_ends_in_one_clear_line(server: FaultServer, body: bytes) -> None:
    server.answer = lambda payload: Canned(200, body)
    message = failure(server.spec("x", max_retries=1))
    assert "gave no answer in 2 attempts (2 x malformed answer); the last: " in message
    assert len(message) < 600


def test_a_body_without_end_is_not_read(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoint, "LARGEST_ANSWER", 1000)
    server.answer = lambda payload: "a" * 2000
    assert "longer than 1000 bytes" in failure(server.spec(max_retries=0))


def test_a_body_that_unfolds_is_not_read(server: FaultServer) -> None:
    server.scripted.append(Canned(200, b"\x1f\x8b", {"Content-Encoding": "gzip"}))
    assert "compressed" in failure(server.spec(max_retries=0))


def test_half_a_character_does_not_stop_anything(server: FaultServer) -> None:
    server.answer = lambda payload: Canned(200, rb'{"choices":[{"message":{"content":"\ud83d"}}]}')
    result = playpen("play", "taboo", "-p", server.spec(), "-n", "1", "-o", "out")
    assert result.code == 0, result


def test_the_final_error_counts_what_was_tried(server: FaultServer) -> None:
    server.scripted += ["500", "429", "500", "malformed", "503"]
    message = failure(server.spec("x", max_retries=4))
    assert message == (
        f"openai:x: {server.url}/chat/completions gave no answer in 5 attempts (2 x HTTP 500, "
        "1 x HTTP 429, 1 x malformed answer, 1 x HTTP 503); the last: "
        "HTTP 503: <html>oops</html>"
    )


def test_a_server_that_went_away() -> None:
    with FaultServer() as gone:
        player = make_player(gone.spec("x", max_retries=1))
        assert player.seat(Talk(), "guesser") is player
    with pytest.raises(PlayerError, match=r"2 attempts \(2 x no connection\); the last: no conn"):
        asyncio.run(player.reply(conversation()))  # type: ignore[arg-type]


def test_play_names_the_episodes_that_failed(server: FaultServer) -> None:
    server.answer = lambda payload: Canned(400, b'{"error": {"message": "no such model"}}')
    result = playpen("play", "taboo", "-p", server.spec("x"), "-n", "3", "-o", "out")
    assert result.code == 3
    failed = [line for line in result.err.splitlines() if line.startswith("Failed: ")]
    assert len(failed) == 1
    assert "no such model (episode taboo/high_en/" in failed[0]
    assert failed[0].endswith(" and 2 more)")


# --- the wait before the next attempt ------------------------------------------------------------


def test_waits_grow_and_are_drawn(server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, endpoint)
    server.scripted += ["500"] * 12
    player = make_player(server.spec(retry_delay=1, max_retries=12))
    monkeypatch.setattr(player._endpoint, "_rng", random.Random(7))  # type: ignore[attr-defined]
    asyncio.run(player.reply(conversation()))  # type: ignore[arg-type]
    longest = [min(2.0**number, 60) for number in range(12)]
    assert len(clock.waits) == 12
    assert all(0 <= wait <= most for wait, most in zip(clock.waits, longest, strict=True))
    assert max(clock.waits) > 30
    # Full jitter: some waits are short however often it failed.
    assert min(wait / most for wait, most in zip(clock.waits, longest, strict=True)) < 0.3


def dated(value: str) -> str:
    """The value, or the date of a time from now on: when tests are collected would be too early."""
    found = re.fullmatch(r"in (-?\d+) s", value)
    return email.utils.formatdate(time.time() + int(found[1])) if found else value


@pytest.mark.parametrize("status", [408, 409, 429, 500, 503, 529])
@pytest.mark.parametrize(
    ("headers", "low", "high"),
    [
        ({"Retry-After": "7"}, 7, 7.1),
        ({"Retry-After": "0.5"}, 0.5, 0.6),
        ({"retry-after-ms": "1500", "Retry-After": "9"}, 1.5, 1.6),
        ({"Retry-After": "in 300 s"}, 200, 300.1),  # as a date
        ({"Retry-After": "in -300 s"}, 0, 0.1),
        ({"Retry-After": "Tue, 99 Foo 2026"}, 0, 0.1),
        ({"Retry-After": "-5"}, 0, 0.1),
        ({"Retry-After": "nan"}, 0, 0.1),
        ({"Retry-After": "soon"}, 0, 0.1),
        ({"retry-after-ms": "inf"}, 0, 0.1),
    ],
)
def test_the_server_says_how_long_to_wait(
    server: FaultServer,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    headers: dict[str, str],
    low: float,
    high: float,
) -> None:
    clock = Clock(monkeypatch, endpoint)
    dates = {name: dated(value) for name, value in headers.items()}
    server.scripted.append(Canned(status, b"busy", dates))
    assert reply(server.spec(retry_delay=0.1)).text == "hello"
    assert low <= clock.waits[0] <= high
    assert len(server.requests) == 2


def test_nobody_waits_for_a_day(server: FaultServer) -> None:
    server.scripted.append(Canned(429, b"busy", {"Retry-After": "86400"}))
    message = failure(server.spec())
    assert "its one attempt; the last: HTTP 429: busy (it asks to wait 86400 s)" in message


# --- limits --------------------------------------------------------------------------------------


def test_players_of_one_server_share_its_limits() -> None:
    with FaultServer(delay=0.01) as server:
        wide, plain = (
            make_player(server.spec("a", max_concurrency=9)),
            make_player(server.spec("b")),
        )
        narrow = make_player(server.spec("c", max_concurrency=3))

        async def together() -> None:
            players = (wide, plain, narrow)
            await asyncio.gather(*(p.reply(conversation()) for p in players for _ in range(10)))

        asyncio.run(together())
        assert server.most_in_flight == 3
        assert len(server.requests) == 30


def test_more_requests_than_by_default_can_be_in_flight() -> None:
    with FaultServer(delay=0.2) as server:
        spec = server.spec(max_concurrency=100)
        replies = ask(spec, *(conversation(seed=number) for number in range(100)))
        assert [reply.text for reply in replies] == ["hello"] * 100
        assert server.most_in_flight > 64


def test_a_player_can_be_used_in_one_event_loop_after_another(server: FaultServer) -> None:
    player = make_player(server.spec())
    for _ in range(3):
        assert asyncio.run(player.reply(conversation())).text == "hello"  # type: ignore[arg-type]


def granted(
    monkeypatch: pytest.MonkeyPatch, per_minute: int, amounts: list[int], seconds: float = 60
) -> list[float]:
    """The times at which waiting requests are let through."""
    limit = RateLimiter()
    limit.per_minute = per_minute
    clock = Clock(monkeypatch, rate_limit)
    times: list[float] = []

    async def run() -> None:
        turn = asyncio.Lock()

        async def one(amount: int) -> None:
            await limit.take(amount, turn)
            times.append(clock.now)

        await asyncio.gather(*map(one, amounts))

    asyncio.run(run())
    return [moment for moment in times if moment < seconds]


@pytest.mark.parametrize("per_minute", [3, 60, 6000])
def test_requests_per_minute_are_spread_evenly(
    monkeypatch: pytest.MonkeyPatch, per_minute: int
) -> None:
    times = granted(monkeypatch, per_minute, [1] * (per_minute + 100))
    assert per_minute <= len(times) <= per_minute * 61 / 60 + 1
    assert abs(times[len(times) // 2] - 30) <= 60 / per_minute + 1


def test_tokens_per_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    amounts = [400, 20, 3000, 700] * 100
    times = granted(monkeypatch, 60_000, amounts)
    passed = sum(amounts[: len(times)])
    assert 58_000 <= passed <= 60_000 + 1000 + max(amounts)


def test_tokens_that_were_not_used_are_given_back(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch, rate_limit)
    player = make_player(server.spec(tokens_per_minute=24_000))  # 400 a second

    async def one_after_another() -> None:
        for _ in range(3):  # each may use more than 300, and uses 3
            await player.reply(conversation())  # type: ignore[misc]

    asyncio.run(one_after_another())
    assert clock.waits == []
    server.answer = lambda payload: Canned(200, completion("hi", prompt_tokens=4000))
    asyncio.run(one_after_another())
    assert sum(clock.waits) > 0


# --- point 20 of issue 14 -------------------------------------------------------------------------


def test_point_20_a_list_of_parts_is_joined_and_its_thinking_kept_apart(
    server: FaultServer,
) -> None:
    parts = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}, {"type": "x"}]},
        {"type": "text", "text": "4"},
        {"type": "reasoning", "reasoning": "so"},
        {"type": "image_url", "image_url": {"url": "data:"}},
        {"type": "output_text", "text": "2"},
    ]
    server.answer = lambda payload: Canned(200, completion(parts))
    stripped = reply(server.spec())
    assert (stripped.text, stripped.reasoning, stripped.raw) == ("42", "hm\n\nso", None)
    assert reply(server.spec(thinking="keep")).text == "<think>\nhm\n\nso\n</think>\n\n42"


@pytest.mark.parametrize(
    "body",
    [
        b'{"error": {"message": "no such model (request %d)", "code": 404}}',
        b"<html>Ray ID: 7f%d</html>",
        b'{"id": "chat-%d", "choices": []}',
    ],
)
def test_point_20_a_malformed_answer_that_repeats_is_given_up(
    server: FaultServer, body: bytes
) -> None:
    server.answer = lambda payload: Canned(200, body % len(server.requests))
    message = failure(server.spec("x"))
    assert "gave no answer in 2 attempts (2 x malformed answer); the last: " in message
    assert len(server.requests) == 2


def test_point_20_a_reply_that_is_broken_off_is_asked_for_again(server: FaultServer) -> None:
    server.scripted += [Canned(200, completion("a", finish="abort"))] * 4
    assert reply(server.spec()).text == "hello"


def test_point_20_the_list_of_models_has_a_total_time_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "_CHECKING", 0.5)
    done = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def drip() -> None:
            connection, _ = listening.accept()
            with connection, contextlib.suppress(OSError):
                connection.sendall(b"HTTP/1.1 200 OK\r\n")
                while not done.wait(0.05):
                    connection.sendall(b"x: y\r\n")

        dripping = threading.Thread(target=drip)
        dripping.start()
        player = make_player(f"openai:x?base_url=http://127.0.0.1:{listening.getsockname()[1]}")
        start = time.monotonic()
        assert player.seat(Talk(), "guesser") is player
        assert 0.4 < time.monotonic() - start < 3
        done.set()
        dripping.join()


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (400, "content_filter", "The response was filtered due to the prompt triggering ..."),
        (400, "content_policy_violation", "Your request was rejected"),
        (400, None, "rejected as a result of our safety system"),
        (403, None, "Your input was flagged by the moderation"),
        (200, "content_filter", "The response was filtered"),
    ],
)
def test_point_20_a_content_filter_is_one_verdict(
    server: FaultServer, status: int, code: str | None, message: str
) -> None:
    error = {"error": {"message": message, "code": code}}
    server.answer = lambda payload: Canned(status, json.dumps(error).encode())
    assert reply(server.spec()) == Reply("", stop_reason="filter")
    for body in (
        completion(None, finish="content_filter"),
        b'{"choices": [{"message": {"role": "assistant"}, "finish_reason": "content_filter"}]}',
    ):
        server.answer = lambda payload, body=body: Canned(200, body)
        filtered = reply(server.spec())
        assert (filtered.text, filtered.stop_reason) == ("", "filter")
    server.answer = lambda payload: Canned(200, completion("so fa", finish="content_filter"))
    cut = reply(server.spec())
    assert (cut.text, cut.stop_reason) == ("so fa", "filter")


@pytest.mark.parametrize("status", [200, 400])
def test_point_20_a_prompt_beyond_the_context_is_recorded_as_that(
    server: FaultServer, status: int
) -> None:
    error = b'{"error": {"message": "too long", "code": "context_length_exceeded"}}'
    server.answer = lambda payload: Canned(status, error)
    result = playpen("play", "taboo", "-p", server.spec("x"), "-n", "1", "-o", "out")
    assert result.code == 0, result
    [episode] = Run.open("out").episodes()
    assert [said.reply for said in episode.replies()] == [Reply("", stop_reason="context")]


# --- the key -------------------------------------------------------------------------------------


def test_the_key_is_never_written_down(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    body = json.dumps({"error": {"message": f"wrong key: {KEY}! ({KEY})"}}).encode()
    texts = [f"x{KEY}".encode(), b" " * 5000 + KEY.encode(), b'{"choices": "' + KEY.encode()]
    answers = [Canned(401, body), Canned(500, texts[0]), Canned(200, texts[1]), Canned(200, body)]
    for number, answer in enumerate([*answers, Canned(200, texts[2]), Canned(403, texts[1])]):
        server.answer = lambda payload, answer=answer: answer
        spec = server.spec(max_retries=1)
        result = playpen("play", "taboo", "-p", spec, "-n", "1", "-o", f"out{number}")
        assert result.code == 3
        assert "[key]" in result.err
        assert KEY not in result.out + result.err
    assert all(r.headers["authorization"] == f"Bearer {KEY}" for r in server.requests)
    written = [file for file in Path().rglob("*") if file.is_file()]
    assert len(written) > 6
    for file in written:
        assert KEY.encode() not in file.read_bytes(), file
    player = make_player(server.spec())
    assert KEY not in repr(player.describe()) + repr(player) + repr(vars(player))


def written_forms(key: str) -> dict[str, str]:
    """A key as texts may hold it."""
    return {
        "whole": key,
        "lines": f"{key[:6]}\n   {key[6:11]}\r\n{key[11:]}",
        "shown line breaks": f"{key[:6]}\\n{key[6:]}",
        "zero width": "\u200b".join(key),
        "upper": key.upper(),
        "mixed": key.swapcase().replace("S", "s"),
        "head": key[:11] + "...",
        "tail": "..." + key[4:],
        "percent": "".join(f"%{ord(c):02x}" for c in key),
        "some percent": key.replace("-", "%2D"),
        "percent twice": key.replace("-", "%252d"),
        "decimal": "".join(f"&#{ord(c)};" for c in key),
        "hexadecimal": "".join(f"&#x{ord(c):X};" for c in key),
        "named": key.replace("-", "&hyphen;").replace("&hyphen;", "&#45"),
        "HTML of percent": key.replace("-", "&#37;2d"),
        "json": "".join(f"\\u{ord(c):04x}" for c in key),
        "json in json": "".join(f"\\\\u{ord(c):04x}" for c in key),
        "C": "".join(f"\\x{ord(c):02x}" for c in key),
        "hex": key.encode().hex(),
        **{
            f"base64 {before!r}": base64.b64encode(f"{before}{key}!".encode()).decode()
            for before in ("", "a", "ab", "Bearer ")
        },
        "base64 over lines": base64.encodebytes(f"{'x' * 50}{key}".encode()).decode(),
        "base64 for URLs": base64.urlsafe_b64encode(f"\xff{key}\xff".encode("latin-1")).decode(),
    }


def pieces_of(key: str, length: int = 8) -> set[str]:
    return {key[at : at + length].lower() for at in range(len(key) - length + 1)}


@pytest.mark.parametrize("form", written_forms(KEY))
def test_point_23_a_key_is_masked_in_whatever_form_it_comes_back(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    text = written_forms(KEY)[form]
    visible = "".join(text.split()).lower()
    leaks = {visible[at : at + 10] for at in range(len(visible) - 9)} - {"." * 10, "x" * 10}
    if form.startswith("base64"):  # what stands beside the key is no secret
        leaks = {base64.b64encode(KEY.encode()).decode()[:12].lower()} & leaks

    def holds(shown: str) -> bool:
        shown = "".join(shown.split()).lower()
        return any(piece in shown for piece in leaks | pieces_of(KEY))

    for status in (400, 200):
        body = json.dumps({"error": {"message": f"wrong key: {text} here"}}).encode()
        answer = Canned(status, body)
        server.answer = lambda payload, answer=answer: answer
        message = failure(server.spec(max_retries=1))
        assert "[key]" in message
        assert not holds(message), message
    server.answer = lambda payload: Canned(200, completion(f"a {text} b", reasoning=f"c {text} d"))
    said = reply(server.spec())
    assert said.text.startswith("a ")
    assert said.text.endswith(" b")
    assert (said.reasoning or "").endswith(" d")
    assert "[key]" in said.text
    assert "[key]" in (said.reasoning or "")
    assert not holds(f"{said}"), said


def test_point_23_every_reading_of_a_key_is_hidden() -> None:
    """What is left decodes to no piece of the key."""
    for name, text in written_forms(KEY).items():
        left = KeyMask(KEY).mask(f"before {text} after")
        for reading in (left, urllib.parse.unquote(left), html.unescape(left)):
            assert not any(piece in reading.lower() for piece in pieces_of(KEY)), (name, left)
        assert "[key]" in left, name
        assert left.startswith("before ") or name.startswith("base64"), left


@pytest.mark.parametrize("key", [KEY, "EMPTY", "token-abc123", "sk-proj-" + "aB3" * 40])
def test_point_23_ordinary_replies_stay_as_they_are(key: str) -> None:
    text = "CLUE: an empty token, 100%25 &amp; more; sk-proj, \\n \\u0041 token-ab empty 12345678"
    assert KeyMask(key).mask(text) == text
    assert KeyMask(None).mask_all(text) == text
    assert KeyMask("EMPTY").mask_all("EMPTY!") == "[key]!"


def test_point_23_masking_takes_linear_time() -> None:
    start = time.monotonic()
    mask = KeyMask(KEY)
    for text in ("a" * 99_000, "%25" * 33_000, "&#" * 50_000, "\\" * 99_000, KEY * 6_000):
        mask.mask(text)
    assert time.monotonic() - start < 5


def test_what_is_described(server: FaultServer) -> None:
    assert make_player(server.spec("x", temperature=0.5)).describe() == {
        "model": "x", "base_url": server.url, "prompts": "messages", "temperature": 0.5,
        "max_new_tokens": 300, "seed": True, "reasoning": "stripped",
    }  # fmt: skip


# --- before anything is played -------------------------------------------------------------------


def test_a_dead_server_is_one_line() -> None:
    message = refused("play", "taboo", "-p", "openai:x?base_url=http://127.0.0.1:1/v1", "-o", "out")
    assert message == (
        "openai:x: no connection to http://127.0.0.1:1/v1: Connection refused. "
        "Is the server running, and is base_url right?"
    )
    assert not Path("out").exists()


def test_a_key_that_is_not_taken_is_one_line(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.models = Canned(401, b"no")
    message = refused("play", "taboo", "-p", server.spec("x"), "-o", "out")
    assert message.endswith("(HTTP 401): set OPENAI_API_KEY to the server's key")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    message = refused("play", "taboo", "-p", server.spec("x"), "-o", "out")
    assert message.endswith("(HTTP 401): is the key in OPENAI_API_KEY this server's?")
    assert not Path("out").exists()


@pytest.mark.parametrize("status", [403, 404, 500])
def test_a_server_need_not_list_its_models(server: FaultServer, status: int) -> None:
    server.models = Canned(status, b"")
    result = playpen("play", "taboo", "-p", server.spec("x"), "-n", "1", "-o", "out")
    assert result.code == 0, result


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("openai:", "names no model"),
        ("openai:gpt", "openai:gpt needs a key: set the environment variable OPENAI_API_KEY"),
        ("openai:x?base_url=http://h/v1&api_key_env=NO_KEY", "environment variable NO_KEY"),
        ("openai:x?base_url=http://h/v1&temprature=1", "did you mean 'temperature'?"),
        ("openai:x?base_url=http://h/v1&api_key=a", "did you mean 'api_key_env'?"),
        ("openai:x?base_url=http://h/v1&timeout=0", "timeout"),
        ("openai:x?base_url=http://me:secret@h/v1", "user name or password"),
        ("openai:x?base_url=http://me@h/v1", "user name or password"),
        ("openai:x?base_url=http://h/v1?key=secret", "without ? or #"),
        ("openai:x?base_url=ftp://h/v1", "is not a URL like"),
        ("openai:x?base_url=h:8000/v1", "is not a URL like"),
        ("openai:x?base_url=http://", "is not a URL like"),
        ("openai:x?base_url=http://[::1/v1", "is not a URL like"),
        ("openai:x?base_url=http://h:port/v1", "is not a URL like"),
        ("openai:x?base_url=http://h/v1&chat_template=a", "without the option tokenizer"),
        ("openai:x?base_url=http://h/v1&logprobs=processed", "without the option tokenizer"),
        ("openai:x?base_url=http://h/v1&tokenizer=a&temperature=0.7", "processed_logprobs"),
        (
            "openai:x?base_url=http://h/v1&tokenizer=a&logprobs=processed&top_p=0.9",
            "leave top_p or logprobs=processed out",
        ),
    ],
)
def test_specs_that_cannot_be_used(spec: str, said: str) -> None:
    with pytest.raises(SpecError) as caught:
        make_player(spec)
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_user_name_in_the_environment_is_refused_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "https://me:secret@host/v1")
    with pytest.raises(SpecError, match="OPENAI_BASE_URL holds a user name") as caught:
        make_player("openai:x")
    assert "secret" not in str(caught.value)


def test_a_key_with_a_line_break_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", f"{KEY}\r\nHost: evil")
    with pytest.raises(SpecError, match="characters that no key has") as caught:
        make_player("openai:x")
    assert KEY not in str(caught.value)


def test_messages_need_neither_torch_nor_transformers() -> None:
    code = "import sys, playpen.players.openai; print({'torch', 'transformers'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout.strip() == b"set()"


def test_without_the_extra_its_name_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("openai", "http.endpoint"):
        monkeypatch.delitem(sys.modules, f"playpen.players.{name}")
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    with pytest.raises(PluginError, match=r'pip install "playpen-core\[openai\]"'):
        make_player("openai:x?base_url=http://h/v1")
