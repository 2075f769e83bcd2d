"""Programs that play Guess What.

The guesser halves the words that are left: by category, by subcategory, or else by naming words;
in the level `mini` by a clue.
The answerer understands such questions.  It answers others by the words that they have in common
with the secret word's name and groups.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from playpen import Conversation
from playpen_clembench.guesswhat import mini
from playpen_clembench.guesswhat.taxonomy import labels

TAG = "QUESTION:"
LONGEST = 1000
"""Characters of a question that the answerer reads."""

_LIST = re.compile(r"\[([^\[\]]*)\]")
_ITEM = re.compile(r"'([^']*)'|\"([^\"]*)\"")
_TARGET = re.compile(r"\bword: *(\S[^\n]*)", re.IGNORECASE)
_MINI_PROMPT = mini.GUESSER_PROMPT.partition("$")[0]
_UNDER = re.compile(r"Does it belong under (.+)\?")
_AMONG = re.compile(r"Is the word among these: (.+)\?")
_SAYS_NOTHING = re.compile(r"a|and|for|in|its|of|on|others?|parts|that|the|things")


def guesser(conversation: Conversation) -> str:
    """Ask what is true of half of the words that fit all answers; guess when one is left."""
    first, *later = (message.content for message in conversation.messages)
    left = _candidates(first)
    for question, answer in zip(later[::2], later[1::2], strict=True):
        said_yes = "yes" in answer.lower()
        # Answers that contradict each other leave no word; then the last one is ignored.
        left = tuple(word for word in left if _is_true(question, word) == said_yes) or left
    if len(left) == 1:
        return f"GUESS: {left[0]}"
    if first.startswith(_MINI_PROMPT) and (clue := mini.dividing_clue(left)):
        return f"{TAG} {clue}"
    return f"{TAG} {_halving_question(left)}" if left else "GUESS: "


def answerer(conversation: Conversation) -> str:
    """Answer whether the question is true of the secret word."""
    target = _secret(conversation.messages[0].content)
    # The first question comes after the prompt, the others come alone.
    question = conversation.last.partition(f"\n\n{TAG}")[2] or conversation.last
    return "ANSWER: yes" if _is_true(question, target) else "ANSWER: no"


@lru_cache(maxsize=1024)
def _candidates(prompt: str) -> tuple[str, ...]:
    """The last list of a prompt."""
    lists = _LIST.findall(prompt)
    return tuple(single or double for single, double in _ITEM.findall(lists[-1])) if lists else ()


@lru_cache(maxsize=1024)
def _secret(message: str) -> str:
    """What the answerer's prompt last calls the word."""
    named = _TARGET.findall(message.partition(f"\n\n{TAG}")[0])
    return named[-1].strip() if named else ""


def _halving_question(left: Sequence[str]) -> str:
    """The most general question of which half of the words, as nearly as can be, are true."""
    half = len(left) // 2
    known = [labels().get(word.lower()) for word in left]
    for level in (0, 1):
        counts: dict[str, int] = {}
        for names in known:
            if names is not None:
                counts[names[level]] = counts.get(names[level], 0) + 1
        chosen: list[str] = []
        total = 0
        for label, count in counts.items():
            if total < half:
                chosen.append(label)
                total += count
        if total in (half, len(left) - half):
            return f"Does it belong under {' or '.join(chosen)}?"
    return f"Is the word among these: {', '.join(left[:half])}?"


def _is_true(question: str, word: str) -> bool:
    question, word = question[:LONGEST], word.lower()
    clue = question.removeprefix(TAG).strip()
    if mini.knows(clue, word):
        return mini.holds(clue, word)
    groups = labels().get(word, ())
    if under := _UNDER.search(question):
        return any(label in groups for label in under[1].split(" or "))
    if among := _AMONG.search(question):
        return word in among[1].lower().split(", ")
    # A question in other words: true if it has one in common with the word's own name or groups.
    return not _meant(question).isdisjoint(_meant(" ".join([word, *groups])))


def _meant(text: str) -> set[str]:
    """The words of a text that say something, without plural endings."""
    words = re.findall(r"\w+", text.lower())
    return {word.removesuffix("s") for word in words if not _SAYS_NOTHING.fullmatch(word)}
