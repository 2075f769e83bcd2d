"""Multiple choice of numbers: the right one among ten that are near it."""

from __future__ import annotations

import operator
import random
import re

from playpen import Conversation
from playpen_clembench.static.made_up.puzzles import Item, MadeUp, Puzzles

LETTERS = "ABCDEFGHIJ"
PATTERN = r"answer is \(?([ABCDEFGHIJ])\)?"
FARTHEST = 20
"""How far a wrong option may be from the right one."""

OPERATIONS = {"plus": operator.add, "minus": operator.sub, "times": operator.mul}
PEOPLE = ("Adaeze", "Bilal", "Chiara", "Dov", "Elif", "Farid", "Greta", "Hiro")
THINGS = ("candles", "marbles", "notebooks", "oranges", "pencils", "ribbons", "spoons", "tiles")

_SUM = re.compile(r"What is (\d+) (plus|minus|times) (\d+)\?")
_STOCK = re.compile(r"buys (\d+) boxes of (\d+) \w+ and gives (\d+) of them away")
_OPTION = re.compile(r"^([A-J])\. (.*)$", re.MULTILINE)


def _sum(first: int, operation: str, second: int) -> Item:
    right = OPERATIONS[operation](first, second)
    return _with_options(f"What is {first} {operation} {second}?", right)


def _stock(person: str, things: str, boxes: int, size: int, given: int) -> Item:
    question = (
        f"{person} buys {boxes} boxes of {size} {things} and gives {given} of them away. "
        f"How many {things} are left?"
    )
    return _with_options(question, boxes * size - given)


def _with_options(question: str, right: int) -> Item:
    """The options and their order are always the same for the same question."""
    rng = random.Random(question)
    near = [right + step for step in range(-FARTHEST, FARTHEST + 1) if step]
    options = [right, *rng.sample(near, len(LETTERS) - 1)]
    rng.shuffle(options)
    lines = [f"{letter}. {option}\n" for letter, option in zip(LETTERS, options, strict=True)]
    text = f"Question:\n{question}\nOptions:\n{''.join(lines)}"
    return Item(text, LETTERS[options.index(right)])


def solve(conversation: Conversation) -> str:
    """Compute the number and name its option; guess if there is nothing to compute."""
    # The last question: before it there may be worked examples.
    question, _, options = conversation.last.rpartition("Question:")[2].partition("Options:")
    letters = {option: letter for letter, option in _OPTION.findall(options)}
    right = _computed(question)
    letter = letters.get(str(right))
    if letter is None:
        letter = random.Random(conversation.seed).choice(sorted(letters.values()) or LETTERS)
    return f"The answer is ({letter})"


def _computed(question: str) -> int | None:
    if match := _SUM.search(question):
        return int(OPERATIONS[match[2]](int(match[1]), int(match[3])))
    if match := _STOCK.search(question):
        boxes, size, given = map(int, match.groups())
        return boxes * size - given
    return None


MADE_UP = MadeUp(
    game="mmlu_pro",
    puzzles={
        "sums": Puzzles(_sum, (range(12, 100), tuple(OPERATIONS), range(12, 100))),
        "stock": Puzzles(_stock, (PEOPLE, THINGS, range(3, 13), range(4, 25), range(1, 10))),
    },
    settings={"choices": list(LETTERS), "regex_pattern": PATTERN},
)
