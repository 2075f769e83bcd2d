"""The `vllm:` player: exact tokens, log-probabilities, sampling, sharing, life of the engine."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
import torch
import transformers
from tests.core.model_play import (
    Talk,
    check_logprobs,
    conversation,
    generated,
    instances,
    plain_logprobs,
    replies,
    rows_of,
)
from tests.core.tiny_model import SPECIAL_TOKENS
from tests.vllm.small_models import save_small_model
from tests.vllm.talks import check_fed

from playpen.conversation import Message
from playpen.player import PlayerError, SpecError
from playpen.plugins import make_player
from playpen.rollout import play

pytestmark = pytest.mark.vllm
REPOSITORY = Path(__file__).parents[2]


def engine_of(player):
    player.seat(Talk(), "first")
    return player._loaded[0]


@contextmanager
def fed(player) -> Iterator[list[list[int]]]:
    """What vLLM's own engine is given and gives back: prompt and sampled ids of each request."""
    engine = engine_of(player)._worker.engine
    ours = engine.generate
    requests: list[list[int]] = []

    async def generate(prompt, *arguments, **options):
        async for output in ours(prompt, *arguments, **options):
            if output.finished:
                requests.append([*prompt["prompt_token_ids"], *output.outputs[0].token_ids])
            yield output

    engine.generate = generate
    try:
        yield requests
    finally:
        del engine.generate


# --- token fidelity ------------------------------------------------------------------------------


def test_trajectories_are_what_the_engine_was_fed(vllm):
    player = vllm(temperature=1.0, max_new_tokens=12)
    with fed(player) as requests:
        episodes = play(Talk(), player, instances(8), concurrency=6)
    check_fed(episodes, requests)
    assert len(requests) == 8 * 9


def test_a_conversation_is_one_row_and_each_side_question_another(vllm):
    (episode,) = play(Talk(), vllm(temperature=1.0, max_new_tokens=8), instances(1))
    assert [len(row.spans) for row in episode.trajectory("first").rows] == [3, 1, 1, 1]
    assert [len(row.spans) for row in episode.trajectory("second").rows] == [3]


def test_sampled_ids_survive_where_text_would_not(vllm):
    player = vllm(temperature=1.0, max_new_tokens=12)
    (episode,) = play(Talk(), player, instances(1))
    tokenizer = player._loaded[1].tokenizer
    (row,) = episode.trajectory("second").rows
    assert tokenizer.encode(tokenizer.decode(row.ids), add_special_tokens=False) != row.ids


def test_64_episodes_at_once(vllm, transformers_model):
    player = vllm(temperature=0.8, max_new_tokens=12)
    with fed(player) as requests:
        episodes = play(Talk(), player, instances(64, rounds=2), concurrency=64)
    check_fed(episodes, requests)
    check_logprobs(transformers_model, episodes, 0.8)


def test_the_end_of_turn_is_sampled_and_no_marker_is_in_a_text(vllm):
    player = vllm(temperature=1.0, max_new_tokens=25)
    episodes = play(Talk(), player, instances(8), concurrency=8)
    said = [reply.reply for episode in episodes for reply in episode.replies()]
    assert {reply.stop_reason for reply in said} == {"stop", "length"}
    for reply in said:
        assert not any(marker in reply.text for marker in SPECIAL_TOKENS)
        ended = reply.tokens.sampled[-1] == SPECIAL_TOKENS.index("<|im_end|>")
        assert ended == (reply.stop_reason == "stop")
        assert len(reply.tokens.sampled) == len(reply.tokens.logprobs) == reply.completion_tokens


# --- sampling ------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [0.0, 0.6, 1.0, 1.7])
def test_logprobs_are_those_after_temperature(vllm, transformers_model, temperature):
    player = vllm(temperature=temperature, max_new_tokens=17)
    episodes = play(Talk(), player, instances(6), concurrency=5)
    check_logprobs(transformers_model, episodes, temperature or 1.0)


