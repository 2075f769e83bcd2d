"""The `openai:` player with token ids: exact traces from a server that speaks as vLLM's does."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.core.fault_server import Canned, FaultServer, Payload
from tests.core.tiny_model import FORGETFUL, PLAIN, tiny_tokenizer

from playpen import Ask, Conversation, Game, Instance, Message, Reply, Role, Success
from playpen.instance import Experiment
from playpen.player import Player, PlayerError, SpecError
from playpen.plugins import make_player
from playpen.rollout import play

END = 2
"""The id of ``<|im_end|>``, which ends a turn."""


class Talk(Game):
    """Three questions, one of them on the side."""

    name = "talk"
    roles = (Role("guesser"),)

    def play(self, instance):
        yield Ask("guesser", "guess the word")
        yield Ask("guesser", "really?", keep=False)
        yield Ask("guesser", "no: higher", max_new_tokens=4)
        yield Ask("guesser", "no: lower")
        return Success()


def sampled(payload: Payload) -> tuple[list[int], list[float]]:
    """Ids that a model could have sampled, which no tokenizer would give for their text."""
    chance = random.Random(payload["seed"])
    ids = [
        chance.randrange(4, 260)
        for _ in range(payload["max_tokens"] if payload["max_tokens"] < 9 else 8)
    ]
    if len(ids) < payload["max_tokens"]:
        ids.append(END)
    return ids, [-chance.random() for _ in ids]


def generate(payload: Payload) -> Canned:
    """An answer in the form of vLLM's server, to a request for token ids."""
    assert payload["return_token_ids"] and payload["logprobs"] == 0
    ids, logprobs = sampled(payload)
    choice = {
        "text": "not looked at",
        "finish_reason": "stop" if ids[-1] == END else "length",
        "token_ids": ids,
        "prompt_token_ids": payload["prompt"],
        "logprobs": {"token_logprobs": logprobs, "tokens": [], "top_logprobs": []},
    }
    return answer(**choice)


def answer(**choice: Any) -> Canned:
    usage = {"prompt_tokens": 1, "completion_tokens": 1}
    return Canned(200, json.dumps({"choices": [choice], "usage": usage}).encode())


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer(generate) as started:
        yield started


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tokenizer"
    tiny_tokenizer(PLAIN).save_pretrained(folder)
    return folder


def conversation(text: str = "guess") -> Conversation:
    return Conversation("guesser", [Message("user", text)], sampling_seed=3)


def reply(player: Player) -> Reply:
    async def ask() -> Any:
        return await player.reply(conversation())  # type: ignore[misc]

    return asyncio.run(ask())


@pytest.mark.parametrize("template", [PLAIN, FORGETFUL])
def test_rows_are_what_the_server_read_and_sampled(
    server: FaultServer, tmp_path: Path, template: str
) -> None:
    tiny_tokenizer(template).save_pretrained(tmp_path / "tok")
    player = make_player(server.spec(tokenizer=tmp_path / "tok", temperature=1))
    instances = [Instance("talk", Experiment("e", {}), {"game_id": i}) for i in range(5)]
    episodes = play(Talk(), player, instances)
    asked = {request.payload["seed"]: request.payload for request in server.requests}
    assert len(asked) == 20
    for episode in episodes:
        assert episode.failure is None
        found = episode.trajectory("guesser")
        assert found is not None
        seen = 0
        for row in found.rows:
            for turn, start, end in row.spans:
                seed = (
                    Conversation("guesser", sampling_seed=episode.sampling_seed, turn=turn).seed
                    % 2**31
                )
                payload = asked[seed]
                assert payload["prompt"] == row.ids[:start]
                assert (row.ids[start:end], row.logprobs[start:end]) == sampled(payload)
                seen += 1
        assert seen == 4
    if template == PLAIN:  # one row, and one for the side question
        assert [len(row.spans) for row in found.rows] == [3, 1]


