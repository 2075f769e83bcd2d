"""What a model has read is not read again, and nothing changes for that."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable

import pytest
import torch
import transformers
from tests.core.model_play import (
    Spy,
    Talk,
    architectures,
    check_logprobs,
    conversation,
    instances,
    plain_logprobs,
    replies,
    said,
)
from tests.core.tiny_model import FORGETFUL, save_tiny_model, tiny_model, tiny_tokenizer

from playpen import Ask, Conversation, Game, Message, Role, Success
from playpen.conversation import Reply
from playpen.player import PlayerError
from playpen.players.hf import HuggingFaceOptions, HuggingFacePlayer
from playpen.players.transformers_engine.prefix_cache import (
    NOTHING_CACHED,
    PrefixCache,
    PrefixIndex,
    recall,
)
from playpen.rollout import make_jobs, play, rollout


class Chat(Game):
    """One role is asked again and again, in one conversation."""

    name = "chat"
    roles = (Role("first"),)

    def play(self, instance):
        for number in range(instance["rounds"]):
            yield Ask("first", f"guess number {number} " * (1 + instance["game_id"]))
        return Success()


def player_over(model=None, template=None, **options) -> HuggingFacePlayer:
    """A player whose engine runs in the event loop, of the tiny model unless it gets another."""
    tokenizer = tiny_tokenizer() if template is None else tiny_tokenizer(template)
    model = model or tiny_model(len(tokenizer))
    defaults = {"temperature": 1.0, "max_new_tokens": 9}
    return HuggingFacePlayer.over(model, tokenizer, HuggingFaceOptions(**(defaults | options)))


def model_of(player: HuggingFacePlayer):
    return player._loaded[0].model


def kept(player: HuggingFacePlayer) -> PrefixCache:
    return player._loaded[0]._kept


def fed(spy: Spy) -> int:
    return sum(len(ids) for call in spy.fed for ids in call)


def prefills(spy: Spy) -> list[tuple[int, int]]:
    """Rows and columns of every call that fed more than the tokens just sampled."""
    return [(len(call), len(call[0])) for call in spy.fed if len(call[0]) > 1]


def joined(context: list[Message], asked: str, answer: Reply) -> list[Message]:
    return [*context, Message("user", asked), Message("assistant", answer.text, reply=answer)]


async def talk(player: HuggingFacePlayer, turns: list[str], between=lambda turn: None, seed=0):
    """The replies to some turns of one conversation, all asked by one task."""
    messages: list[Message] = []
    answers = []
    for number, text in enumerate(turns):
        between(number)
        asked = Conversation("first", [*messages, Message("user", text)], sampling_seed=seed)
        answer = await player.reply(asked)
        messages = joined(messages, text, answer)
        answers.append(answer)
    return answers


def check_replies(model, answers: list[Reply], tolerance: float = 1e-4) -> None:
    """Compare the log-probabilities of one conversation's replies with a plain forward pass."""
    row: list[int] = []
    for answer in answers:
        check_reply(model, answer, row if answer.tokens.continued else [], tolerance)
        before = row if answer.tokens.continued else []
        row = before + answer.tokens.context + answer.tokens.sampled


def check_reply(model, answer: Reply, before: list[int], tolerance: float = 1e-4) -> None:
    prompt = before + answer.tokens.context
    assert answer.prompt_tokens == len(prompt)
    expected = plain_logprobs(model, prompt + answer.tokens.sampled, 1.0)[len(prompt) - 1 :]
    assert answer.tokens.logprobs == pytest.approx(expected.tolist(), abs=tolerance)


TURNS = ["guess the number", "higher", "lower " * 9, "the word was said", "higher"]


# --- what is read --------------------------------------------------------------------------------


def test_a_conversation_reads_every_id_once():
    player = player_over()
    with Spy(model_of(player)) as spy:
        (episode,) = play(Chat(), player, instances(1, rounds=5))
    (row,) = episode.trajectory("first").rows
    assert len(row.spans) == 5
    assert fed(spy) == len(row.ids) - 1  # nobody reads the last one
    check_replies(model_of(player), [event.reply for event in episode.replies()])