def test_many_long_prompts_at_once_are_sampled_with_their_seeds(vllm):
    player = vllm(temperature=1.0, max_new_tokens=3)
    engine = engine_of(player)._worker.engine
    talks = [conversation(f"{n} " + "guess the word " * 60, seed=n) for n in range(40)]
    together = replies(player, *talks)
    read = sum(reply.prompt_tokens for reply in together)
    assert read > 2 * engine.vllm_config.scheduler_config.max_num_batched_tokens
    assert all(reply.tokens.sampled for reply in together)


@pytest.mark.parametrize("cut", [{"top_k": 3}, {"top_p": 0.5}, {"top_k": 20, "top_p": 0.9}])
def test_logprobs_are_those_before_the_cuts(vllm, adapters, small, cut):
    player = vllm(adapters[0], temperature=0.7, max_new_tokens=17, **cut)
    episodes = play(Talk(), player, instances(6), concurrency=5)
    model = merged(small, adapters[0])
    check_logprobs(model, episodes, 0.7)
    for row in rows_of(episodes):
        with torch.no_grad():
            logits = model(torch.tensor([row.ids]), use_cache=False).logits[0, :-1]
        ordered = torch.softmax(logits / 0.7, -1).sort(descending=True)
        for place, sampled in enumerate(row.mask[1:]):
            if sampled:
                rank = ordered.indices[place].tolist().index(row.ids[place + 1])
                assert rank < cut.get("top_k", 1000)
                assert ordered.values[place][:rank].sum() < cut.get("top_p", 1.0) + 1e-4


def test_greedy_takes_the_most_probable_token_whatever_the_seed(vllm, transformers_model):
    player = vllm(max_new_tokens=6)
    first, second = (replies(player, conversation(seed=seed))[0] for seed in (1, 2))
    assert first.tokens.sampled == second.tokens.sampled
    ids = list(first.tokens.context)
    for token in first.tokens.sampled:
        assert token == int(transformers_model(torch.tensor([ids])).logits[0, -1].argmax())
        ids.append(token)


def test_a_seed_gives_the_same_ids_again_and_others_give_others(vllm):
    player = vllm(temperature=1.0, max_new_tokens=20)
    tries = [generated(player, conversation(seed=seed))[0] for seed in (3, 3, 4, 5)]
    assert tries[0] == tries[1]
    assert len({tuple(ids) for ids in tries}) == 3


def test_each_player_of_an_engine_keeps_its_own_sampling(vllm):
    greedy, hot = vllm(max_new_tokens=10), vllm(max_new_tokens=20, temperature=1.5)
    assert engine_of(greedy) is engine_of(hot)

    async def both():
        asked = [greedy.reply(conversation()), hot.reply(conversation(seed=5))]
        return await asyncio.gather(*asked)

    (alone,) = generated(greedy, conversation())
    together, other = (reply.tokens.sampled for reply in asyncio.run(both()))
    assert together == alone != other[:10]


def test_the_limit_is_the_lower_of_the_players_and_the_games(vllm):
    player = vllm(max_new_tokens=7, temperature=2.0)
    wide = replies(player, conversation(max_new_tokens=9))[0]
    narrow = replies(player, conversation(max_new_tokens=3))[0]
    assert narrow.tokens.sampled == wide.tokens.sampled[:3]
    assert narrow.stop_reason == "length"
    assert len(wide.tokens.sampled) <= 7


def test_a_full_context_ends_replies_and_is_no_failure(vllm):
    player = vllm(temperature=2.0, max_new_tokens=60)
    engine_of(player)
    episodes = play(Talk(), player, instances(3, rounds=12), concurrency=3)
    said = [reply.reply for episode in episodes for reply in episode.replies()]
    assert any(reply.stop_reason == "context" and reply.tokens.sampled for reply in said)
    for reply in said:
        if not reply.tokens.sampled:
            assert (reply.text, reply.stop_reason) == ("", "context")
            assert reply.prompt_tokens >= 512
    assert 490 < max(len(row.ids) for row in rows_of(episodes)) <= 512


# --- adapters ------------------------------------------------------------------------------------


