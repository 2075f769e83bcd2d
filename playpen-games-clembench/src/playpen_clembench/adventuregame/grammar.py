"""The grammar of commands (docs/rules/adventuregame.md, "The grammar of commands").

A command can have several readings, because words such as ``up`` or ``the`` may also be part of a
name.  Of all readings the best is chosen: the one with most words read as determiner, adjective
or preposition; among these, one that uses the optional parts, the earlier ones first; among
these, the one whose first name is longest.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache, lru_cache
from typing import NamedTuple, TypeAlias

from playpen_clembench.adventuregame.actions import Failure
from playpen_clembench.adventuregame.language import Language

LONGEST = 300
"""Characters of a command.  No sensible one is longer, and reading one takes time."""


class Command(NamedTuple):
    """An action, what it is done to, where, and the preposition that was typed last."""

    action: str
    first: str | None = None
    second: str | None = None
    preposition: str | None = None


def parse(text: str, language: Language) -> Command:
    """Read a command.

    Raises:
        Failure: it is not made of words, or there is no reading.
    """
    if len(text) > LONGEST:
        return _parse(text, language)
    return _parse_short(text, language)


def _parse(text: str, language: Language) -> Command:
    cleaned = text[:-1] if text.endswith((".", "!")) else text
    cleaned = cleaned.lower()
    letter, other = _letters(language.words.letters)
    if not letter.match(cleaned) or other.search(cleaned):
        raise _misunderstood("lark_exception", "unreadable", text)
    verb, *rest = _BLANKS.split(cleaned.rstrip(), maxsplit=LONGEST)
    action = language.actions.get(verb)
    if action is not None and len(text) <= LONGEST:
        reading = _best_reading(rest, SHAPES[action], language)
        if reading is not None:
            return Command(action, *reading)
    if verb in language.words.verbs:
        raise _misunderstood("malformed_command", "malformed", text, verb)
    raise _misunderstood("undefined_action_verb", "unknown_verb", text, verb)


_parse_short = lru_cache(maxsize=4096)(_parse)

_BLANKS = re.compile(r"[ \t\f\n]+")


@cache
def _letters(letters: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    return re.compile(f"[{letters}]"), re.compile(rf"[^{letters} \t\f\n]")


def _misunderstood(type: str, sentence: str, text: str, verb: str = "") -> Failure:
    shown = {"TEXT": text, "VERB": verb}
    cut = {key: words[:LONGEST] for key, words in shown.items()}
    return Failure(type, sentence, "parsing", words=cut)


# --- shapes ----------------------------------------------------------------------------------


Worth: TypeAlias = tuple[int, int, int, int]
"""Function words; uses of the shape's first and of its second optional part; first name's words."""


class Step(NamedTuple):
    """A way to read the next words: their role, the state it leads to, and what it counts for."""

    role: str
    target: int
    optional_part: int
    name: int


class Shape:
    """What may follow a verb, as an automaton that reads words; it starts in state 0.

    Attributes:
        steps: the steps from each state.
        ends: the states in which a command may end.
    """

    def __init__(self) -> None:
        self.steps: list[list[Step]] = [[]]
        self.ends: frozenset[int] = frozenset({0})

    def state(self) -> int:
        """A new state."""
        self.steps.append([])
        return len(self.steps) - 1

    def join(
        self, sources: Iterable[int], role: str, target: int, *, part: int = 0, name: int = 0
    ) -> None:
        """Let words of a role lead to a state."""
        for source in sources:
            self.steps[source].append(Step(role, target, part, name))

    def any_number(self, sources: frozenset[int], role: str, part: int) -> frozenset[int]:
        """An optional part: any number of words of a role."""
        state = self.state()
        self.join([*sources, state], role, state, part=part)
        return sources | {state}

    def noun_phrase(self, sources: Iterable[int], name: int) -> frozenset[int]:
        """A determiner if there is one, any number of adjectives, and one or two words."""
        described, one, two = self.state(), self.state(), self.state()
        self.join(sources, "determiner", described, name=name)
        self.join([*sources, described], "adjective", described, name=name)
        self.join([*sources, described], "word", one, name=name)
        self.join([one], "word", two, name=name)
        return frozenset({one, two})


START = frozenset({0})


def _one_name() -> Shape:
    shape = Shape()
    shape.ends = shape.noun_phrase(START, 1)
    return shape


def _take() -> Shape:
    """``take from the table the book from ...``: P* name (P name)*."""
    shape = Shape()
    shape.ends = first = shape.noun_phrase(shape.any_number(START, "preposition", 1), 1)
    for_second, for_further = shape.state(), shape.state()
    second = shape.noun_phrase([for_second], 2)
    further = shape.noun_phrase([for_further], 3)
    shape.join(first, "preposition", for_second, part=2)
    shape.join(second | further, "preposition", for_further, part=2)
    shape.ends = first | second | further
    return shape


def _put() -> Shape:
    """``put the book back on the table``: name back* P* name."""
    shape = Shape()
    back = shape.any_number(shape.noun_phrase(START, 1), "back", 1)
    shape.ends = shape.noun_phrase(shape.any_number(back, "preposition", 2), 2)
    return shape


def _go() -> Shape:
    """``go back to the kitchen``: back* to* name."""
    shape = Shape()
    back = shape.any_number(START, "back", 1)
    shape.ends = shape.noun_phrase(shape.any_number(back, "to", 2), 1)
    return shape


SHAPES = {
    "open": _one_name(),
    "close": _one_name(),
    "take": _take(),
    "put": _put(),
    "go": _go(),
    "examine": _one_name(),
    "done": Shape(),
}


# --- readings --------------------------------------------------------------------------------


class Trail(NamedTuple):
    """A reading of the words so far: the last words, and the trail before them."""

    worth: Worth
    step: Step | None = None
    words: str = ""
    before: Trail | None = None


def _best_reading(
    words: list[str], shape: Shape, language: Language
) -> tuple[str | None, str | None, str | None] | None:
    """The first name, the second name and the preposition of the best reading, if there is one."""
    trails: list[dict[int, Trail]] = [{} for _ in range(len(words) + 1)]
    trails[0][0] = Trail((0, 0, 0, 0))
    for position in range(len(words)):
        for state, trail in trails[position].items():
            for step in shape.steps[state]:
                for read in _readable(words, position, step.role, language):
                    longer = _extended(trail, step, read)
                    reached = trails[position + len(read)]
                    if step.target not in reached or longer.worth > reached[step.target].worth:
                        reached[step.target] = longer
    ends = [trail for state, trail in trails[-1].items() if state in shape.ends]
    return _parts(max(ends, key=lambda trail: trail.worth)) if ends else None


def _readable(
    words: list[str], position: int, role: str, language: Language
) -> Iterable[list[str]]:
    """The words from a position on that can have a role."""
    if role == "word":
        return [words[position : position + 1]]
    return [
        phrase
        for phrase in language.roles[role].get(words[position], ())
        if words[position : position + len(phrase)] == phrase
    ]


def _extended(trail: Trail, step: Step, read: list[str]) -> Trail:
    function, first_part, second_part, length = trail.worth
    worth = (
        function + len(read) * (step.role in FUNCTION_ROLES),
        first_part + (step.optional_part == 1),
        second_part + (step.optional_part == 2),
        length + (step.name == 1),
    )
    return Trail(worth, step, " ".join(read), trail)


FUNCTION_ROLES = frozenset({"determiner", "adjective", "preposition"})


def _parts(trail: Trail) -> tuple[str | None, str | None, str | None]:
    names: dict[int, list[str]] = {1: [], 2: [], 3: []}
    preposition = None
    while trail.step is not None and trail.before is not None:
        if trail.step.role == "word":
            names[trail.step.name].insert(0, trail.words)
        elif trail.step.role == "preposition":
            preposition = preposition or trail.words
        trail = trail.before
    return " ".join(names[1]) or None, " ".join(names[2]) or None, preposition
