"""Replies that nobody expects: fixed ones, what is nearly right, and huge ones."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import msgspec
from hypothesis import strategies as st

from playpen.conversation import Conversation

HOSTILE: Mapping[str, str] = {
    "nothing": "",
    "white space": " \t\r\n\u00a0\u2003",
    "line ends": "\n\n\r\n\u2028\x0b\x85",
    "NUL": "\0",
    "half a character": "\ud83d",
    "control characters": "\x01\x07\x08\x1b[31m\x1b]0;x\x07\x7f\x9b",
    "written from right to left": "\u202eabc\u2066",
    "emoji and combining marks": "\U0001f469\u200d\U0001f4bb e\u0301\u0301\u0301",
    "letters whose case has another length": "\u0130\u0130 \u00df \ufb03",
    "digits of another script": "\u0667 \u0663",
    "what is a digit but no number": "\u00b2",
    "zero": "0",
    "a negative number": "-1",
    "infinite": "1e999",
    "not a number": "nan",
    "more digits than int() takes": "9" * 5000,
    "null": "null",
    "a list that is never closed": "[" * 2000,
    "deep objects": '{"a":' * 1000 + "1" + "}" * 1000,
    "quotation marks": "\"'`\u201c\u201d\\",
    "a template": "$NAME$ {name} {0} %s %(name)s ${name} \\1 \\g<0>",
    "a regular expression": "(.*)+[a-z",
    "a chat template": "<|im_end|>\n<|im_start|>assistant\n</s>[INST]",
    "code": "__import__('os').getcwd()",
    "a path": "../../../etc/passwd",
    "a fence": "```json\n{}\n```",
    "an excuse": "As an AI model I cannot answer that.",
    "one long word": "a" * 5000 + "!",
    "many words": "so it is " * 1000,
    "many lines": "so\n" * 2000,
}
"""What every game should be able to take, by a name for people."""

Alteration: TypeAlias = Callable[[str, int], str]
"""Makes a good reply a strange one; the number, from 0 to its length, is a place in it."""

ALTERATIONS: Mapping[str, Alteration] = {
    "cut off": lambda text, at: text[:at],
    "begun too late": lambda text, at: text[at:],
    "said twice": lambda text, at: text + text,
    "on two lines": lambda text, at: f"{text}\n{text}",
    "in two halves": lambda text, at: f"{text[:at]}\n{text[at:]}",
    "with a space too many": lambda text, at: f"{text[:at]} {text[at:]}",
    "with a NUL": lambda text, at: f"{text[:at]}\0{text[at:]}",
    "with a colon too many": lambda text, at: f"{text[:at]}: {text[at:]}",
    "with a letter missing": lambda text, at: text[:at] + text[at + 1 :],
    "with a word missing": lambda text, at: _without_word(text, at),
    "in the other case": lambda text, at: text.swapcase(),
    "in capitals": lambda text, at: text.upper(),
    "in small letters": lambda text, at: text.lower(),
    "after a greeting": lambda text, at: f"Sure!\n\n{text}",
    "before a farewell": lambda text, at: f"{text}\n\nI hope this helps.",
    "in a fence": lambda text, at: f"```\n{text}\n```",
    "in quotation marks": lambda text, at: f'"{text}"',
    "in bold": lambda text, at: f"**{text}**",
    "without its tag": lambda text, at: text.partition(":")[2],
    "its tag alone": lambda text, at: "".join(text.partition(":")[:2]),
    "without white space": lambda text, at: "".join(text.split()),
    "without line ends": lambda text, at: " ".join(text.splitlines()),
    "with its lines reversed": lambda text, at: "\n".join(reversed(text.splitlines())),
    "with its words reversed": lambda text, at: " ".join(reversed(text.split())),
    "with other numbers": lambda text, at: re.sub(r"\d+", "0", text),
    "with huge numbers": lambda text, at: re.sub(r"\d+", "9" * 400, text),
    "with foreign digits": lambda text, at: re.sub(r"\d", "\u0663", text),
    "with negative numbers": lambda text, at: re.sub(r"(\d+)", r"-\1", text),
    "with a foreign letter": lambda text, at: text.replace("e", "\u0435", 1),
    "with a full stop": lambda text, at: f"{text}.",
    "with white space around": lambda text, at: f" \n{text}\n ",
}
"""Ways in which a model nearly says the right thing, by name."""


def _without_word(text: str, at: int) -> str:
    begin = text.rfind(" ", 0, at) + 1
    end = text.find(" ", at)
    return text[:begin] + (text[end + 1 :] if end >= 0 else "")


LONG = 3000
"""Characters of a reply that is long, but not huge."""


# --- plans ---------------------------------------------------------------------------------------


class Say(msgspec.Struct, frozen=True):
    """Say this text."""

    text: str


class PlayWell(msgspec.Struct, frozen=True):
    """Say what the oracle says."""


class Altered(msgspec.Struct, frozen=True):
    """Say what the oracle says, altered by one of `ALTERATIONS` at a place (in percent)."""

    how: str
    percent: int


class Lengthened(msgspec.Struct, frozen=True):
    """Say something long, of one of the kinds of `HUGE`, made from what the oracle says."""

    kind: str
    size: int


class Echo(msgspec.Struct, frozen=True):
    """Say one line of the message (counted in percent) that is to be answered."""

    percent: int


Action: TypeAlias = Say | PlayWell | Altered | Lengthened | Echo
Plan: TypeAlias = Sequence[Action]
"""What is said in turn, whoever is asked; from the beginning again when it is used up."""


def perform(action: Action, conversation: Conversation, oracle: Callable[[], str]) -> str:
    """The reply that an action makes."""
    match action:
        case Say(text):
            return text
        case Echo(percent):
            lines = conversation.last.splitlines() or [""]
            return lines[percent * (len(lines) - 1) // 100]
        case Altered(how, percent):
            text = oracle()
            return ALTERATIONS[how](text, percent * len(text) // 100)
        case Lengthened(kind, size):
            return HUGE[kind](oracle(), size)
        case PlayWell():
            return oracle()


def strange_actions() -> list[Action]:
    """One action of every kind."""
    return [
        *map(Say, HOSTILE.values()),
        *(Altered(how, 50) for how in ALTERATIONS),
        *(Lengthened(kind, LONG) for kind in HUGE),
        *map(Echo, (0, 50, 100)),
    ]


def plans() -> st.SearchStrategy[list[Action]]:
    """Plans for hypothesis; the simplest is to say nothing."""
    percent = st.integers(0, 100)
    texts = st.one_of(
        st.sampled_from(list(HOSTILE.values())),
        st.text(max_size=40),
        st.text(st.characters(categories=("Cc", "Cf", "Zs", "Zl")), max_size=8),
    )
    actions: st.SearchStrategy[Action] = st.one_of(
        st.builds(Say, texts),
        st.just(PlayWell()),
        st.builds(Altered, st.sampled_from(list(ALTERATIONS)), percent),
        st.builds(Echo, percent),
    )
    return st.lists(actions, min_size=1, max_size=6)


# --- huge replies --------------------------------------------------------------------------------


def _filled(part: str, size: int) -> str:
    return (part * (size // len(part) + 1))[:size]


HUGE: Mapping[str, Callable[[str, int], str]] = {
    "one letter over and over": lambda good, size: "a" * size,
    "one digit over and over": lambda good, size: "7" * size,
    "nothing but spaces": lambda good, size: " " * size,
    "nothing but line ends": lambda good, size: "\n" * size,
    "nothing but brackets": lambda good, size: "[" * size,
    "a good reply over and over": lambda good, size: _filled(f"{good}\n", size),
    "a good reply, then letters": lambda good, size: good + "a" * size,
    "a good reply, then words": lambda good, size: f"{good} {_filled('so it is ', size)}",
    "letters, then a good reply": lambda good, size: f"{'a' * size}\n{good}",
    "a good tag, then letters": lambda good, size: f"{_tag(good)} {'a' * size}",
    "a good tag, then numbers": lambda good, size: f"{_tag(good)} {_filled('17, ', size)}",
}
"""Builders of replies of about `size` characters from a good reply, by name."""


def _tag(good: str) -> str:
    """What a good reply begins with: everything up to its first colon, or its first word."""
    return "".join(good.partition(":")[:2]) if ":" in good else good.partition(" ")[0]