def merged(base: Path, adapter: Path):
    from peft import PeftModel

    model = transformers.AutoModelForCausalLM.from_pretrained(base)
    return PeftModel.from_pretrained(model, str(adapter)).merge_and_unload().eval()


def test_adapters_share_an_engine_and_answer_as_themselves(vllm, adapters, small):
    # With a cut, so that these players run on the engine of the tests above.
    players = [vllm(adapter, temperature=1.0, top_k=50, max_new_tokens=17) for adapter in adapters]
    assert engine_of(players[0]) is engine_of(players[1])

    async def together():
        asked = [player.reply(conversation(seed=seed)) for player in players for seed in range(8)]
        return await asyncio.gather(*asked)

    said = asyncio.run(together())
    for adapter, of_this in zip(adapters, (said[:8], said[8:]), strict=True):
        model = merged(small, adapter)
        for reply in of_this:
            trace = reply.tokens
            expected = plain_logprobs(model, trace.context + trace.sampled, 1.0)
            expected = expected[len(trace.context) - 1 :].tolist()
            assert trace.logprobs == pytest.approx(expected, abs=1e-3)


def test_an_adapter_that_does_not_fit_is_refused_when_seated(vllm, adapters, tmp_path):
    strange = tmp_path / "adapter"
    strange.mkdir()
    config = json.loads((adapters[0] / "adapter_config.json").read_text())
    config["use_dora"] = True
    (strange / "adapter_config.json").write_text(json.dumps(config))
    (strange / "adapter_model.safetensors").write_bytes(
        (adapters[0] / "adapter_model.safetensors").read_bytes()
    )
    message = failure(vllm(strange, temperature=1.0, top_k=50))
    assert str(strange) in message
    assert "DoRA" in message
    # The engine goes on for those who fit.
    fitting = vllm(adapters[0], temperature=1.0, top_k=50, max_new_tokens=2)
    assert generated(fitting, conversation())[0]


# --- sittings ------------------------------------------------------------------------------------


def test_a_player_plays_in_one_event_loop_after_another(vllm):
    player = vllm(temperature=1.0, max_new_tokens=8)
    first = play(Talk(), player, instances(2), concurrency=1)
    second = play(Talk(), player, instances(2), concurrency=1)
    assert [row.ids for row in rows_of(first)] == [row.ids for row in rows_of(second)]


def test_a_cancelled_reply_is_aborted_in_the_engine(vllm):
    player = vllm(temperature=2.0, max_new_tokens=480)
    engine = engine_of(player)._worker.engine

    async def give_up() -> None:
        task = asyncio.create_task(player.reply(conversation()))
        while engine.get_num_unfinished_requests() == 0:
            await asyncio.sleep(0.001)
        task.cancel()
        (error,) = await asyncio.gather(task, return_exceptions=True)
        assert isinstance(error, asyncio.CancelledError)
        while engine.get_num_unfinished_requests():
            await asyncio.sleep(0.001)

    with fed(player) as finished:
        asyncio.run(asyncio.wait_for(give_up(), timeout=30))
    assert finished == []
    assert generated(player, conversation(max_new_tokens=2))[0]


# --- processes -----------------------------------------------------------------------------------

SCRIPT = """
import asyncio, os, sys
import psutil
from playpen import Conversation, Message, make_player, play
from tests.core.model_play import Talk, conversation, instances

def tell(*what):
    print(*what, flush=True)

def processes():
    return " ".join(str(child.pid) for child in psutil.Process().children(recursive=True))

def main():
    player = make_player("vllm:{model}?enforce_eager=true&temperature=2&max_new_tokens={limit}")
{body}

if __name__ == "__main__":
    main()
"""


@contextmanager
def script(small: Path, body: str, limit: int = 5) -> Iterator[subprocess.Popen[str]]:
    """A program of its own, in a process group of its own, and none of it is left afterwards."""
    code = SCRIPT.format(model=small, limit=limit, body=textwrap.indent(body, "    "))
    with subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as running:
        try:
            yield running
        finally:
            with suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGKILL)


