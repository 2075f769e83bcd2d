"""The `hf:` player: exact tokens, batches, sampling, loading, errors."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import subprocess
import sys
import threading
import weakref
from collections import Counter
from pathlib import Path

import pytest
import torch
import transformers
from tests.core.model_play import (
    Spy,
    Talk,
    architectures,
    check_logprobs,
    conversation,
    generated,
    instances,
    plain_logprobs,
    replies,
    rows_of,
    said,
)
from tests.core.tiny_model import (
    FORGETFUL,
    OPENING,
    PLAIN,
    SPECIAL_TOKENS,
    save_tiny_model,
    tiny_model,
    tiny_tokenizer,
)

from playpen.player import Player, PlayerError, SpecError
from playpen.players.hf import HuggingFaceOptions, HuggingFacePlayer
from playpen.players.transformers_engine.engine import Engine
from playpen.players.transformers_engine.request import Request
from playpen.players.transformers_engine.sampling import sample
from playpen.plugins import make_player
from playpen.rollout import play


def row(**settings) -> Request:
    """A request; by default one that only `sample` sees."""
    defaults = {
        "ids": [0],
        "limit": 9,
        "stops": frozenset(),
        "temperature": 1.0,
        "top_p": 1.0,
        "top_k": 0,
        "batch_size": 9,
        "rng": random.Random(0),
    }
    return Request(**(defaults | settings))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    return save_tiny_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def hf(checkpoint):
    """Makes players of the tiny checkpoint, and closes them."""
    made = []

    def make(target: Path = checkpoint, **options) -> HuggingFacePlayer:
        player = HuggingFacePlayer(str(target), HuggingFaceOptions(**options))
        made.append(player)
        return player

    yield make
    for player in made:
        asyncio.run(player.close())


def engine_of(player: HuggingFacePlayer) -> Engine:
    player.seat(Talk(), "first")
    return player._loaded[0]


# --- token fidelity ------------------------------------------------------------------------------


def test_trajectories_are_what_the_model_was_fed(hf):
    player = hf(deterministic=True, temperature=1.0, max_new_tokens=12)
    with Spy(engine_of(player).model) as spy:
        episodes = play(Talk(), player, instances(4), concurrency=3)
    sent: list[list[int]] = []
    for (ids,) in spy.fed:
        # One row at a time; a reply begins with all it reads, then come single tokens.
        if len(ids) > 1:
            sent.append(list(ids))
        else:
            sent[-1] += ids
    expected = [
        row.ids[: end - 1] for row in rows_of(episodes) for _, start, end in row.spans if end
    ]
    assert sorted(sent) == sorted(expected)


def test_the_mask_covers_exactly_what_was_sampled(hf):
    (episode,) = play(Talk(), hf(temperature=1.0, max_new_tokens=12), instances(1))
    for role in ("first", "second"):
        said = [event.reply.tokens.sampled for event in episode.replies(role)]
        by_turn = {}
        for row in episode.trajectory(role).rows:
            assert len(row.ids) == len(row.mask) == len(row.logprobs)
            inside = [False] * len(row.ids)
            for turn, start, end in row.spans:
                by_turn[turn] = row.ids[start:end]
                inside[start:end] = [True] * (end - start)
            assert row.mask == [int(covered) for covered in inside]
        assert [by_turn[turn] for turn in range(len(said))] == said


def test_a_conversation_is_one_row_and_each_side_question_another(hf):
    (episode,) = play(Talk(), hf(temperature=1.0, max_new_tokens=8), instances(1, rounds=3))
    assert [len(row.spans) for row in episode.trajectory("first").rows] == [3, 1, 1, 1]
    assert [len(row.spans) for row in episode.trajectory("second").rows] == [3]


def test_sampled_ids_survive_where_text_would_not(hf):
    player = hf(temperature=1.0, max_new_tokens=12)
    (episode,) = play(Talk(), player, instances(1))
    tokenizer = engine_of(player).tokenizer
    (row,) = episode.trajectory("second").rows
    again = tokenizer.encode(tokenizer.decode(row.ids), add_special_tokens=False)
    assert again != row.ids


def test_a_template_that_drops_reasoning_splits_rows(hf, tmp_path, monkeypatch):
    checkpoint = save_tiny_model(tmp_path, template=FORGETFUL)
    player = hf(checkpoint, max_new_tokens=50)
    scripted(monkeypatch, player, "<think>a plan</think>\nhigher<|im_end|>")
    (episode,) = play(Talk(), player, instances(1, rounds=3))
    assert [len(row.spans) for row in episode.trajectory("second").rows] == [1, 1, 1]
    for message in episode.conversation("second"):
        assert "plan" not in message.content
    tokenizer = engine_of(player).tokenizer
    last = tokenizer.decode(episode.trajectory("second").rows[-1].ids)
    assert last.count("a plan") == 1


# --- log-probabilities and batches ---------------------------------------------------------------


@pytest.mark.parametrize("temperature", [0.0, 0.7, 1.3])
def test_logprobs_equal_a_plain_forward_pass(hf, temperature):
    player = hf(temperature=temperature, top_p=0.9, top_k=50, max_new_tokens=17, batch_size=5)
    model = engine_of(player).model
    with Spy(model) as spy:
        episodes = play(Talk(), player, instances(9), concurrency=8)
    assert max(len(rows) for rows in spy.fed) > 1
    check_logprobs(model, episodes, temperature or 1.0)


@pytest.mark.parametrize("config", architectures(), ids=lambda config: config.model_type)
def test_other_architectures_are_fed_right_too(config):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = transformers.AutoModelForCausalLM.from_config(config).eval()
    options = HuggingFaceOptions(temperature=1.0, max_new_tokens=17, batch_size=4)
    player = HuggingFacePlayer.over(model, tiny_tokenizer(), options)
    episodes = play(Talk(), player, instances(6), concurrency=6)
    asyncio.run(player.close())
    check_logprobs(model, episodes, 1.0)


@pytest.mark.parametrize("config", architectures(), ids=lambda config: config.model_type)
def test_a_row_given_up_while_it_is_prefilled_disturbs_nobody(config):
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    engine = Engine(model, tiny_tokenizer(), "tiny")
    engine.acquire()
    first, given_up, other = (row(ids=[5, 6, 7], limit=4) for _ in range(3))

    def give_up(calls: int) -> None:
        if calls == 1:
            engine.submit(given_up)
            engine.submit(other)
        if [len(ids) for ids in spy.fed[-1]] == [3, 3]:  # both are prefilled together
            assert given_up.done.cancel()

    with Spy(model, give_up) as spy:
        engine.submit(first)
        other.done.result(timeout=30)
    engine.release()
    assert given_up.done.cancelled()
    assert len(first.sampled) == len(other.sampled) == 4


def test_late_requests_join_the_running_batch(hf):
    player = hf(max_new_tokens=20)
    engine = engine_of(player)
    chat = player._loaded[1]
    # The second is longer than what is in the cache when it comes, the third is shorter.
    conversations = [conversation(text) for text in ("guess", "guess the number " * 6, "higher")]
    alone = [generated(player, one)[0] for one in conversations]
    requests = [
        row(ids=chat.prompt(one.messages).full, limit=20, stops=chat.end_of_turn, temperature=0)
        for one in conversations
    ]

    def come_late(calls: int) -> None:
        if calls in (3, 6):
            engine.submit(requests[calls // 3])

    with Spy(engine.model, come_late) as spy:
        engine.submit(requests[0])
        for request in requests:
            request.done.result(timeout=30)
    assert [request.sampled for request in requests] == alone
    assert min(map(len, alone)) > 6
    assert [len(rows) for rows in spy.fed[:7]] == [1, 1, 1, 1, 2, 2, 1]
    assert max(len(rows) for rows in spy.fed) == 3


def test_no_more_than_batch_size_rows_at_once(hf):
    player = hf(max_new_tokens=10, batch_size=3)
    with Spy(engine_of(player).model) as spy:
        replies(player, *(conversation(seed=i) for i in range(8)))
    assert max(len(rows) for rows in spy.fed) == 3


# --- sampling ------------------------------------------------------------------------------------


def test_deterministic_mode_does_not_depend_on_concurrency(hf):
    player = hf(deterministic=True, temperature=1.0, max_new_tokens=12)
    one = play(Talk(), player, instances(5), seed=3, concurrency=1)
    many = play(Talk(), player, instances(5), seed=3, concurrency=16)
    assert said(one) == said(many)


def test_seeds_and_repeats_sample_anew(hf):
    player = hf(temperature=1.0, max_new_tokens=12)
    first, repeat = play(Talk(), player, instances(1), episodes=2, seed=1)
    (other,) = play(Talk(), player, instances(1), seed=2)
    assert len({str(said([e])) for e in (first, repeat, other)}) == 3


def test_greedy_takes_the_most_probable_token_whatever_the_seed(hf):
    player = hf(max_new_tokens=6)
    first, second = replies(player, conversation(seed=1), conversation(seed=2))
    assert first.tokens.sampled == second.tokens.sampled
    chat = player._loaded[1]
    ids = chat.prompt(conversation().messages).full
    model = engine_of(player).model
    for token in first.tokens.sampled:
        assert token == int(model(torch.tensor([ids])).logits[0, -1].argmax())
        ids = [*ids, token]


def test_top_k_of_one_and_a_tiny_top_p_are_greedy(hf):
    (greedy,) = generated(hf(max_new_tokens=10), conversation())
    for cut in ({"top_k": 1}, {"top_p": 1e-6}):
        assert generated(hf(max_new_tokens=10, temperature=1.0, **cut), conversation()) == [greedy]


def test_each_row_of_a_batch_keeps_its_own_settings(hf):
    greedy, hot = hf(max_new_tokens=10), hf(max_new_tokens=20, temperature=1.5)
    assert engine_of(greedy) is engine_of(hot)
    (alone,) = replies(greedy, conversation())
    (also_alone,) = replies(hot, conversation(seed=5))

    async def both():
        return await asyncio.gather(
            greedy.reply(conversation()),
            hot.reply(conversation(seed=5)),
            greedy.reply(conversation()),
        )

    with Spy(engine_of(hot).model) as spy:
        one, two, three = asyncio.run(both())
    assert max(len(rows) for rows in spy.fed) > 1
    assert one.tokens.sampled == three.tokens.sampled == alone.tokens.sampled
    assert two.tokens.sampled == also_alone.tokens.sampled
    assert two.tokens.sampled != alone.tokens.sampled
    assert greedy.describe()["temperature"] == 0.0
    assert hot.describe()["temperature"] == 1.5


def test_sampling_follows_the_probabilities():
    logits = torch.tensor([3.0, 2.0, 1.0, -1.0, 2.5])
    number, temperature = 20_000, 1.7
    rng = random.Random(7)
    rows = [row(temperature=temperature, rng=rng) for _ in range(number)]
    tokens, _ = sample(logits.repeat(number, 1), rows)
    counts = Counter(tokens)
    for token, probability in enumerate(torch.softmax(logits / temperature, -1).tolist()):
        deviation = (number * probability * (1 - probability)) ** 0.5
        assert abs(counts[token] - number * probability) < 4 * deviation


@pytest.mark.parametrize(
    ("cut", "kept"),
    [
        ({"top_k": 2}, {0, 4}),
        ({"top_p": 0.6}, {0, 4}),
        ({"top_p": 0.4}, {0}),
        ({"top_k": 99}, {*range(5)}),
    ],
)
def test_cuts_leave_the_most_probable_tokens_and_their_true_logprobs(cut, kept):
    logits = torch.tensor([3.0, 2.0, 1.0, -1.0, 2.5])
    rows = [row(rng=random.Random(i), **cut) for i in range(2_000)]
    tokens, logprobs = sample(logits.repeat(len(rows), 1), rows)
    assert set(tokens) == kept
    expected = torch.log_softmax(logits, -1)
    assert logprobs == pytest.approx([float(expected[token]) for token in tokens], abs=1e-6)


def test_a_very_low_temperature_is_no_overflow():
    tokens, logprobs = sample(torch.tensor([[3.0, 2.0, 1e4]]), [row(temperature=1e-30)])
    assert (tokens, logprobs) == ([2], [0.0])


# --- replies -------------------------------------------------------------------------------------


def scripted(monkeypatch, player: HuggingFacePlayer, text: str) -> None:
    """Let the engine of a player sample a given text."""
    engine = engine_of(player)
    ids = engine.tokenizer.encode(text, add_special_tokens=False)

    def submit(request: Request):
        request.sampled += ids[: request.limit]
        request.logprobs += [-1.0] * len(request.sampled)
        request.resolve()
        return request.done

    monkeypatch.setattr(engine, "submit", submit)


def test_markers_and_white_space_are_not_in_the_text(hf, monkeypatch):
    player = hf()
    scripted(monkeypatch, player, " \n higher<|stop|> number \n<|im_end|>")
    (reply,) = replies(player, conversation())
    assert reply.text == "higher number"
    assert reply.raw == " \n higher<|stop|> number \n"
    assert reply.stop_reason == "stop"
    assert reply.completion_tokens == len(reply.tokens.sampled)
    assert reply.prompt_tokens == len(reply.tokens.context)


def test_no_marker_is_ever_in_a_text(hf):
    episodes = play(Talk(), hf(temperature=2.0, max_new_tokens=25), instances(12), concurrency=12)
    all_said = [reply for episode in said(episodes) for _, reply in episode]
    assert {reply.stop_reason for reply in all_said} == {"stop", "length"}
    for reply in all_said:
        assert not any(marker in reply.text for marker in SPECIAL_TOKENS)
        ended = reply.tokens.sampled[-1] == SPECIAL_TOKENS.index("<|im_end|>")
        assert ended == (reply.stop_reason == "stop")


def test_reasoning_is_stripped_and_recorded(hf, monkeypatch):
    player = hf(thinking="strip")
    scripted(monkeypatch, player, "<think>a long thought</think> higher<|im_end|>")
    (reply,) = replies(player, conversation())
    assert (reply.text, reply.reasoning) == ("higher", "a long thought")
    assert reply.raw == "<think>a long thought</think> higher"
    assert player.describe()["reasoning"] == "stripped"


@pytest.mark.parametrize(
    ("raw", "text"), [("a thought</think> higher<|im_end|>", "higher"), ("a thought", "")]
)
def test_reasoning_opened_by_the_prompt_is_stripped(hf, monkeypatch, tmp_path, raw, text):
    player = hf(save_tiny_model(tmp_path, template=OPENING))
    scripted(monkeypatch, player, raw)
    (reply,) = replies(player, conversation())
    assert (reply.text, reply.reasoning) == (text, "a thought")
    assert reply.raw == raw.removesuffix("<|im_end|>")


def test_reasoning_can_be_kept(hf, monkeypatch):
    player = hf(thinking="keep")
    scripted(monkeypatch, player, "<think>so</think> higher<|im_end|>")
    (reply,) = replies(player, conversation())
    assert (reply.text, reply.raw, reply.reasoning) == ("<think>so</think> higher", None, None)
    assert player.describe()["reasoning"] == "kept"


def test_the_limit_is_the_lower_of_the_players_and_the_games(hf):
    wide, narrow, unset = replies(
        hf(max_new_tokens=7, temperature=3.0),
        conversation(max_new_tokens=9),
        conversation(max_new_tokens=3),
        conversation(),
    )
    assert wide.tokens.sampled == unset.tokens.sampled
    assert [len(r.tokens.sampled) for r in (wide, narrow)] == [7, 3]
    assert narrow.tokens.sampled == wide.tokens.sampled[:3]
    assert narrow.stop_reason == "length"


def test_a_full_context_ends_replies_and_is_no_failure(hf, tmp_path):
    player = hf(save_tiny_model(tmp_path, positions=120), temperature=2.0, max_new_tokens=30)
    episodes = play(Talk(), player, instances(4, rounds=6))
    reasons = Counter(reply.stop_reason for episode in said(episodes) for _, reply in episode)
    assert reasons["context"] > 0
    for episode in said(episodes):
        for _, reply in episode:
            if not reply.tokens.sampled:
                assert (reply.text, reply.stop_reason) == ("", "context")
                assert reply.tokens.context == []
                assert reply.prompt_tokens >= 120
    lengths = [len(r.ids) for r in rows_of(episodes)]
    assert 100 < max(lengths) <= 120


def test_a_first_prompt_that_does_not_fit_leaves_an_empty_reply(hf, tmp_path):
    player = hf(save_tiny_model(tmp_path, positions=10))
    (reply,) = replies(player, conversation("far too long " * 9))
    assert (reply.text, reply.stop_reason) == ("", "context")
    assert not reply.tokens.continued


# --- the worker ----------------------------------------------------------------------------------


def test_a_failure_reaches_everybody_who_waits_and_the_next_reply_works(hf):
    player = hf(max_new_tokens=5)
    model = engine_of(player).model

    def broken(module, args):
        raise RuntimeError("the device caught fire\nand burned")

    handle = model.register_forward_pre_hook(broken)

    async def all_of_them():
        waiting = [player.reply(conversation(seed=i)) for i in range(3)]
        return await asyncio.gather(*waiting, return_exceptions=True)

    errors = asyncio.run(all_of_them())
    handle.remove()
    for error in errors:
        assert isinstance(error, PlayerError)
        assert "the device caught fire" in str(error)
        assert "\n" not in str(error)
    assert replies(player, conversation())[0].tokens.sampled


def test_a_cancelled_reply_is_dropped(hf):
    player = hf(max_new_tokens=400, deterministic=True, temperature=3.0)

    async def cancel_the_first():
        first = asyncio.create_task(player.reply(conversation()))
        await asyncio.to_thread(spy.entered.wait, 30)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        spy.go.set()
        return await player.reply(conversation(max_new_tokens=2))

    with Spy(engine_of(player).model) as spy:
        spy.go.clear()
        reply = asyncio.run(cancel_the_first())
    assert len(reply.tokens.sampled) == 2
    assert len(spy.fed) == 3


def test_closing_stops_the_worker_and_whoever_waits_learns_of_it(hf):
    player = hf(max_new_tokens=400, temperature=3.0)
    engine = engine_of(player)

    async def close_while_generating():
        waiting = asyncio.create_task(player.reply(conversation()))
        await asyncio.to_thread(spy.entered.wait, 30)
        closing = asyncio.create_task(player.close())
        await asyncio.sleep(0)
        spy.go.set()
        await closing
        return await asyncio.gather(waiting, return_exceptions=True)

    with Spy(engine.model) as spy:
        spy.go.clear()
        (error,) = asyncio.run(close_while_generating())
    assert isinstance(error, PlayerError)
    assert "closed" in str(error)
    assert not any(thread.name == f"hf:{engine.name}" for thread in threading.enumerate())
    assert replies(player, conversation(max_new_tokens=1))[0].tokens.sampled


def test_players_of_one_checkpoint_share_its_weights_until_the_last_is_closed(hf, tmp_path):
    checkpoint = save_tiny_model(tmp_path)
    first, second = hf(checkpoint, temperature=0.5), hf(checkpoint, temperature=1.5)
    engine = weakref.ref(engine_of(first))
    assert engine_of(second) is engine()
    asyncio.run(first.close())
    assert replies(second, conversation(max_new_tokens=1))[0].tokens.sampled
    asyncio.run(second.close())
    assert engine() is None


def test_a_player_that_nobody_closed_does_not_keep_the_model(tmp_path):
    player = HuggingFacePlayer(str(save_tiny_model(tmp_path)), HuggingFaceOptions())
    replies(player, conversation(max_new_tokens=1))
    engine = weakref.ref(engine_of(player))
    del player
    assert engine() is None


def test_another_dtype_or_a_rewritten_checkpoint_is_another_model(hf, tmp_path):
    checkpoint = save_tiny_model(tmp_path / "model")
    first = hf(checkpoint)
    assert engine_of(hf(checkpoint, dtype="bfloat16")) is not engine_of(first)
    shutil.rmtree(checkpoint)  # not overwritten: the weights in use are mapped from the file
    save_tiny_model(checkpoint, seed=1)
    second = hf(checkpoint)
    assert engine_of(second) is not engine_of(first)
    assert generated(second, conversation()) != generated(first, conversation())


def test_the_interpreter_ends_while_a_reply_is_generated(checkpoint):
    code = f"""