@pytest.mark.parametrize("options", [{"kept_tokens": 0}, {"deterministic": True}])
def test_whoever_does_not_want_it_reads_all_ids_at_each_turn(options):
    player = player_over(**options)
    with Spy(model_of(player)) as spy:
        answers = asyncio.run(talk(player, TURNS))
    assert fed(spy) == sum(a.prompt_tokens + a.completion_tokens - 1 for a in answers)
    assert kept(player).tokens == 0


def test_a_group_reads_its_first_prompt_once():
    player = player_over(max_new_tokens=1)
    long = conversation("guess the secret number " * 8).messages
    with Spy(model_of(player)) as spy:
        answers = replies(player, *(Conversation("first", long, sampling_seed=i) for i in range(5)))
    (length,) = {answer.prompt_tokens for answer in answers}
    assert [(len(call), len(call[0])) for call in spy.fed] == [(1, length), (4, 1)]
    for answer in answers:
        check_reply(model_of(player), answer, [])


def test_other_conversations_that_begin_alike_read_only_the_rest():
    player = player_over(max_new_tokens=1)
    same = "guess the secret number between one and one hundred " * 3
    asked = [conversation(same + end) for end in ("higher", "lower word", "clue")]
    with Spy(model_of(player)) as spy:
        answers = replies(player, *asked)
    (one, length), (two, rest) = prefills(spy)
    assert (one, two) == (1, 2)
    assert rest < 20 < length
    for answer in answers:
        check_reply(model_of(player), answer, [])


def test_short_prompts_are_not_padded_to_a_long_one():
    player = player_over(max_new_tokens=1)
    texts = ["guess", "higher", "the clue word was said by the other player " * 9]
    with Spy(model_of(player)) as spy:
        answers = replies(player, *map(conversation, texts))
    assert [rows for rows, _ in prefills(spy)] == [2, 1]
    for answer in answers:
        check_reply(model_of(player), answer, [])


def test_forks_read_the_first_half_once():
    player = player_over(kept_tokens=9999)

    async def fork():
        answers = await talk(player, TURNS[:3])
        messages: list[Message] = []
        for text, answer in zip(TURNS, answers, strict=False):
            messages = joined(messages, text, answer)
        asked = [Message("user", "which word?")]
        ways = [Conversation("first", messages + asked, sampling_seed=i) for i in range(4)]
        with Spy(model_of(player)) as spy:
            return answers, await asyncio.gather(*map(player.reply, ways)), spy

    answers, forks, spy = asyncio.run(fork())
    ((rows, new),) = prefills(spy)
    assert (rows, new) == (4, len(forks[0].tokens.context) + 1)
    row = [i for a in answers for i in a.tokens.context + a.tokens.sampled]
    for answer in forks:
        check_reply(model_of(player), answer, row)
    assert len({str(answer.tokens.sampled) for answer in forks}) > 1


# --- nothing changes -----------------------------------------------------------------------------


