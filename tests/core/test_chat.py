"""Chats as token ids: what was sampled is never tokenised again."""

from __future__ import annotations

import pytest
from tests.core.tiny_model import FORGETFUL, OPENING, PLAIN, TRIMMING, tiny_tokenizer

from playpen.chat_format import ChatFormat
from playpen.conversation import Message, Reply, TokenTrace, trajectory
from playpen.player import PlayerError, SpecError

TOKENIZER = tiny_tokenizer()
REFUSING = "{{ raise_exception('roles must alternate') if messages | length > 2 }}" + PLAIN
CHANNELS = (
    "{% for m in messages %}{% if '<|stop|>' in m['content'] %}"
    "{{ raise_exception('put reasoning into the field thinking') }}{% endif %}"
    "<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""Refuses raw replies, as the template of gpt-oss does."""


def chat_format(template: str = PLAIN) -> ChatFormat:
    return ChatFormat(tiny_tokenizer(template))


def rendered(chat: ChatFormat, messages: list[Message]) -> str:
    return chat.tokenizer.apply_chat_template(
        [
            {"role": m.role, "content": m.reply.generated if m.reply else m.content}
            for m in messages
        ],
        tokenize=False,
        add_generation_prompt=True,
    )


def letter_by_letter(text: str, *, closed: bool = True) -> list[int]:
    """Ids that no tokenizer would choose for the text, as a model may sample them."""
    ids = [i for letter in text for i in TOKENIZER.encode(letter, add_special_tokens=False)]
    return ids + TOKENIZER.encode("<|im_end|>") if closed else ids


def answered(
    chat: ChatFormat, messages: list[Message], raw: str, *, closed: bool = True
) -> list[Message]:
    """The chat after a player sampled `raw`."""
    prompt = chat.prompt(messages)
    sampled = letter_by_letter(raw, closed=closed)
    trace = TokenTrace(prompt.context, sampled, [-1.0] * len(sampled), prompt.continued)
    text = raw.split("</think>")[-1].strip()
    reply = Reply(text, raw=None if raw == text else raw, tokens=trace)
    return [*messages, Message("assistant", text, reply)]


def play(
    chat: ChatFormat, raws: list[str], *, closed: bool = True
) -> tuple[list[Message], list[bool]]:
    messages: list[Message] = []
    continued = []
    for number, raw in enumerate(raws):
        messages.append(Message("user", f"question {number}"))
        messages = answered(chat, messages, raw, closed=closed)
        continued.append(messages[-1].reply.tokens.continued)
    return messages, continued


def rows_of(messages: list[Message]) -> list[list[int]]:
    replies = [(m.reply, True) for m in messages if m.reply is not None]
    return [row.ids for row in trajectory("someone", replies).rows]


def test_the_first_prompt_is_the_rendered_chat():
    chat = chat_format()
    messages = [Message("user", "guess")]
    prompt = chat.prompt(messages)
    assert not prompt.continued
    assert prompt.context == prompt.full
    assert chat.tokenizer.decode(prompt.full) == rendered(chat, messages)


def test_history_keeps_the_sampled_ids_and_reads_like_the_rendered_chat():
    chat = chat_format()
    messages, continued = play(chat, ["higher", "lower, my word", "answer"])
    assert continued == [False, True, True]
    (row,) = rows_of(messages)
    messages.append(Message("user", "and now?"))
    prompt = chat.prompt(messages)
    assert prompt.full == row + prompt.context
    assert chat.tokenizer.decode(prompt.full) == rendered(chat, messages)
    assert prompt.full != chat.tokenizer.encode(rendered(chat, messages))
    sampled = letter_by_letter("lower, my word")
    assert any(row[i : i + len(sampled)] == sampled for i in range(len(row)))


def test_a_sampled_end_of_turn_is_not_repeated_and_a_missing_one_is_fed():
    chat = chat_format()
    end = chat.tokenizer.convert_tokens_to_ids("<|im_end|>")
    for closed, ends_fed in ((True, 1), (False, 2)):
        messages, _ = play(chat, ["higher"], closed=closed)
        messages.append(Message("user", "and now?"))
        prompt = chat.prompt(messages)
        assert prompt.continued
        assert prompt.context.count(end) == ends_fed
        assert chat.tokenizer.decode(prompt.full) == rendered(chat, messages)


def test_white_space_that_the_template_trims_does_not_split_the_row():
    chat = chat_format(TRIMMING)
    messages, continued = play(chat, ["  higher \n\n", "\nlower", " "])
    assert continued == [False, True, True]
    assert chat.decode(messages[1].reply.tokens.sampled) == "  higher \n\n"


def test_a_template_that_keeps_reasoning_continues_the_row():
    _, continued = play(chat_format(), ["<think>hm</think>higher", "<think>so</think>lower"])
    assert continued == [False, True]


@pytest.mark.parametrize("template", [FORGETFUL, OPENING])
def test_a_template_that_drops_earlier_reasoning_splits_the_row(template):
    chat = chat_format(template)
    messages, continued = play(chat, ["<think>hm</think>higher", "<think>so</think>lower"])
    assert continued == [False, False]
    assert len(rows_of(messages)) == 2
    second = chat.tokenizer.decode(rows_of(messages)[1])
    assert "hm" not in second
    assert "higher" in second


def test_a_forgetful_template_continues_replies_without_reasoning():
    _, continued = play(chat_format(FORGETFUL), ["higher", "lower"])
    assert continued == [False, True]


def test_fixed_exchanges_are_context_wherever_they_stand():
    chat = chat_format()
    fixed = [Message("user", "is it red?"), Message("assistant", "no")]
    messages = answered(chat, [*fixed, Message("user", "guess")], "higher")
    assert not messages[-1].reply.tokens.continued
    messages += [*fixed, Message("user", "guess again")]
    prompt = chat.prompt(messages)
    assert prompt.continued
    assert "is it red?" in chat.tokenizer.decode(prompt.context)
    assert chat.tokenizer.decode(prompt.full) == rendered(chat, messages)


def test_a_reply_without_tokens_is_rendered_anew():
    chat = chat_format()
    messages, _ = play(chat, ["higher"])
    messages += [Message("user", "q"), Message("assistant", "lower", Reply("lower"))]
    messages.append(Message("user", "and now?"))
    prompt = chat.prompt(messages)
    assert not prompt.continued
    assert prompt.full == chat.tokenizer.encode(rendered(chat, messages))


def test_ids_of_another_tokenizer_are_rendered_anew():
    chat = chat_format()
    messages, _ = play(chat, ["higher", "lower"])
    foreign = []
    for message in messages:
        reply = message.reply
        if reply is not None:
            trace = reply.tokens
            shifted = TokenTrace(
                [i + 100_000 for i in trace.context],
                [i + 100_000 for i in trace.sampled],
                trace.logprobs,
                trace.continued,
            )
            reply = Reply(reply.text, tokens=shifted)
        foreign.append(Message(message.role, message.content, reply))
    foreign.append(Message("user", "and now?"))
    prompt = chat.prompt(foreign)
    assert not prompt.continued
    assert prompt.full == chat.tokenizer.encode(rendered(chat, foreign))


def test_an_empty_trace_is_rendered_anew():
    chat = chat_format()
    nothing = Reply("", tokens=TokenTrace([], [], [], True))
    messages, _ = play(chat, ["higher"])
    messages += [Message("user", "q"), Message("assistant", "", nothing), Message("user", "q")]
    prompt = chat.prompt(messages)
    assert not prompt.continued
    assert prompt.full == chat.tokenizer.encode(rendered(chat, messages))


def test_messages_may_hold_what_marks_the_place_of_a_reply():
    chat = chat_format()
    messages, _ = play(chat, ["PLAYPEN-REPLY"])
    messages.append(Message("user", "PLAYPEN-REPLY PLAYPEN-REPLY-X"))
    prompt = chat.prompt(messages)
    assert prompt.continued
    assert chat.tokenizer.decode(prompt.full) == rendered(chat, messages)


def test_half_a_surrogate_pair_can_be_fed():
    assert chat_format().prompt([Message("user", "broken \ud800 text")]).full


def test_a_trace_of_a_text_is_what_play_would_have_recorded():
    chat = chat_format()
    played, taught = [], []
    for raw in ("higher", "lower", "correct"):
        question = Message("user", f"is it {raw}?")
        played.append(question)
        taught.append(question)
        prompt = chat.prompt(played)
        trace = chat.trace(taught, raw)
        assert trace.context == prompt.context
        assert trace.continued == prompt.continued
        assert trace.sampled == chat.tokenizer.encode(raw + "<|im_end|>")
        assert trace.logprobs == [0.0] * len(trace.sampled)
        taught.append(Message("assistant", raw, Reply(raw, tokens=trace)))
        sampled = TokenTrace(
            prompt.context, trace.sampled, [-1.0] * len(trace.sampled), prompt.continued
        )
        played.append(Message("assistant", raw, Reply(raw, tokens=sampled)))
    assert rows_of(taught) == rows_of(played)
    assert chat.tokenizer.decode(rows_of(taught)[0]) == rendered(chat, taught).removesuffix(
        "\n<|im_start|>assistant\n"
    )


def test_a_taught_reply_closes_the_reasoning_that_the_prompt_opens():
    chat = chat_format(OPENING)
    messages = [Message("user", "guess")]
    trace = chat.trace(messages, "higher")
    assert chat.tokenizer.decode(trace.context).endswith("<think>\n")
    assert chat.tokenizer.decode(trace.sampled) == "</think>\n\nhigher<|im_end|>"


def test_a_template_that_refuses_raw_replies_gets_them_taken_apart():
    chat = chat_format(CHANNELS)
    prompt = chat.prompt([Message("user", "guess")])
    sampled = [*letter_by_letter("hm", closed=False), 3, *letter_by_letter("higher")]
    trace = TokenTrace(prompt.context, sampled, [0.0] * len(sampled))
    reply = Reply("higher", raw="hm<|stop|>higher", reasoning="hm", tokens=trace)
    messages = [Message("user", "guess"), Message("assistant", "higher", reply)]
    again = chat.prompt([*messages, Message("user", "and now?")])
    assert not again.continued
    assert "<|stop|>" not in chat.tokenizer.decode(again.full)


def test_a_turn_ends_with_the_templates_marker_the_tokenizers_and_the_models():
    tokenizer = tiny_tokenizer(PLAIN.replace("<|im_end|>", "<|stop|>"))
    chat = ChatFormat(tokenizer, stops=[7])
    assert chat.end_of_turn == {3, 2, 7}
    assert chat.said("higher")[-1] == 3
    assert [chat.decode([50, 51, stop]) for stop in (3, 2, 7)] == [chat.decode([50, 51])] * 3


def test_special_tokens_are_taken_out_of_a_text_even_when_nested():
    chat = chat_format()
    assert chat.plain("a<|im_end|>b<|pad|>") == "ab"
    hostile = chat.plain("<|im_<|im_end|>end|> <|im_<|stop|>start|>")
    assert not any(marker in hostile for marker in ("<|im_end|>", "<|im_start|>", "<|stop|>"))


def test_template_options_reach_the_template():
    template = PLAIN + "{% if quiet %}quietly{% endif %}"
    chat = ChatFormat(tiny_tokenizer(template), template_options={"quiet": True})
    assert chat.tokenizer.decode(chat.prompt([Message("user", "q")]).full).endswith("quietly")


def test_a_given_template_replaces_the_tokenizers_own():
    chat = ChatFormat(tiny_tokenizer(None), chat_template=PLAIN)
    assert chat.prompt([Message("user", "q")]) == chat_format().prompt([Message("user", "q")])


def test_without_a_chat_template_the_error_says_what_to_add():
    with pytest.raises(SpecError, match=r"no chat template .*\?chat_template=FILE"):
        ChatFormat(tiny_tokenizer(None))


def test_a_broken_chat_template_is_reported():
    with pytest.raises(SpecError, match="template"):
        chat_format("{{ messages[0]['content'] | no_such_filter }}")


def test_a_template_that_refuses_the_chat_is_a_players_error():
    chat = chat_format(REFUSING)
    messages, _ = play(chat, ["higher"])
    with pytest.raises(PlayerError, match="roles must alternate"):
        chat.prompt([*messages, Message("user", "and now?")])
