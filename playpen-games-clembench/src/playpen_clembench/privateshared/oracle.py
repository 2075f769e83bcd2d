"""A program that plays private and shared perfectly where it understands the questions.

It knows our own wordings.  It takes others to be about the slot that has the most words in common
with them, in its name and in our wordings for slots of that name; a word counts less if several
slots have it.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import cache, lru_cache

from playpen.conversation import Conversation
from playpen_clembench.privateshared.texts import scenes_of

_FACTS = re.compile(r"^WHAT: .*\n((?:[^\n:]+: .+(?:\n|$))+)", re.MULTILINE)
_WORD = re.compile(r"[^\W_]+")


def answer(conversation: Conversation) -> str:
    """Tell the value that the questioner asks for, or whether the questioner knows it."""
    first, *exchanges = [message.content for message in conversation.messages[:-1]]
    facts = _facts(first)
    slots = tuple(facts)
    slot = _slot(conversation.last, slots)
    if not conversation.last.startswith("ME:"):
        return f"ANSWER: {facts.get(slot, 'I do not know.')}"
    questions, answers = exchanges[1::2], exchanges[2::2]
    told = any(facts[slot].lower() in text.lower() for text in answers) if slot else False
    if told or slot in (_slot(question, slots) for question in questions):
        return "ASIDE: yes"
    return "ASIDE: no"


@lru_cache(maxsize=1024)
def _facts(opening: str) -> dict[str, str]:
    """Slot, in capitals, to value: the lines below the one that begins with ``WHAT:``."""
    block = _FACTS.search(opening)
    lines = block[1].splitlines() if block else []
    return dict(line.split(": ", 1) for line in lines)


@lru_cache(maxsize=4096)
def _slot(question: str, slots: tuple[str, ...]) -> str:
    """The slot that a question is about; an empty text if there are no slots."""
    known = [
        (len(sentence), slot)
        for slot in slots
        for sentence in _sentences().get(slot, ())
        if sentence in question
    ]
    if known:
        return max(known)[1]
    common = {slot: _words(slot) & set(_WORD.findall(question.lower())) for slot in slots}
    frequency = Counter(word for words in common.values() for word in words)
    return max(slots, key=lambda slot: sum(1 / frequency[w] for w in common[slot]), default="")


@cache
def _sentences() -> dict[str, list[str]]:
    """Slot, in capitals, to all of our wordings for slots of that name."""
    sentences: dict[str, list[str]] = {}
    for scene in scenes_of("en").values():
        for wordings in (scene.requests, scene.probing_questions):
            for slot, texts in wordings.items():
                sentences.setdefault(slot.upper(), []).extend(texts)
    return sentences


@cache
def _words(slot: str) -> frozenset[str]:
    """The words of a slot's name and of our wordings for it."""
    return frozenset(_WORD.findall(" ".join([slot, *_sentences().get(slot, ())]).lower()))
