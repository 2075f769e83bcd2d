"""Instances of codenames: boards of the thirteen experiments.

See docs/rules/codenames.md, "Instances" and "Our own part".

The split of a board depends on whose its words are: boards share words, but no two of them assign
their words alike.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

from playpen.instance import split_of
from playpen_clembench.codenames import material
from playpen_clembench.codenames.board import ASSIGNMENTS
from playpen_clembench.codenames.fingerprint import fingerprint
from playpen_clembench.levels import chosen_levels

COUNTS = {"team": 9, "opponent": 8, "innocent": 7, "assassin": 1}
FLAGS = {
    "IGNORE RAMBLING": False,
    "IGNORE FALSE TARGETS OR GUESSES": False,
    "REPROMPT ON ERROR": False,
    "STRIP WORDS": True,
    "IGNORE NUMBER OF TARGETS": False,
}
READY = {"train": 50, "validation": 10, "test": 10}
"""Boards per level in the ready splits."""

Assigned: TypeAlias = dict[str, list[str]]


class Level(NamedTuple):
    """What sets an experiment apart from the others."""

    variable: str
    wordlist: str = "everyday"
    generator: str = "random"
    difficulty: int = 1
    counts: Mapping[str, int] = COUNTS


LEVELS = {
    "risk_low": Level("Risk", counts={**COUNTS, "innocent": 8, "assassin": 0}),
    "risk_high": Level("Risk", counts={**COUNTS, "innocent": 3, "assassin": 5}),
    "association_easy": Level("Word Assignments", "themes", "easy word assignments"),
    "association_difficult": Level("Word Assignments", "themes", "difficult word assignments"),
    "opponent_none": Level("Opponent Difficulty", difficulty=0),
    "opponent_easy": Level("Opponent Difficulty"),
    "opponent_difficult": Level("Opponent Difficulty", difficulty=2),
    "frequency_low": Level("Word Frequency", "rare"),
    "frequency_high": Level("Word Frequency", "frequent"),
    "unambiguous": Level("Word Ambiguity", "unambiguous"),
    "ambiguous": Level("Word Ambiguity", "ambiguous"),
    "concrete": Level("Word Concreteness", "concrete"),
    "abstract": Level("Word Concreteness", "abstract"),
}


def levels() -> tuple[str, ...]:
    """The thirteen experiments of clembench."""
    return tuple(LEVELS)


def generate(split: str, *, seed: int, level: str | None, n: int | None) -> dict[str, Any]:
    """See `playpen.Game.generate`.

    Raises:
        InstanceError: unknown split or level.
    """
    names = chosen_levels("codenames", LEVELS, split, level)
    wanted = READY[split] if n is None else n
    return {"experiments": [_experiment(name, split, seed, wanted) for name in names]}


def _experiment(name: str, split: str, seed: int, n: int) -> dict[str, Any]:
    level = LEVELS[name]
    boards = _boards(level, random.Random(f"codenames/{seed}/{name}/{split}"))
    chosen = (board for board in boards if split_of(fingerprint(board["assignments"])) == split)
    return {
        "name": name,
        "variable": level.variable,
        "number of instances": n,
        "generator": level.generator,
        "opponent difficulty": level.difficulty,
        "assignments": dict(level.counts),
        "wordlist": level.wordlist,
        "flags": dict(FLAGS),
        "game_instances": [
            {"game_id": number, **board} for number, board in zip(range(n), chosen, strict=False)
        ],
    }


def _boards(level: Level, rng: random.Random) -> Iterator[dict[str, Any]]:
    """Random boards; endless."""
    while True:
        if level.generator == "random":
            board = rng.sample(material.words(level.wordlist), sum(level.counts.values()))
            unassigned = rng.sample(board, len(board))
            assignments = {
                name: [unassigned.pop() for _ in range(level.counts[name])] for name in ASSIGNMENTS
            }
            yield {"board": board, "assignments": assignments}
        else:
            assign = _together if level.generator.startswith("easy") else _apart
            assignments, used = assign(level.counts, rng)
            board = [word for words in assignments.values() for word in words]
            for words in (board, *assignments.values()):
                rng.shuffle(words)
            yield {"board": board, "assignments": assignments, "private": {"categories": used}}


def _together(counts: Mapping[str, int], rng: random.Random) -> tuple[Assigned, list[str]]:
    """Related words share an assignment."""
    draws = _Draws(rng)
    assignments: Assigned = {name: [] for name in ASSIGNMENTS}
    for name, words in assignments.items():
        while open_slots := counts[name] - len(words):
            words += draws.next(open_slots)
    return assignments, draws.used


def _apart(counts: Mapping[str, int], rng: random.Random) -> tuple[Assigned, list[str]]:
    """Related words get different assignments, as far as these have open slots."""
    draws = _Draws(rng)
    assignments: Assigned = {name: [] for name in ASSIGNMENTS}
    open_slots = {name: count for name, count in counts.items() if count}
    while open_slots:
        order: list[str] = []
        for word in draws.next(sum(open_slots.values())):
            order = order or rng.sample(list(open_slots), len(open_slots))
            name = order.pop()
            assignments[name].append(word)
            open_slots[name] -= 1
            if not open_slots[name]:
                del open_slots[name]
    return assignments, draws.used


class _Draws:
    """Draws words from one unused theme after another; large themes come sooner."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._themes = dict(material.themes())
        self.used: list[str] = []

    def next(self, open_slots: int) -> list[str]:
        """Two to four words of a theme; never so many that just one slot stays open."""
        names = list(self._themes)
        (theme,) = self._rng.choices(names, [len(self._themes[name]) for name in names])
        self.used.append(theme)
        size = self._rng.choice([size for size in (2, 3, 4) if size != open_slots - 1])
        return self._rng.sample(self._themes.pop(theme), min(size, open_slots))