def all_end(processes: list[int], within: float = 30) -> bool:
    """Whether processes end soon (one that nobody has waited for is a zombie)."""

    def gone(process: int) -> bool:
        try:
            return psutil.Process(process).status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True

    until = time.monotonic() + within
    while not all(map(gone, processes)):
        if time.monotonic() > until:
            return False
        time.sleep(0.1)
    return True


def test_a_program_that_closes_nothing_ends_and_leaves_no_process(small):
    body = """
player.seat(Talk(), "first")
tell(processes())
async def one():
    asyncio.create_task(player.reply(conversation()))
    return await player.reply(conversation(max_new_tokens=2))
tell(len(asyncio.run(one()).tokens.sampled))
"""
    with script(small, body, limit=400) as running:
        said, errors = running.communicate(timeout=240)
    assert (running.returncode, errors) == (0, "")
    processes, number = said.splitlines()
    assert number == "2"
    assert len(processes.split()) >= 2
    assert all_end([int(process) for process in processes.split()])


def test_ctrl_c_ends_the_roll_out_and_leaves_no_process(small):
    body = """
player.seat(Talk(), "first")
tell(processes())
try:
    play(Talk(), player, instances(200, rounds=4), concurrency=16)
except KeyboardInterrupt:
    tell("interrupted")
"""
    with script(small, body, limit=100) as running:
        assert running.stdout is not None
        processes = running.stdout.readline()
        time.sleep(1)  # some episodes are in flight
        os.killpg(running.pid, signal.SIGINT)  # a terminal interrupts all of its processes
        said, errors = running.communicate(timeout=120)
        assert (said, errors) == ("interrupted\n", "")
        assert running.returncode == 0
        assert processes.split()
        assert all_end([int(process) for process in processes.split()])


def test_ctrl_c_while_the_model_is_loaded_leaves_no_process(small):
    body = """
tell("loading")
try:
    player.seat(Talk(), "first")
except KeyboardInterrupt:
    os.write(1, b"interrupted\\n")
"""
    with script(small, body) as running:
        assert running.stdout is not None
        running.stdout.readline()
        parent = psutil.Process(running.pid)
        while not any("VLLM" in process.name() for process in parent.children()):
            assert running.poll() is None
            time.sleep(0.05)
        processes = [child.pid for child in parent.children(recursive=True)]
        os.killpg(running.pid, signal.SIGINT)
        said, errors = running.communicate(timeout=120)
        # Where it is interrupted is a matter of time.  Python's own helper of vLLM's process may
        # say that it has cleaned up what that had no time to.
        others = [line for line in errors.splitlines() if "resource_tracker" not in line]
        assert (said, others) == ("interrupted\n", [])
        assert all_end(processes)


def test_a_killed_program_leaves_no_process(small):
    body = """
player.seat(Talk(), "first")
tell(processes())
os.read(0, 1)
"""
    with script(small, body) as running:
        assert running.stdout is not None
        processes = [int(process) for process in running.stdout.readline().split()]
        assert len(processes) >= 2
        running.kill()
        assert all_end(processes)


def test_a_program_that_is_killed_while_it_loads_leaves_no_process(small):
    with script(small, 'player.seat(Talk(), "first")') as running:
        parent = psutil.Process(running.pid)

        def workers() -> list[psutil.Process]:
            return [p for p in parent.children(recursive=True) if "Worker" in p.name()]

        while not workers():
            assert running.poll() is None
            time.sleep(0.05)
        processes = [child.pid for child in parent.children(recursive=True)]
        running.kill()
        assert all_end(processes, within=60)


# --- mistakes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("temperture=1", "did you mean 'temperature'"),
        ("temperature=3", "temperature"),
        ("temperature=0.001", "at least 0.01"),
        ("top_p=0", "top_p"),
        ("dtype=float12", "float12"),
        ("gpu_memory_utilization=2", "gpu_memory_utilization"),
        ("tensor_parallel_size=0", "tensor_parallel_size"),
        ("chat_template=nowhere.jinja", "nowhere.jinja"),
        ("revision=main", "revision"),
    ],
)
def test_wrong_options_are_refused_in_one_line(small, query, message):
    with pytest.raises(SpecError, match=message) as caught:
        make_player(f"vllm:{small}?{query}")
    assert "\n" not in str(caught.value)


