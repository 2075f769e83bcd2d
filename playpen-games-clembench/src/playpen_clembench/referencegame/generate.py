"""Instances of the reference game (docs/rules/referencegame.md, "Our own part").

A level is a list of grids.  Each grid of it is a target once; the two grids of the list that are
closest to it as texts are its distractors, and the follower sees the three in three orders.

The levels other than the random one have few grids.  Where their whole list does not give enough
puzzles for a split, samples of the list do: in a smaller list a target has other neighbours.

The level `mini` is not among the ready instances.  Of its puzzles only those are used in which one
cell tells the target from both distractors.
"""

from __future__ import annotations

import importlib.resources
import itertools
import random
from collections.abc import Iterable, Iterator, Sequence
from functools import cache, lru_cache, partial
from typing import Any

from playpen.conversation import derive_seed
from playpen.instance import InstanceError, split_of
from playpen_clembench.grids import edit_distance, format_grid
from playpen_clembench.levels import chosen_levels
from playpen_clembench.mini import MINI, SIZES
from playpen_clembench.referencegame import mini
from playpen_clembench.referencegame.replies import words_of
from playpen_clembench.referencegame.triplet import Triplet
from playpen_clembench.shapes import SIZE, SQUARE, drawn

FILLED, EMPTY = "X", "□"
RANDOM = "random_grids"
LEVELS = ("letter_grids", "number_grids", "line_grids_rows", "line_grids_columns", RANDOM)
"""The levels of the ready splits."""
ALL_LEVELS = (*LEVELS, MINI)

LIST_LENGTH = 6
"""Grids in a list that is sampled or made at random; as in clembench."""
READY_RANDOM = {"train": 60, "validation": 15, "test": 15}
"""Triplets with random grids in the ready splits."""
FEWEST = 3
"""Triplets that every level has at least in every ready split."""
FRUITLESS = 500
"""Lists in a row without a new puzzle after which a level counts as used up."""


def levels() -> tuple[str, ...]:
    """The kinds of grids, as in clembench, and `mini`."""
    return ALL_LEVELS


def generate(
    split: str, *, seed: int = 0, level: str | None = None, n: int | None = None
) -> dict[str, Any]:
    """Make the instances of a split.

    Args:
        split: only triplets whose fingerprint belongs to this split are used.
        seed: of the random and sampled lists, and of the order of the triplets.
        level: one of `ALL_LEVELS`; all of `LEVELS` if `None`.
        n: instances per level.  If `None`, everything that the whole list of a level gives (at
            least three triplets), `READY_RANDOM` triplets of random grids, and `SIZES` instances
            of the level `mini`.

    Raises:
        InstanceError: unknown split or level, or the level has fewer than `n` instances.
    """
    experiments = []
    names = chosen_levels("referencegame", LEVELS if level is None else ALL_LEVELS, split, level)
    for name in names:
        items = list(itertools.islice(_instances(name, split, seed), _wanted(name, split, n)))
        if n is not None and len(items) < n:
            raise InstanceError(
                f"referencegame: level {name!r} gives {len(items)} instances of the split "
                f"{split!r}, not {n}; ask for fewer, or for {RANDOM!r}"
            )
        experiments.append({"name": name, "game_instances": items})
    return {"experiments": experiments}


def _wanted(level: str, split: str, n: int | None) -> int:
    """How many instances of a level are made."""
    if n is not None:
        return n
    if level == RANDOM:
        return 3 * READY_RANDOM[split]
    if level == MINI:
        return SIZES[split]
    regular = sum(split_of(puzzle.fingerprint) == split for puzzle in triplets(grids_of(level)))
    return 3 * max(FEWEST, regular)


