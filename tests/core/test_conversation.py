"""Seeds, chats, and the rows of a trajectory."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from playpen.conversation import (
    Conversation,
    Message,
    Reply,
    Row,
    TokenTrace,
    derive_seed,
    trajectory,
)


def said(
    context: list[int], sampled: list[int], *, continued: bool = False, keep: bool = True
) -> tuple[Reply, bool]:
    """A reply with tokens; its log-probabilities are minus its ids."""
    trace = TokenTrace(context, sampled, [float(-i) for i in sampled], continued)
    return Reply("x", tokens=trace), keep


def rows(*replies: tuple[Reply, bool]) -> list[Row]:
    built = trajectory("a", replies)
    assert built is not None
    assert built.role == "a"
    return built.rows


# --- seeds ---------------------------------------------------------------------------------------


def test_seeds_are_the_same_on_every_machine_and_in_every_version() -> None:
    # Pinned: recorded runs state their seeds, and must mean the same episodes for ever.
    assert derive_seed("draw", 0, "guessing", "abc") == 7400959148705530331
    assert derive_seed(1, "é", None) == 8278860598804683850


@given(st.lists(st.text() | st.integers()))
def test_a_seed_fits_everything_that_takes_one(parts: list[str | int]) -> None:
    assert 0 <= derive_seed(*parts) < 2**63


def test_neighbouring_parts_do_not_run_together() -> None:
    seeds = {derive_seed(*p) for p in [("ab", "c"), ("a", "bc"), ("abc",), ("abc", ""), (1, 11)]}
    assert len(seeds | {derive_seed(11, 1)}) == 6


def test_the_seed_of_a_reply_depends_on_sampling_seed_role_and_turn() -> None:
    def seed(role: str = "a", turn: int = 0, sampling_seed: int = 0, text: str = "x") -> int:
        message = Message("user", text)
        return Conversation(role, [message], turn=turn, sampling_seed=sampling_seed).seed

    assert seed() == seed(text="something else")
    assert len({seed(), seed(role="b"), seed(turn=1), seed(sampling_seed=1)}) == 4


def test_a_chat_has_the_form_that_templates_want() -> None:
    messages = [
        Message("user", "Hi"),
        Message("assistant", "Ho", Reply("Ho")),
        Message("user", "?"),
    ]
    conversation = Conversation("a", messages)
    assert conversation.chat() == [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Ho"},
        {"role": "user", "content": "?"},
    ]
    assert conversation.last == "?"


def test_a_player_that_spoils_its_messages_spoils_nobody_elses() -> None:
    messages = [Message("user", "Hi")]
    Conversation("a", messages).messages.clear()
    assert messages == [Message("user", "Hi")]


def test_what_was_generated_is_the_raw_text_where_there_is_one() -> None:
    assert Reply("x").generated == "x"
    assert Reply("x", raw="<think>y</think> x").generated == "<think>y</think> x"
    assert Reply("x", raw="").generated == ""


# --- trajectories --------------------------------------------------------------------------------


def test_replies_that_continue_make_one_row() -> None:
    (row,) = rows(said([1, 2], [3, 4]), said([5], [6], continued=True))
    assert row == Row(
        ids=[1, 2, 3, 4, 5, 6],
        mask=[0, 0, 1, 1, 0, 1],
        logprobs=[0.0, 0.0, -3.0, -4.0, 0.0, -6.0],
        spans=[(0, 2, 4), (1, 5, 6)],
    )


def test_a_side_question_has_a_row_of_its_own_on_an_untrained_copy_of_the_history() -> None:
    main, side = rows(
        said([1], [2]),
        said([7, 8], [9], continued=True, keep=False),
        said([3], [4], continued=True),
    )
    assert main.ids == [1, 2, 3, 4]
    assert main.mask == [0, 1, 0, 1]
    assert main.spans == [(0, 1, 2), (2, 3, 4)]
    assert side.ids == [1, 2, 7, 8, 9]
    assert side.mask == [0, 0, 0, 0, 1]
    assert side.logprobs == [0.0, 0.0, 0.0, 0.0, -9.0]
    assert side.spans == [(1, 4, 5)]


def test_two_side_questions_in_a_row_do_not_see_each_other() -> None:
    _, first, second = rows(
        said([1], [2]),
        said([5], [6], continued=True, keep=False),
        said([7], [8], continued=True, keep=False),
    )
    assert (first.ids, second.ids) == ([1, 2, 5, 6], [1, 2, 7, 8])


def test_a_side_question_before_anything_was_kept_brings_its_whole_context() -> None:
    side, main = rows(said([1, 2], [3], keep=False), said([4], [5]))
    assert (side.ids, side.mask) == ([1, 2, 3], [0, 0, 1])
    assert (main.ids, main.mask) == ([4, 5], [0, 1])


def test_a_template_that_rewrites_history_gives_one_row_per_turn() -> None:
    first, second = rows(said([1], [2]), said([1, 9], [3]))
    assert (first.ids, first.mask, first.spans) == ([1, 2], [0, 1], [(0, 1, 2)])
    assert (second.ids, second.mask, second.spans) == ([1, 9, 3], [0, 0, 1], [(1, 2, 3)])


def test_after_a_split_the_conversation_continues_the_new_row() -> None:
    first, second = rows(said([1], [2]), said([9], [3]), said([4], [5], continued=True))
    assert first.ids == [1, 2]
    assert second.ids == [9, 3, 4, 5]
    assert second.spans == [(1, 1, 2), (2, 3, 4)]


def test_a_rewritten_side_question_brings_its_own_context() -> None:
    _, side = rows(said([1], [2]), said([7, 8], [9], keep=False))
    assert (side.ids, side.mask) == ([7, 8, 9], [0, 0, 1])


def test_later_replies_do_not_change_the_row_of_an_earlier_side_question() -> None:
    replies = [said([1], [2]), said([7], [9], continued=True, keep=False)]
    before = rows(*replies)[1]
    after = rows(*replies, said([3], [4], continued=True))[1]
    assert before == after


def test_an_empty_reply_is_an_empty_span() -> None:
    (row,) = rows(said([1, 2], []))
    assert row == Row(ids=[1, 2], mask=[0, 0], logprobs=[0.0, 0.0], spans=[(0, 2, 2)])


@pytest.mark.parametrize("blind", [0, 1])
def test_a_reply_without_tokens_leaves_no_trajectory(blind: int) -> None:
    replies = [said([1], [2]), said([3], [4], continued=True)]
    replies[blind] = (Reply("x"), True)
    assert trajectory("a", replies) is None


def test_a_role_that_said_nothing_has_no_rows() -> None:
    assert rows() == []


traces = st.tuples(
    st.lists(st.integers(0, 99), max_size=4),
    st.lists(st.integers(0, 99), max_size=4),
    st.booleans(),
    st.booleans(),
)


@given(st.lists(traces, max_size=8))
def test_every_sampled_token_is_trained_exactly_once_and_nothing_else_is(
    drawn: list[tuple[list[int], list[int], bool, bool]],
) -> None:
    replies = [
        said(context, sampled, continued=continued, keep=keep)
        for context, sampled, continued, keep in drawn
    ]
    built = rows(*replies)
    turns = sorted(span[0] for row in built for span in row.spans)
    assert turns == list(range(len(replies)))
    for row in built:
        assert len(row.ids) == len(row.mask) == len(row.logprobs)
        covered = [i for _, start, end in row.spans for i in range(start, end)]
        assert [i for i, bit in enumerate(row.mask) if bit] == covered
        assert all(row.logprobs[i] == 0.0 for i, bit in enumerate(row.mask) if not bit)
        for turn, start, end in row.spans:
            tokens = replies[turn][0].tokens
            assert tokens is not None
            assert row.ids[start:end] == tokens.sampled
            assert row.logprobs[start:end] == tokens.logprobs
            assert row.ids[start - len(tokens.context) : start] == tokens.context
