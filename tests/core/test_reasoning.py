"""Reasoning told apart from what is said."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from playpen.reasoning import OPENINGS, split_reasoning

TAGS = [tag for pair in OPENINGS.items() for tag in pair]
CHANNEL_TAGS = ["<|channel|>", "<|message|>", "<|end|>", "<|start|>", "final", "analysis"]


@pytest.mark.parametrize(
    ("raw", "text", "reasoning"),
    [
        ("just an answer", "just an answer", None),
        ("  spaced \n", "spaced", None),
        ("", "", None),
        ("<think>hm</think>\n\nanswer", "answer", "hm"),
        ("<think>\n\n</think>\n\nanswer", "answer", None),
        ("<thinking>hm</thinking>answer", "answer", "hm"),
        ("<reasoning>hm</reasoning>answer", "answer", "hm"),
        ("[THINK]hm[/THINK]answer", "answer", "hm"),
        ("<THINK>hm</Think>answer", "answer", "hm"),
        ("<|START_THINKING|>hm<|END_THINKING|>answer", "answer", "hm"),
        ("<|channel>thought\nhm\n<channel|>answer", "answer", "hm"),
        ("hm, the prompt opened this</think>answer", "answer", "hm, the prompt opened this"),
        ("<think>never closed", "", "never closed"),
        ("<|channel>thought\nnever closed", "", "never closed"),
        ("before <think>hm</think> after", "before  after", "hm"),
        ("<think>a</think>one<think>b</think>two", "onetwo", "a\n\nb"),
        ("<think>a <think> b</think>answer", "answer", "a <think> b"),
        ("<think>a</thinking>b</think>answer", "answer", "a</thinking>b"),
        ("answer < 3 and [x]", "answer < 3 and [x]", None),
        (
            "<|channel|>analysis<|message|>hm<|end|>"
            "<|start|>assistant<|channel|>final<|message|>answer",
            "answer",
            "hm",
        ),
        (
            "<|channel|>analysis<|message|>hm<|end|><|start|>assistant"
            "<|channel|>commentary to=functions.f <|message|>{}<|end|><|start|>assistant"
            "<|channel|>final<|message|>answer<|return|>",
            "answer",
            "hm\n\n{}",
        ),
        ("<|channel|>final<|message|>answer", "answer", None),
        ("<|channel|>analysis<|message|>cut off", "", "cut off"),
    ],
)
def test_formats(raw, text, reasoning):
    assert split_reasoning(raw) == (text, reasoning)


@given(st.lists(st.one_of(st.sampled_from(TAGS + CHANNEL_TAGS), st.text(max_size=5))))
def test_any_text_is_split_without_loss_of_the_visible_part(parts):
    raw = "".join(parts)
    text, reasoning = split_reasoning(raw)
    assert text == text.strip()
    assert reasoning is None or reasoning
    assert len(text) + len(reasoning or "") <= len(raw) + len(parts)
    if not any(mark in raw for mark in ("<", "[")):
        assert (text, reasoning) == (raw.strip(), None)


@pytest.mark.parametrize("tag", [*TAGS, *CHANNEL_TAGS, "<think", "<|channel", "<" * 9])
def test_hostile_repetitions_come_out(tag):
    # A megabyte would take hours if the time grew with the square of the length.
    text, reasoning = split_reasoning(tag * (1_000_000 // len(tag)))
    assert len(text) + len(reasoning or "") <= 2_000_000


def test_torch_is_not_needed():
    code = (
        "import sys, playpen, playpen.chat_format, playpen.reasoning;"
        "sys.exit(any(m in sys.modules for m in ('torch', 'transformers')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
