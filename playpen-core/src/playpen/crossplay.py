"""Cross-play: every player with every other one, in every distribution of the roles.

Self-play shows what players have agreed upon with themselves; with others it may be worth nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from playpen.completeness import Coverage, coverage_of
from playpen.plugins import get_game
from playpen.runner import Cast, make_cast
from playpen.scoring import Results, results_of
from playpen.statistics import Scores, score_intervals
from playpen.store import Run

Seats = tuple[int, ...]
"""Numbers of the players (from 0) in the roles of a game, in the order of the roles."""


class Cell(NamedTuple):
    """How players did together; `scores` is `None` if nothing was played."""

    scores: Scores | None
    coverage: Coverage


def seatings(players: int, roles: int) -> Iterator[Seats]:
    """Every distribution of roles among players, self-play included."""
    return itertools.product(range(players), repeat=roles)


def cast_of(specs: Sequence[str], roles: Sequence[str], seats: Seats) -> Cast:
    """The cast of a seating; who plays several roles is one player in all of them.

    Raises:
        SpecError: a spec is malformed.
    """
    if len(set(seats)) == 1:
        return make_cast([(None, specs[seats[0]])])
    cast = make_cast([])
    for number in dict.fromkeys(seats):
        [(label, spec)] = make_cast([(None, specs[number])]).specs.items()
        # The same spec given twice is two players.
        copies = sum(other == specs[number] for other in specs[:number])
        label = f"{label}#{copies + 1}" if copies else label
        cast.specs[label] = spec
        for role, seat in zip(roles, seats, strict=True):
            if seat == number:
                cast.by_role[role] = label
    return cast


def cells(runs: Mapping[tuple[str, Seats], Run], *, seed: int = 0) -> dict[str, dict[Seats, Cell]]:
    """Per game, how the players of each seating did; under "" their averages over games.

    Averages are given over games with the same number of roles, if there are several.

    Args:
        runs: by game and seating.
        seed: of the resampling.

    Raises:
        RunError: a run is damaged.
    """
    results: dict[tuple[str, Seats], Results] = {}
    found: dict[str, dict[Seats, Cell]] = {}
    for (name, seats), run in runs.items():
        results[name, seats] = results_of(run.episodes(), {name: get_game(name)})
        cell = _cell(results[name, seats], coverage_of(run)[name], seed)
        found.setdefault(name, {})[seats] = cell
    games = list(found)  # in their order, or the resampling would depend on hashes
    if len(games) > 1 and len({len(seats) for _, seats in runs}) == 1:
        found[""] = {}
        for seats in dict.fromkeys(seats for _, seats in runs):
            together: Results = {}
            coverage = Coverage()
            for name in games:
                together |= results[name, seats]
                coverage += found[name][seats].coverage
            found[""][seats] = _cell(together, coverage, seed)
    return found


def _cell(results: Results, coverage: Coverage, seed: int) -> Cell:
    return Cell(score_intervals(results, seed=seed) if results else None, coverage)