def failure(player, kind: type[Exception] = PlayerError) -> str:
    with pytest.raises(kind) as caught:
        player.seat(Talk(), "first")
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 700
    return message


def test_a_model_without_chat_template_says_what_to_add(vllm, tmp_path):
    player = vllm(save_small_model(tmp_path, template=None))
    assert "?chat_template=FILE" in failure(player, SpecError)


def test_an_architecture_that_vllm_does_not_know_is_named(vllm, small, tmp_path):
    model = save_small_model(tmp_path)
    config = json.loads((model / "config.json").read_text())
    config["architectures"] = ["CloudForCausalLM"]
    (model / "config.json").write_text(json.dumps(config))
    assert "CloudForCausalLM" in failure(vllm(model))


def test_more_positions_than_the_model_has_are_refused(vllm):
    message = failure(vllm(max_model_len=4096))
    assert "4096" in message
    assert "512" in message


def test_weights_that_are_not_safetensors_are_refused(vllm, tmp_path):
    model = save_small_model(tmp_path)
    (model / "model.safetensors").rename(model / "pytorch_model.bin")
    assert "safetensors" in failure(vllm(model))


def test_a_context_that_the_cache_cannot_hold_says_so(vllm, tmp_path, capfd):
    engine_of(vllm())  # vLLM is imported, and says what it says then
    model = save_small_model(tmp_path, positions=5_000_000)
    capfd.readouterr()
    message = failure(vllm(model))
    assert "KV cache" in message
    assert "max_model_len" in message
    assert capfd.readouterr() == ("", "")


def test_the_description_says_what_runs(vllm, small):
    player = vllm(temperature=0.5)
    assert player.describe()["dtype"] == "auto"
    engine_of(player)
    described = player.describe()
    assert described.pop("vllm")
    assert described == {
        "model": str(small),
        "dtype": "float32",
        "max_model_len": 512,
        "tensor_parallel_size": 1,
        "enforce_eager": True,
        "max_num_seqs": 64,
        "temperature": 0.5,
        "top_p": 1.0,
        "top_k": 0,
        "max_new_tokens": 300,
        "reasoning": "stripped",
    }


def test_players_share_an_engine_until_the_last_is_closed(vllm, small):
    keeper = engine_of(vllm())
    users = keeper.users
    other = vllm(temperature=1.0)
    assert engine_of(other) is keeper
    assert keeper.users == users + 1
    asyncio.run(other.close())
    assert keeper.users == users
    assert keeper.usable


def test_a_conversation_goes_on_where_it_was(vllm):
    player = vllm(max_new_tokens=5)
    begun = conversation()
    (first,) = replies(player, begun)
    begun.messages += [Message("assistant", first.text, first), Message("user", "higher")]
    (second,) = replies(player, begun)
    assert second.tokens.continued
    assert second.prompt_tokens == sum(
        map(len, (first.tokens.context, first.tokens.sampled, second.tokens.context))
    )


def test_the_death_of_an_engine_reaches_everybody_and_another_is_started(vllm, adapters):
    player = vllm(adapters[0], temperature=2.0, top_k=50, max_new_tokens=450)
    engine = engine_of(player)
    (process,) = engine._worker.engine.engine_core.resources.engine_manager.processes

    async def kill() -> list[object]:
        tasks = [asyncio.create_task(player.reply(conversation(seed=i))) for i in range(4)]
        while engine._worker.engine.get_num_unfinished_requests() < 4:
            await asyncio.sleep(0.001)
        process.kill()
        return await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 60)

    for error in asyncio.run(kill()):
        assert isinstance(error, PlayerError)
        assert "the engine died" in str(error)
        assert "\n" not in str(error)
    assert not engine.usable
    again = vllm(adapters[0], temperature=2.0, top_k=50, max_new_tokens=2)
    assert engine_of(again) is not engine
    assert generated(again, conversation())[0]