@pytest.mark.parametrize("config", architectures(), ids=lambda config: config.model_type)
@pytest.mark.parametrize("concurrency", [1, 6])
def test_logprobs_stay_those_of_a_plain_forward_pass(config, concurrency):
    """Conversations longer than the sliding windows, with side questions, ragged lengths."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = transformers.AutoModelForCausalLM.from_config(config).eval()
    player = player_over(model, batch_size=4, max_new_tokens=14)
    with Spy(model) as spy:
        episodes = play(Talk(), player, instances(5, rounds=4), concurrency=concurrency)
    check_logprobs(model, episodes, 1.0)
    all_ids = sum(
        reply.prompt_tokens + reply.completion_tokens - 1
        for episode in said(episodes)
        for _, reply in episode
    )
    if config.model_type == "lfm2":  # its memory is of another kind
        assert fed(spy) >= all_ids
    else:
        assert fed(spy) < all_ids / 2


def test_the_worker_thread_keeps_too_until_nobody_uses_it(tmp_path):
    options = HuggingFaceOptions(temperature=1.0, max_new_tokens=9)
    player = HuggingFacePlayer(str(save_tiny_model(tmp_path)), options)
    player.seat(Talk(), "first")
    engine, model = player._loaded[0], model_of(player)
    with Spy(model) as spy:
        episodes = play(Talk(), player, instances(6, rounds=4), concurrency=5)
    check_logprobs(model, episodes, 1.0)
    prompts = sum(reply.prompt_tokens for episode in said(episodes) for _, reply in episode)
    assert fed(spy) < prompts / 2
    assert engine._kept.tokens > 0
    asyncio.run(player.close())
    assert engine._kept.tokens == 0


def test_a_template_that_rewrites_history_reuses_what_is_left_of_it():
    player = player_over(template=FORGETFUL, max_new_tokens=60)
    model = model_of(player)
    tokenizer = player._loaded[1].tokenizer
    thinking = tokenizer.encode("<think>a plan</think>higher<|im_end|>")
    script = deque(thinking)

    def prompter(module, args, logits):
        if script:
            logits[:, -1, script.popleft()] += 1e4

    model.lm_head.register_forward_hook(prompter)
    with Spy(model) as spy:
        first, second = asyncio.run(talk(player, ["guess the number " * 5, "why?"]))
    assert first.tokens.sampled == thinking
    assert not second.tokens.continued
    assert "plan" not in tokenizer.decode(second.tokens.context)
    assert prefills(spy)[1][1] < second.prompt_tokens - 10
    check_reply(model, second, [])


def test_a_rollout_is_the_same_whatever_was_played_before():
    """A training that is resumed has played nothing before."""
    player = player_over(temperature=1.3)

    async def played(seed: int):
        jobs = list(
            make_jobs(
                Talk(),
                instances(6),
                dict.fromkeys(Talk().role_names(), player),
                dict.fromkeys(Talk().role_names(), "it"),
                seed=seed,
            )
        )
        await rollout(jobs, lambda episode: None, concurrency=4)
        return said([job.episode for job in jobs])

    with asyncio.Runner() as runner:
        first = runner.run(played(1))
        assert kept(player).tokens == 0
        runner.run(played(2))
        assert runner.run(played(1)) == first
    assert asyncio.run(played(1)) == first


def test_two_engines_that_take_turns_keep_both():
    players = {
        "first": player_over(),
        "second": player_over(tiny_model(len(tiny_tokenizer()), seed=3)),
    }
    with Spy(model_of(players["second"])) as spy:
        (episode,) = play(Talk(), players, instances(1, rounds=4))
    (row,) = episode.trajectory("second").rows
    assert len(row.spans) == 4
    assert fed(spy) == len(row.ids) - 1


# --- weights that change -------------------------------------------------------------------------


def steps(model, **options) -> Callable[[int], None]:
    """Takes an optimiser step before the second and the fourth turn."""
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=0.05, **options)

    def step(turn: int) -> None:
        if turn in (1, 3):
            model.train()
            ids = torch.tensor([[5, 6, 7, 8, 9]])
            model(input_ids=ids, labels=ids).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            model.eval()

    return step


def with_lora(model):
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return peft.get_peft_model(model, config).eval()


def check_each(model, turns: list[str], change: Callable[[int], None], **options) -> None:
    """Every reply must be one of the weights that were there when it was asked for."""
    player = player_over(model, **options)
    row: list[int] = []

    async def one_by_one():
        nonlocal row
        messages: list[Message] = []
        for number, text in enumerate(turns):
            change(number)
            asked = Conversation("first", [*messages, Message("user", text)], sampling_seed=7)
            answer = await player.reply(asked)
            before = row if answer.tokens.continued else []
            check_reply(model, answer, before)
            row = before + answer.tokens.context + answer.tokens.sampled
            messages = joined(messages, text, answer)

    asyncio.run(one_by_one())


@pytest.mark.parametrize("lora", [False, True])
@pytest.mark.parametrize("kind", ["foreach", "fused", "plain"])
def test_states_of_older_weights_are_never_used(lora, kind):
    model = tiny_model(len(tiny_tokenizer()))
    if lora:
        model = with_lora(model)
    options = {"foreach": kind == "foreach"} if kind != "fused" else {"fused": True}
    check_each(model, TURNS, steps(model, **options))


def test_states_of_weights_that_were_loaded_or_replaced_are_never_used():
    model = tiny_model(len(tiny_tokenizer()))
    other = tiny_model(len(tiny_tokenizer()), seed=4)

    def replace():
        for parameter in model.parameters():
            parameter.data = parameter.data * 0.9

    changes = {1: lambda: model.load_state_dict(other.state_dict()), 3: replace}
    check_each(model, TURNS, lambda turn: changes.get(turn, lambda: None)())


def test_states_of_another_adapter_are_never_used():
    model = with_lora(tiny_model(len(tiny_tokenizer())))
    changes = [
        lambda: None,
        lambda: model.base_model.disable_adapter_layers(),
        lambda: model.base_model.enable_adapter_layers(),
        lambda: model.merge_adapter(),
        lambda: model.unmerge_adapter(),
    ]
    check_each(model, TURNS, lambda turn: changes[turn]())


def test_a_row_that_began_with_older_weights_keeps_nothing():
    model = tiny_model(len(tiny_tokenizer()))
    player = player_over(model, max_new_tokens=40, temperature=0.0)
    shift = steps(model)

    async def play_on():
        slow = asyncio.create_task(talk(player, ["guess"]))
        while len(spy.fed) < 5:
            await asyncio.sleep(0)
        shift(1)
        quick = Conversation("first", [Message("user", "higher")], max_new_tokens=2)
        await player.reply(quick)
        (first,) = await slow
        messages = joined([], "guess", first)
        again = Conversation("first", [*messages, Message("user", "lower")], sampling_seed=3)
        return first, await player.reply(again)

    with Spy(model) as spy:
        first, second = asyncio.run(play_on())
    assert len(first.tokens.sampled) > 10
    check_reply(model, second, first.tokens.context + first.tokens.sampled)


# --- the limit -----------------------------------------------------------------------------------


def test_a_small_limit_costs_time_and_nothing_else():
    player = player_over(kept_tokens=150, batch_size=3)
    most = []
    with Spy(model_of(player), lambda calls: most.append(kept(player).tokens)) as spy:
        episodes = play(Talk(), player, instances(6, rounds=4), concurrency=4)
    check_logprobs(model_of(player), episodes, 1.0)
    assert 0 < max(most) <= 150
    unlimited = player_over(batch_size=3)
    with Spy(model_of(unlimited)) as less:
        play(Talk(), unlimited, instances(6, rounds=4), concurrency=4)
    assert fed(less) < fed(spy)


def test_a_conversation_goes_on_after_others_took_its_place():
    player = player_over(kept_tokens=100)

    async def play_on():
        answers = await talk(player, TURNS[:2])
        assert kept(player).find(answers[0].tokens.context)
        for number in range(4):
            await player.reply(conversation(f"{number} is no word " * 5))
        messages: list[Message] = []
        for text, answer in zip(TURNS, answers, strict=False):
            messages = joined(messages, text, answer)
        row = [i for a in answers for i in a.tokens.context + a.tokens.sampled]
        assert kept(player).find(row).length < 10
        last = await player.reply(Conversation("first", [*messages, Message("user", "higher")]))
        check_reply(model_of(player), last, row)

    asyncio.run(play_on())


def cache_of(*rows: list[int]) -> transformers.DynamicCache:
    """A cache whose keys are the ids themselves and whose values are twice the ids."""
    width = max(map(len, rows))
    keys = torch.tensor([[0] * (width - len(ids)) + ids for ids in rows], dtype=torch.float32)
    cache = transformers.DynamicCache()
    for layer in range(2):
        cache.update(keys[:, None, :, None], 2 * keys[:, None, :, None], layer)
    return cache


def test_the_states_of_the_longest_beginning_are_found():
    states = PrefixCache()
    chance = random.Random(0)
    rows = [[chance.randrange(3) for _ in range(chance.randrange(1, 9))] for _ in range(60)]
    for row in rows:
        states.keep(row, cache_of(row), 0, limit=10**6)
    for _ in range(300):
        ids = [chance.randrange(3) for _ in range(8)]
        shared = [
            next((i for i, (a, b) in enumerate(zip(row, ids, strict=False)) if a != b), len(row))
            for row in rows
        ]
        expected = min(7, max(shared))
        known = states.find(ids)
        assert known.length == expected
        if expected:
            for keys, values in known.states:
                assert keys[0, :expected, 0].tolist() == ids[:expected]
                assert values[0, :expected, 0].tolist() == [2 * i for i in ids[:expected]]
    # What goes on has taken the place of its beginning.
    distinct = {tuple(row) for row in rows}
    last = [r for r in distinct if not any(o != r and o[: len(r)] == r for o in distinct)]
    assert states.tokens == sum(map(len, last))


def test_what_was_not_used_for_longest_goes_first():
    states = PrefixCache()
    for first in (1, 2, 3):
        states.keep([first] * 4, cache_of([first] * 4), 0, limit=12)
    assert states.find([1, 1, 1, 1, 9]).length == 4
    states.keep([4] * 4, cache_of([4] * 4), 0, limit=12)
    assert [states.find([i] * 5).length for i in (1, 2, 3, 4)] == [4, 0, 4, 4]
    states.keep([5] * 13, cache_of([5] * 13), 0, limit=12)  # larger than all that may be kept
    assert states.tokens == 12
    assert states.find([5] * 5) == NOTHING_CACHED
    states.clear()
    assert states.tokens == 0
    assert states.find([1] * 5) == NOTHING_CACHED


def test_states_of_one_row_of_a_ragged_cache_are_copied():
    states = PrefixCache()
    cache = cache_of([7, 8], [1, 2, 3, 4])
    states.keep([7, 8], cache, 0, limit=99)
    cache.layers[0].keys.zero_()
    states.keep([1, 2, 3, 4], cache_of([1, 2, 3, 4]), 0, limit=99)
    found = [states.find([7, 8, 9]), states.find([1, 2, 3, 9]), states.find([6])]
    again = recall(found)
    assert again.layers[0].keys[:, 0, :, 0].tolist() == [[0, 7, 8], [1, 2, 3], [0, 0, 0]]
    assert again.layers[1].values[:, 0, :, 0].tolist() == [[0, 14, 16], [2, 4, 6], [0, 0, 0]]


def test_beginnings_that_are_removed_are_not_found():
    beginnings = PrefixIndex()
    for ids in ((1, 2, 3), (1, 2), (2,)):
        beginnings.add(ids)
    assert beginnings.closest((1, 2, 3, 4)) == (3, (1, 2, 3))
    beginnings.remove((1, 2, 3))
    assert beginnings.closest((1, 2, 3, 4)) == (2, (1, 2))
    assert beginnings.closest((3,)) == (0, (2,))
    assert PrefixIndex().closest((3,)) == (0, ())


# --- memory that is too small --------------------------------------------------------------------


def scarce(model, places: set[int], layer: int = 0):
    """Lets some forward passes run out of memory at a layer."""
    calls = 0

    def count(module, args):
        nonlocal calls
        calls += 1

    def fail(module, args):
        if calls in places:
            raise torch.OutOfMemoryError("CUDA out of memory")

    model.register_forward_pre_hook(count)
    model.model.layers[layer].register_forward_pre_hook(fail)


def test_memory_that_runs_out_is_taken_from_what_is_kept():
    expected = asyncio.run(talk(player_over(temperature=0.0), TURNS))
    lengths = [len(answer.tokens.sampled) for answer in expected]
    second = 1 + lengths[0]  # the pass that reads the second prompt
    for place in (second, second + 2):
        for layer in (0, 1):
            player = player_over(temperature=0.0)
            scarce(model_of(player), {place}, layer)
            answers = asyncio.run(talk(player, TURNS))
            assert [a.tokens.sampled for a in answers] == [a.tokens.sampled for a in expected]
            check_replies(model_of(player), answers)


def test_memory_that_is_too_small_at_any_rate_is_reported():
    player = player_over(temperature=0.0)
    scarce(model_of(player), {1})
    with pytest.raises(PlayerError, match="out of memory"):
        replies(player, conversation())
    assert replies(player, conversation())[0].tokens.sampled


def test_a_reply_that_cannot_be_kept_for_lack_of_memory_is_given_all_the_same(monkeypatch):
    def full(*args):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(PrefixCache, "keep", full)
    player = player_over()
    check_replies(model_of(player), asyncio.run(talk(player, TURNS)))


def test_a_cancelled_reply_leaves_nothing():
    player = player_over(max_new_tokens=400, temperature=3.0)

    async def cancel():
        first = asyncio.create_task(player.reply(conversation("guess the word")))
        while len(spy.fed) < 3:
            await asyncio.sleep(0)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        answer = await player.reply(conversation("guess the number", max_new_tokens=3))
        return answer, kept(player).tokens

    with Spy(model_of(player)) as spy:
        answer, tokens = asyncio.run(cancel())
    assert tokens == answer.prompt_tokens + 2
