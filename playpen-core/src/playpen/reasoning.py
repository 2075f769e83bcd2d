"""Reasoning of models that think before they answer: told apart from what they say."""

from __future__ import annotations

import re

OPENINGS = {
    "<think>": "</think>",  # DeepSeek, Qwen, GLM, Nemotron, LFM2.5, ...
    "<thinking>": "</thinking>",
    "<reasoning>": "</reasoning>",
    "[think]": "[/think]",  # Mistral (Magistral)
    "<|start_thinking|>": "<|end_thinking|>",  # Cohere (Command A Reasoning)
    "<|channel>": "<channel|>",  # Gemma 4
}
"""What opens reasoning, in lower case, and what closes it."""

# Alternatives of fixed texts only: the time is linear in the reply, whatever it holds.
_TAG = re.compile(
    "|".join(re.escape(tag) for pair in OPENINGS.items() for tag in pair),
    re.IGNORECASE | re.ASCII,
)
_HARMONY = re.compile(
    "|".join(re.escape(f"<|{name}|>") for name in ("channel", "message", "end", "return", "start"))
)


def split_reasoning(raw: str) -> tuple[str, str | None]:
    """Split a generated text into what is said and the reasoning before it.

    All of the text before a closing tag without an opening one is reasoning (many prompts end
    with the opening tag), and so is all that follows an opening tag that is never closed.  In the
    channels of gpt-oss (harmony), only the channel ``final`` is said.

    Returns:
        The visible text without surrounding white space, and the reasoning, `None` if there is
        none.
    """
    if "<|channel|>" in raw and "<|message|>" in raw:
        visible, reasoning = _split_channels(raw)
    else:
        visible, reasoning = _split_tags(raw)
    thoughts = [text.strip() for text in reasoning]
    return "".join(visible).strip(), "\n\n".join(filter(None, thoughts)) or None


def _split_tags(raw: str) -> tuple[list[str], list[str]]:
    visible: list[str] = []
    reasoning: list[str] = []
    closing: str | None = None
    position = 0
    for match in _TAG.finditer(raw):
        tag = match[0].lower()
        if closing is not None and tag != closing:
            continue
        text = raw[position : match.start()]
        position = match.end()
        if closing is not None:
            reasoning.append(_without_channel_name(text, closing))
            closing = None
        elif tag in OPENINGS:
            visible.append(text)
            closing = OPENINGS[tag]
        else:
            reasoning += [*visible, text]
            visible.clear()
    if closing is None:
        visible.append(raw[position:])
    else:
        reasoning.append(_without_channel_name(raw[position:], closing))
    return visible, reasoning


def _without_channel_name(text: str, closing: str) -> str:
    return text.removeprefix("thought") if closing == "<channel|>" else text


def _split_channels(raw: str) -> tuple[list[str], list[str]]:
    """Harmony: ``<|channel|>NAME<|message|>BODY<|end|>``, several times."""
    visible: list[str] = []
    reasoning: list[str] = []
    channel = ""
    inside: str | None = None
    position = 0
    for match in [*_HARMONY.finditer(raw), None]:
        text = raw[position : match.start() if match else len(raw)]
        if inside == "<|start|>":
            channel = ""
        elif inside == "<|channel|>":
            channel = text.strip().partition(" ")[0]
        elif inside == "<|message|>":
            (visible if channel == "final" else reasoning).append(text)
        if match:
            inside = match[0]
            position = match.end()
    return visible, reasoning