def _instances(level: str, split: str, seed: int) -> Iterator[dict[str, Any]]:
    """The instances in order: ``game_id % 3`` is the target's position in the follower's order."""
    labels = words_of("en").labels
    numbers = itertools.count()
    for puzzle in _puzzles(level, split, seed):
        for position, order in enumerate(puzzle.orders()):
            item = {
                "game_id": next(numbers),
                "player_1_target_grid": puzzle.target,
                "player_1_second_grid": puzzle.second,
                "player_1_third_grid": puzzle.third,
                "player_2_first_grid": order[0],
                "player_2_second_grid": order[1],
                "player_2_third_grid": order[2],
                "target_grid_name": list(labels[position]),
                "lang": "en",
                "p1_mode": "strict",
                "p2_mode": "strict",
            }
            if level == MINI:
                item |= mini.prompts((puzzle.target, puzzle.second, puzzle.third), order)
            yield item


def _puzzles(level: str, split: str, seed: int) -> Iterator[Triplet]:
    """Different triplets that belong to a split, until the level seems used up."""
    rng = random.Random(derive_seed("referencegame", seed, level))
    seen: set[str] = set()
    fruitless = 0
    for grids in _lists(level, rng):
        fruitless += 1
        puzzles = triplets(grids)
        rng.shuffle(puzzles)
        for puzzle in puzzles:
            mark = puzzle.fingerprint
            if level == MINI and not mini.telling_cell(
                puzzle.target, [puzzle.second, puzzle.third]
            ):
                continue
            if mark not in seen and split_of(mark) == split:
                seen.add(mark)
                fruitless = 0
                yield puzzle
        if fruitless == FRUITLESS:
            return


def _lists(level: str, rng: random.Random) -> Iterator[Sequence[str]]:
    """The lists of grids from which the triplets of a level are taken; endless."""
    if level == RANDOM:
        while True:
            yield [random_grid(rng) for _ in range(LIST_LENGTH)]
    whole = grids_of(level)
    yield whole
    while True:
        yield rng.sample(whole, LIST_LENGTH)


def triplets(grids: Sequence[str]) -> list[Triplet]:
    """Each grid as a target, with the two others that are closest to it.

    Closeness is the Levenshtein distance of the texts; of equals the earlier one is closer.
    """
    puzzles = []
    for target in grids:
        others = [grid for grid in grids if grid != target]
        others.sort(key=partial(_distance, target))
        puzzles.append(Triplet(target, others[0], others[1]))
    return puzzles


_distance = lru_cache(maxsize=16_384)(edit_distance)
"""Samples of one list ask for the same distances again and again."""


@cache
def grids_of(level: str) -> tuple[str, ...]:
    """The whole list of a level that has one."""
    if level == MINI:
        return mini.grids()
    if level == "letter_grids":
        return tuple(text for name, text in _glyphs().items() if name.isalpha())
    if level == "number_grids":
        return tuple(text for name, text in _glyphs().items() if name.isdigit())
    lines = [
        chosen for count in range(1, SIZE) for chosen in itertools.combinations(range(SIZE), count)
    ]
    if level == "line_grids_rows":
        return tuple(_grid((r, c) for r in chosen for c in range(SIZE)) for chosen in lines)
    return tuple(_grid((r, c) for r in range(SIZE) for c in chosen) for chosen in lines)


def random_grid(rng: random.Random) -> str:
    """A grid with 10 to 20 filled cells."""
    return _grid(rng.sample(SQUARE, rng.randint(10, 20)))


def _grid(filled: Iterable[tuple[int, int]]) -> str:
    """The text of the grid in which the given cells (row, column) are filled."""
    return drawn(frozenset(filled), FILLED, EMPTY)


def _glyphs() -> dict[str, str]:
    """Letter or digit to its grid, from the font file: blocks of a name and five lines."""
    path = importlib.resources.files(__package__).joinpath("resources", "font.txt")
    blocks = path.read_text(encoding="utf-8").strip().split("\n\n")
    glyphs = {}
    for block in blocks:
        name, *rows = block.split("\n")
        glyphs[name] = format_grid(row.replace("#", FILLED).replace(".", EMPTY) for row in rows)
    return glyphs
