"""Little writing tasks with instructions in our own words, and a program that keeps to them.

The program recognises an instruction by its wording, which therefore stands here once.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from playpen import Conversation
from playpen_clembench.static.made_up.puzzles import Item, MadeUp, Puzzles

TOPICS = (
    *("a lighthouse", "a baker", "a night market", "a lost umbrella", "an old map", "a snow day"),
    *("a library cat", "a river boat", "a village fair", "a school play", "a bicycle tour"),
    *("a tea house", "a rooftop garden", "a long letter", "a broken clock", "a new neighbour"),
)
NOUNS = (
    *("acorn", "bridge", "compass", "drum", "eagle", "fountain", "glacier", "helmet"),
    *("ivory", "jungle", "kite", "lemon", "magnet", "nutmeg", "oyster", "parrot"),
    *("quilt", "rocket", "saffron", "tulip", "urn", "violin", "walnut", "zebra"),
)
PAIRS = [list(pair) for pair in itertools.combinations(NOUNS, 2)]
ENDINGS = ("That is all for today.", "So much for now.", "Now it is your turn.", "Come and see us.")
AT_LEAST, LESS_THAN = "at least", "less than"


class Kind(NamedTuple):
    """A kind of instruction.

    Attributes:
        id: its name in IFEval.
        wording: how the task puts it, with the arguments that vary in braces.
        choices: the arguments that vary.
        fixed: the others.
    """

    id: str
    wording: str
    choices: Sequence[Mapping[str, Any]] = ({},)
    fixed: Mapping[str, Any] = {}


def _each(name: str, values: Sequence[Any]) -> list[dict[str, Any]]:
    return [{name: value} for value in values]


def _both(name: str, values: Sequence[Any], other: str, others: Sequence[Any]) -> Any:
    return [{name: value, other: another} for value in values for another in others]


KINDS = (
    Kind("punctuation:no_comma", "Do without commas."),
    Kind("detectable_format:title", "Begin with a title in double angle brackets: <<title>>."),
    Kind("startend:quotation", "Put all of it in double quotation marks."),
    Kind("change_case:english_lowercase", "Write it in English, in small letters throughout."),
    Kind(
        "startend:end_checker",
        'Make "{end_phrase}" the very last words.',
        _each("end_phrase", ENDINGS),
    ),
    Kind("keywords:existence", "Work in the words {keywords}.", _each("keywords", PAIRS)),
    Kind(
        "keywords:forbidden_words",
        "Avoid the words {forbidden_words}.",
        _each("forbidden_words", PAIRS),
    ),
    Kind(
        "keywords:frequency",
        'Say "{keyword}" {frequency} times or more.',
        _both("keyword", NOUNS, "frequency", (2, 3, 4, 5)),
        {"relation": AT_LEAST},
    ),
    Kind(
        "keywords:letter_frequency",
        "Use the letter {letter} {let_frequency} times or more.",
        _both("letter", "jkqvxz", "let_frequency", (3, 4, 5, 6)),
        {"let_relation": AT_LEAST},
    ),
    Kind(
        "length_constraints:number_words",
        "Fill {num_words} words or more.",
        _each("num_words", (40, 50, 60, 70, 80)),
        {"relation": AT_LEAST},
    ),
    Kind(
        "length_constraints:number_words",
        "Stay below {num_words} words.",
        _each("num_words", (180, 200, 220)),
        {"relation": LESS_THAN},
    ),
    Kind(
        "length_constraints:number_sentences",
        "Write {num_sentences} sentences or more.",
        _each("num_sentences", (3, 4, 5, 6, 7)),
        {"relation": AT_LEAST},
    ),
    Kind(
        "length_constraints:number_sentences",
        "Stay below {num_sentences} sentences.",
        _each("num_sentences", (16, 18, 20)),
        {"relation": LESS_THAN},
    ),
    Kind(
        "detectable_format:number_bullet_lists",
        "Include a list of {num_bullets} lines in all, each with an asterisk and a space in front.",
        _each("num_bullets", (2, 3, 4, 5)),
    ),
    Kind(
        "detectable_content:number_placeholders",
        "Leave {num_placeholders} or more gaps to be filled in, such as [name].",
        _each("num_placeholders", (2, 3, 4, 5)),
    ),
    Kind(
        "detectable_content:postscript",
        "Add a postscript that begins with {postscript_marker}",
        _each("postscript_marker", ("P.S.",)),
    ),
)
"""Instructions that can be combined with each other."""
LONERS = (
    Kind("detectable_format:json_format", "Reply with JSON only."),
    Kind(
        "detectable_format:constrained_response",
        "Say only whether it is new: My answer is yes. / My answer is no. / My answer is maybe.",
    ),
    Kind(
        "combination:two_responses",
        "Give two different versions, with six asterisks (******) between them.",
    ),
)
"""Instructions that leave no room for others."""


def _task(topic: str, *chosen: int) -> Item | None:
    """A task with instructions.

    Args:
        topic: what it is about.
        chosen: a kind and one of its choices, the next kind and one of its choices, and so on; as
            numbers.
    """
    kinds = chosen[::2]
    if any(one >= other for one, other in itertools.pairwise(kinds)):
        return None  # in another order it would be the same puzzle
    target: dict[str, Any] = {}
    lines = [f"Write a short note about {topic}."]
    for kind, choice in _instructions(chosen):
        if kind.id in target:
            return None
        target[kind.id] = {**choice, **kind.fixed}
        lines.append(kind.wording.format_map({k: _shown(v) for k, v in choice.items()}))
    text = " ".join(lines)
    quoted = re.findall(r'"(\w+)"', text)
    if len(set(quoted)) < len(quoted):  # a word may not be both wanted and unwanted
        return None
    return Item(text, target)


def _instructions(chosen: Sequence[int]) -> Iterator[tuple[Kind, Mapping[str, Any]]]:
    for number, choice in zip(chosen[::2], chosen[1::2], strict=True):
        kind = (KINDS + LONERS)[number]
        yield kind, kind.choices[choice % len(kind.choices)]


def _shown(value: object) -> str:
    return " and ".join(f'"{word}"' for word in value) if isinstance(value, list) else str(value)


# --- the program ---------------------------------------------------------------------------------

SENTENCES = (
    "We walked along the quiet road until the evening came to the hills.",
    "There was a small house with a green door and a warm fire.",
    "The people who lived there asked us to sit down and to rest.",
    "They told us what had happened in that part of the country before.",
    "In the morning we thanked them and went on our way towards home.",
)
"""Thirteen words each, without commas, and without `NOUNS`."""
WORDS_PER_SENTENCE = 13


def solve(conversation: Conversation) -> str:
    """Write a text that follows the instructions that are recognised."""
    asked = _recognised(conversation.last)
    if "detectable_format:json_format" in asked:
        return '{"note": "a short one"}'
    if "detectable_format:constrained_response" in asked:
        return "My answer is maybe."
    if "combination:two_responses" in asked:
        return f"{SENTENCES[0]}\n******\n{SENTENCES[1]}"
    text = "\n".join(_parts(asked))
    if "change_case:english_lowercase" in asked:
        text = text.lower()
    return f'"{text}"' if "startend:quotation" in asked else text


def _parts(asked: Mapping[str, str]) -> Iterator[str]:
    if "detectable_format:title" in asked:
        yield "<<A short note>>"
    words, sentences = int(asked.get("num_words", 0)), int(asked.get("num_sentences", 0))
    number = max(3, sentences, -(-words // WORDS_PER_SENTENCE))
    yield " ".join(itertools.islice(itertools.cycle(SENTENCES), number))
    if "keywords" in asked:
        yield f"We spoke about {asked['keywords']}."
    if "keyword" in asked:
        yield f"We spoke about {' and '.join([asked['keyword']] * int(asked['frequency']))}."
    if "letter" in asked:
        yield f"We wrote {' and '.join([asked['letter']] * int(asked['let_frequency']))}."
    yield from ["* something to remember"] * int(asked.get("num_bullets", 0))
    yield from ["We met [name]."] * int(asked.get("num_placeholders", 0))
    if "postscript_marker" in asked:
        yield "P.S. We will come again."
    if "end_phrase" in asked:
        yield asked["end_phrase"]


def _recognised(task: str) -> dict[str, str]:
    """The ids of the instructions in a task, and their arguments by name.

    Limits from above are left out: what the program writes is short.
    """
    asked: dict[str, str] = {}
    for number, kind in enumerate(KINDS + LONERS):
        if LESS_THAN not in kind.fixed.values() and (match := _patterns()[number].search(task)):
            asked |= {kind.id: "", **match.groupdict()}
    return asked


@cache
def _patterns() -> list[re.Pattern[str]]:
    """For each kind a pattern that finds its wording, whatever the arguments."""
    return [
        re.compile(
            re.escape(kind.wording)
            .replace(r"\{", "{")
            .replace(r"\}", "}")
            .format_map(
                {
                    name: rf"(?P<{name}>\d+)" if isinstance(value, int) else rf"(?P<{name}>.+?)"
                    for name, value in kind.choices[0].items()
                }
            )
        )
        for kind in KINDS + LONERS
    ]


_TOGETHER = (range(len(KINDS)), range(len(PAIRS)))
_ANY = (range(len(KINDS + LONERS)), range(len(PAIRS)))

MADE_UP = MadeUp(
    game="ifeval",
    puzzles={
        "one_instruction": Puzzles(_task, (TOPICS, *_ANY)),
        "two_instructions": Puzzles(_task, (TOPICS, *_TOGETHER * 2)),
        "three_instructions": Puzzles(_task, (TOPICS, *_TOGETHER * 3)),
    },
    settings={},
)