def test_what_is_asked_for(server: FaultServer, tokenizer: Path) -> None:
    player = make_player(server.spec(tokenizer=tokenizer, max_new_tokens=20))
    answered = reply(player)
    [request] = server.requests
    assert request.path == "/v1/completions"
    payload = request.payload
    assert payload["max_tokens"] == 20
    assert END in payload["stop_token_ids"]
    # The model's own generation configuration must not cut or bend the distribution.
    neutral = {"top_p": 1.0, "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0, "temperature": 0}
    assert {name: payload[name] for name in neutral} == neutral
    assert answered.prompt_tokens == len(payload["prompt"])
    assert answered.completion_tokens == 9
    assert answered.stop_reason == "stop"
    described = player.describe()
    assert (described["prompts"], described["logprobs"]) == ("token ids", "raw")


@pytest.mark.parametrize(("limit", "given", "reason"), [(4, 4, "length"), (20, 4, "context")])
def test_a_reply_that_was_cut(
    server: FaultServer, tokenizer: Path, limit: int, given: int, reason: str
) -> None:
    server.answer = lambda payload: generate({**payload, "max_tokens": given})
    player = make_player(server.spec(tokenizer=tokenizer, max_new_tokens=limit))
    assert reply(player).stop_reason == reason


def test_a_full_context_is_an_empty_reply_with_an_empty_trace(
    server: FaultServer, tokenizer: Path
) -> None:
    said = "This model's maximum context length is 8 tokens. However, your prompt contains ..."
    server.answer = lambda payload: Canned(400, json.dumps({"error": {"message": said}}).encode())
    answered = reply(make_player(server.spec(tokenizer=tokenizer)))
    assert (answered.text, answered.stop_reason) == ("", "context")
    assert answered.tokens is not None and answered.tokens.sampled == []


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ({"text": "hi"}, "does not return token ids and log-probabilities"),
        ({"text": "hi", "logprobs": {"token_logprobs": [-1]}}, "does not return token ids"),
        ({"token_ids": [5], "prompt_token_ids": [1, 2], "logprobs": {}}, "read other token ids"),
        ({"token_ids": [5, 6], "logprobs": {"token_logprobs": [-1]}}, "2 token ids and 1 log-prob"),
        ({"token_ids": [5], "logprobs": {"token_logprobs": [None]}}, "1 token ids and 0 log-prob"),
        ({"token_ids": [], "logprobs": {"token_logprobs": []}}, "0 token ids and 0 log-prob"),
    ],
)
def test_a_trace_is_exact_or_an_error(
    server: FaultServer, tokenizer: Path, choice: dict[str, Any], said: str
) -> None:
    server.answer = lambda payload: answer(**{"prompt_token_ids": payload["prompt"], **choice})
    if said.startswith("does not return"):
        server.answer = lambda payload: answer(**choice)
    with pytest.raises(PlayerError, match=said) as caught:
        reply(make_player(server.spec("x", tokenizer=tokenizer)))
    assert str(caught.value).startswith(f"openai:x: {server.url}")
    assert len(server.requests) == 1


@pytest.mark.parametrize("ids", ["[-1]", "[4294967296]", '["a"]', "[1.5]"])
def test_ids_that_are_none_are_a_malformed_answer(
    server: FaultServer, tokenizer: Path, ids: str
) -> None:
    body = f'{{"choices": [{{"token_ids": {ids}}}]}}'
    server.answer = lambda payload: Canned(200, body.encode())
    with pytest.raises(PlayerError, match="2 x malformed answer"):
        reply(make_player(server.spec(tokenizer=tokenizer, max_retries=1)))


def test_processed_log_probabilities_fit_every_temperature(
    server: FaultServer, tokenizer: Path
) -> None:
    spec = server.spec(tokenizer=tokenizer, temperature=0.7, logprobs="processed")
    assert reply(make_player(spec)).tokens is not None
    assert server.requests[0].payload["temperature"] == 0.7


def test_what_is_wrong_with_the_tokenizer_shows_before_play(
    server: FaultServer, tokenizer: Path, tmp_path: Path
) -> None:
    tiny_tokenizer(None).save_pretrained(tmp_path / "base")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SpecError, match="no chat template"):
        make_player(server.spec(tokenizer=tmp_path / "base")).seat(Talk(), "guesser")
    for name in ("empty", "missing"):
        with pytest.raises(PlayerError, match=f"tokenizer=.*{name}: ") as caught:
            make_player(server.spec(tokenizer=tmp_path / name)).seat(Talk(), "guesser")
        assert "\n" not in str(caught.value)
    player = make_player(server.spec(tokenizer=tokenizer, chat_template=tmp_path / "none.jinja"))
    with pytest.raises(SpecError, match="cannot be read"):
        player.seat(Talk(), "guesser")
    (tmp_path / "own.jinja").write_text(PLAIN, encoding="utf-8")
    spec = server.spec(tokenizer=tmp_path / "base", chat_template=tmp_path / "own.jinja")
    assert reply(make_player(spec)).tokens is not None
    assert server.requests


def test_without_transformers_the_extra_is_named(
    server: FaultServer, tokenizer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    player = make_player(server.spec(tokenizer=tokenizer))
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(PlayerError, match=r'pip install "playpen-core\[hf\]"'):
        player.seat(Talk(), "guesser")