import asyncio
from playpen import Conversation, Message, make_player
player = make_player("hf:{checkpoint}?max_new_tokens=400&temperature=3")
async def main():
    task = asyncio.create_task(player.reply(Conversation("first", [Message("user", "guess")])))
    await asyncio.sleep(0.05)
asyncio.run(main())
"""
    finished = subprocess.run([sys.executable, "-c", code], timeout=60, check=False)
    assert finished.returncode == 0


# --- models in memory, adapters, options ---------------------------------------------------------


def test_a_model_in_memory_is_used_as_it_is_at_each_reply():
    tokenizer = tiny_tokenizer()
    model = tiny_model(len(tokenizer))
    player = HuggingFacePlayer.over(model, tokenizer, HuggingFaceOptions(max_new_tokens=8))
    (before,) = generated(player, conversation())
    model.load_state_dict(tiny_model(len(tokenizer), seed=5).state_dict())
    (after,) = generated(player, conversation())
    asyncio.run(player.close())
    assert before != after


def test_a_model_in_training_mode_does_not_play():
    tokenizer = tiny_tokenizer()
    player = HuggingFacePlayer.over(tiny_model(len(tokenizer)).train(), tokenizer)
    with pytest.raises(PlayerError, match=r"model\.eval\(\)"):
        replies(player, conversation())


@pytest.fixture
def adapter(checkpoint, tmp_path) -> Path:
    peft = pytest.importorskip("peft")
    base = transformers.AutoModelForCausalLM.from_pretrained(checkpoint)
    config = peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        adapted = peft.get_peft_model(base, config)
    adapted.save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


def test_an_adapter_directory_is_loaded_with_its_base(hf, adapter, checkpoint):
    from peft import PeftModel

    player = hf(adapter, max_new_tokens=12)
    (reply,) = replies(player, conversation())
    base = transformers.AutoModelForCausalLM.from_pretrained(checkpoint)
    merged = PeftModel.from_pretrained(base, str(adapter)).merge_and_unload()
    ids = reply.tokens.context + reply.tokens.sampled
    expected = plain_logprobs(merged, ids, 1.0)[len(reply.tokens.context) - 1 :]
    assert reply.tokens.logprobs == pytest.approx(expected.tolist(), abs=1e-4)
    assert generated(hf(max_new_tokens=12), conversation()) != [reply.tokens.sampled]


def test_an_adapter_whose_base_is_missing_names_it(hf, adapter, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    config = json.loads((adapter / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = "nobody/no-such-model"
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    assert "nobody/no-such-model" in failure(hf(adapter))
    (adapter / "adapter_config.json").write_text("{}")
    assert "base_model_name_or_path" in failure(hf(adapter))


def test_an_adapter_without_peft_says_what_to_install(hf, adapter, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(PlayerError, match="pip install peft"):
        hf(adapter).seat(Talk(), "first")


@pytest.fixture(scope="module")
def wide(tmp_path_factory) -> Path:
    """A checkpoint whose layers are as wide as the blocks that are quantised together."""
    pytest.importorskip("bitsandbytes")
    folder = tmp_path_factory.mktemp("models") / "wide"
    save_tiny_model(folder)
    config = transformers.AutoConfig.from_pretrained(folder)
    config.hidden_size, config.intermediate_size, config.head_dim = 64, 128, 16
    config.initializer_range = 0.1
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("quantization", "size", "error"), [("4bit", 0.6, 0.4), ("8bit", 0.6, 0.1)]
)
def test_quantised_weights_are_smaller_and_nearly_the_same(hf, wide, quantization, size, error):
    plain = engine_of(hf(wide)).model
    player = hf(wide, quantization=quantization, temperature=1.0, max_new_tokens=9)
    model = engine_of(player).model
    assert model is not plain
    assert model.get_memory_footprint() < size * plain.get_memory_footprint()
    assert {type(layer.mlp.up_proj).__module__ for layer in model.model.layers} == {
        "bitsandbytes.nn.modules"
    }
    ids = torch.arange(40, 80)[None]
    with torch.no_grad():
        expected, logits = plain(ids).logits, model(ids).logits
    assert 0 < (logits - expected).norm() < error * expected.norm()
    (episode,) = play(Talk(), player, instances(1))
    for row in rows_of([episode]):  # the kernels round to 16 bits
        found = plain_logprobs(model, row.ids, 1.0).tolist()
        for sampled, logprob, again in zip(row.mask[1:], row.logprobs[1:], found, strict=True):
            assert not sampled or logprob == pytest.approx(again, abs=0.1)
    assert player.describe()["quantization"] == quantization
    assert player.describe()["dtype"] == "float32"


def test_an_adapter_is_put_on_quantised_weights(hf, wide, tmp_path):
    peft = pytest.importorskip("peft")
    base = transformers.AutoModelForCausalLM.from_pretrained(wide)
    config = peft.LoraConfig(r=4, target_modules=["q_proj"], init_lora_weights=False)
    peft.get_peft_model(base, config).save_pretrained(tmp_path)
    player = hf(tmp_path, quantization="4bit", max_new_tokens=5)
    layer = engine_of(player).model.model.layers[0].self_attn.q_proj
    assert type(layer.base_layer).__name__ == "Linear4bit"
    assert generated(player, conversation()) != generated(
        hf(wide, quantization="4bit", max_new_tokens=5), conversation()
    )


def test_quantisation_without_its_library_says_what_to_install(checkpoint, monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(SpecError, match=r"pip install 'playpen-core\[quantization\]'") as caught:
        make_player(f"hf:{checkpoint}?quantization=4bit")
    assert "\n" not in str(caught.value)


def test_description_is_cheap_and_complete(hf, checkpoint):
    player = hf(temperature=0.5, device="cpu")
    assert player.describe() == {
        "model": str(checkpoint),
        "dtype": "float32",
        "device": "cpu",
        "temperature": 0.5,
        "top_p": 1.0,
        "top_k": 0,
        "max_new_tokens": 300,
        "batch_size": 32,
        "deterministic": False,
        "kept_tokens": 131072,
        "reasoning": "stripped",
    }
    assert player._loaded is None


def test_the_dtype_is_the_one_asked_for(hf):
    player = hf(dtype="bfloat16")
    assert engine_of(player).model.dtype is torch.bfloat16
    assert player.describe()["dtype"] == "bfloat16"


def test_a_template_file_is_used(hf, tmp_path):
    base = save_tiny_model(tmp_path / "base", template=None)
    file = tmp_path / "chat.jinja"
    file.write_text(PLAIN)
    player = hf(base, chat_template=str(file), max_new_tokens=2)
    assert generated(player, conversation()) == generated(hf(max_new_tokens=2), conversation())


# --- mistakes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("temperture=1", "did you mean 'temperature'"),
        ("temperature=-1", "temperature"),
        ("temperature=warm", "temperature"),
        ("top_p=0", "top_p"),
        ("max_new_tokens=0", "max_new_tokens"),
        ("dtype=float12", "float12"),
        ("thinking=maybe", "maybe"),
        ("quantization=3bit", "3bit"),
        ("kept_tokens=-1", "kept_tokens"),
        ("device=abacus", "abacus"),
        ("chat_template=nowhere.jinja", "nowhere.jinja"),
        ("revision=main", "revision"),
    ],
)
def test_wrong_options_are_refused_in_one_line(checkpoint, query, message):
    with pytest.raises(SpecError, match=message) as caught:
        make_player(f"hf:{checkpoint}?{query}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("target", ["", "./nowhere", "/no/such/model", "runs/grpo/checkpoint-40"])
def test_a_missing_directory_is_refused_at_once(target):
    with pytest.raises(SpecError) as caught:
        make_player(f"hf:{target}")
    assert "\n" not in str(caught.value)


def test_a_directory_without_a_model_is_refused_at_once(tmp_path):
    with pytest.raises(SpecError, match=r"neither config\.json nor adapter_config\.json"):
        make_player(f"hf:{tmp_path}")


def failure(player: Player, kind: type[Exception] = PlayerError) -> str:
    with pytest.raises(kind) as caught:
        player.seat(Talk(), "first")
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_model_of_the_hub_cannot_be_loaded_offline(hf, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    message = failure(make_player("hf:nobody/no-such-model"))
    assert "nobody/no-such-model" in message
    assert "HF_HUB_OFFLINE" in message


def test_weights_that_are_not_safetensors_are_refused(hf, tmp_path):
    checkpoint = save_tiny_model(tmp_path)
    (checkpoint / "model.safetensors").rename(checkpoint / "pytorch_model.bin")
    assert "safetensors" in failure(hf(checkpoint))


def test_a_checkpoint_without_tokenizer_is_refused(hf, tmp_path):
    checkpoint = save_tiny_model(tmp_path)
    for file in checkpoint.glob("tokenizer*"):
        file.unlink()
    assert "no files of a tokenizer" in failure(hf(checkpoint))


def test_code_of_a_checkpoint_is_never_run(hf, tmp_path):
    checkpoint = save_tiny_model(tmp_path)
    (checkpoint / "config.json").write_text(
        '{"model_type": "strange", "auto_map": {"AutoConfig": "strange.Config", '
        '"AutoModelForCausalLM": "strange.Model"}}'
    )
    (checkpoint / "strange.py").write_text("raise SystemExit('this ran')")
    assert "code of its own" in failure(hf(checkpoint))


def test_a_model_without_chat_template_says_what_to_add(hf, tmp_path):
    player = hf(save_tiny_model(tmp_path, template=None))
    assert "?chat_template=FILE" in failure(player, SpecError)


def test_an_absent_device_is_reported(hf):
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    assert "CUDA" in failure(hf(device="cuda"))
