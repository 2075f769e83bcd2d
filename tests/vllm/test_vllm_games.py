"""SmolLM2 plays whole episodes of real games on vLLM: in this process, and behind its server."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import transformers
from tests.core.model_play import (
    Talk,
    check_logprobs,
    conversation,
    generated,
    instances,
    replies,
)
from tests.vllm.talks import check_fed

from playpen import get_game, ready_instances, replay
from playpen.player import Player
from playpen.plugins import make_player
from playpen.rollout import play

pytestmark = [pytest.mark.vllm, pytest.mark.smollm]
GAMES = ("taboo", "wordle", "referencegame")
TEMPERATURE = 0.8
ROOM = 1024


@contextmanager
def served(model: Path, log: Path) -> Iterator[str]:
    """vLLM's server on a port of this machine, until the end of the block; gives its URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # What `vllm serve` starts; that command itself looks for a distribution of the name vllm, which
    # the one for CPUs is not.
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model)]
    command += ["--served-model-name", "smol", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--dtype", "float32", "--enforce-eager", "--max-model-len", str(ROOM)]
    command += ["--logprobs-mode", "processed_logprobs"]
    environment = os.environ | {"VLLM_NO_USAGE_STATS": "1"}
    with (
        log.open("wb") as output,
        subprocess.Popen(
            command, env=environment, stdout=output, stderr=output, start_new_session=True
        ) as server,
    ):
        try:
            while True:
                assert server.poll() is None, log.read_text()[-3000:]
                with suppress(urllib.error.URLError, ConnectionError):
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                    break
                time.sleep(0.5)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            server.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                server.wait(timeout=30)
            with suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGKILL)


@pytest.fixture(scope="module", params=["in-process", "server"])
def player(
    request: pytest.FixtureRequest, smollm: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Player]:
    sampling = f"temperature={TEMPERATURE}&max_new_tokens=30"
    if request.param == "in-process":
        made = make_player(f"vllm:{smollm}?enforce_eager=true&max_model_len={ROOM}&{sampling}")
        yield made
        asyncio.run(made.close())
        return
    with served(smollm, tmp_path_factory.mktemp("server") / "log.txt") as url:
        made = make_player(
            f"openai:smol?base_url={url}&tokenizer={smollm}&logprobs=processed&{sampling}"
        )
        yield made
        asyncio.run(made.close())


@pytest.fixture
def fed(player: Player, monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """Prompt and sampled ids of each request, where they leave this program and come back."""
    player.seat(Talk(), "first")
    requests: list[list[int]] = []
    over: Any = player
    if hasattr(over, "_endpoint"):
        post = over._endpoint.post

        async def posted(path, payload, *arguments, **options):
            answer = await post(path, payload, *arguments, **options)
            requests.append([*payload["prompt"], *answer.choices[0].token_ids])
            return answer

        monkeypatch.setattr(over._endpoint, "post", posted)
    else:
        engine = over._loaded[0]._worker.engine
        generate = engine.generate

        async def generated(prompt, *arguments, **options):
            async for output in generate(prompt, *arguments, **options):
                if output.finished:
                    requests.append([*prompt["prompt_token_ids"], *output.outputs[0].token_ids])
                yield output

        monkeypatch.setattr(engine, "generate", generated)
    return requests


@pytest.fixture(scope="module")
def model(smollm: Path):
    return transformers.AutoModelForCausalLM.from_pretrained(smollm).eval()


def test_whole_episodes_of_three_games(player, fed, model):
    everything = []
    for name in GAMES:
        game = get_game(name)
        chosen = ready_instances(game, "validation")[:2]
        episodes = play(game, player, chosen, concurrency=2)
        for episode, instance in zip(episodes, chosen, strict=True):
            assert episode.failure is None, episode.failure
            assert episode.outcome is not None
            assert replay(game, instance, episode).divergences == []
        everything += episodes
    check_fed(everything, fed)
    check_logprobs(model, everything, TEMPERATURE, within=1e-2)


def test_turns_and_side_questions_are_fed_as_they_were_sampled(player, fed, model):
    episodes = play(Talk(), player, instances(3, rounds=2), concurrency=3)
    check_fed(episodes, fed)
    check_logprobs(model, episodes, TEMPERATURE, within=1e-2)
    for episode in episodes:
        assert [len(row.spans) for row in episode.trajectory("second").rows] == [2]


def test_a_seed_gives_the_same_ids_again(player):
    tries = [
        generated(player, conversation("Tell a joke.", seed=seed, max_new_tokens=12))[0]
        for seed in (3, 3, 4)
    ]
    assert tries[0] == tries[1] != tries[2]


def test_a_full_context_ends_the_reply_and_is_no_failure(player):
    def asked(words: int, seed: int = 0):
        return conversation("word " * words, seed=seed)

    (fits,) = replies(player, asked(ROOM // 2))
    used = fits.prompt_tokens - ROOM // 2  # by the template
    said = replies(player, *(asked(ROOM - used - 3, seed) for seed in range(8)))
    for reply in said:
        assert reply.prompt_tokens == ROOM - 3
        assert len(reply.tokens.sampled) == 3 or reply.stop_reason == "stop"
    assert {reply.stop_reason for reply in said} >= {"context"}
    (none,) = replies(player, asked(ROOM + 5))
    assert (none.text, none.stop_reason, none.tokens.sampled) == ("", "context", [])
