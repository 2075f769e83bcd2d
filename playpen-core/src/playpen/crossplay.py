"""Cross-play: every player with every other one, in every distribution of the roles.

Self-play shows what players have agreed upon with themselves; with others it may be worth nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from playpen.cast import Cast
from playpen.completeness import Coverage, coverage_of
from playpen.plugins import get_game, resolve_spec
from playpen.scoring import Results, results_of, score_ranges
from playpen.statistics import Scores, score_intervals
from playpen.store import Run

Seats = tuple[int, ...]
"""Numbers of the players (from 0) in the roles of a game, in the order of the roles."""


class Cell(NamedTuple):
    """How players did together; `scores` is `None` if nothing was played."""

    scores: Scores | None
    coverage: Coverage


Matrices = dict[str, dict[Seats, Cell]]
"""Per game, how the players of each seating did; under "" their averages over games."""


def seatings(players: int, roles: int) -> Iterator[Seats]:
    """Every distribution of roles among players, self-play included."""
    return itertools.product(range(players), repeat=roles)


def everybody(specs: Sequence[str]) -> Cast:
    """All players that take part, labelled by their numbers from 0.

    Raises:
        SpecError: a spec is malformed.
    """
    return Cast({str(number): str(resolve_spec(text)) for number, text in enumerate(specs)})


def cast_of(players: Cast, roles: Sequence[str], seats: Seats) -> Cast:
    """The cast of a seating; who plays several roles is one player in all of them.

    Args:
        players: `everybody`, whose to close they stay.
        roles: of the game.
        seats: who holds each role.
    """
    labels: dict[int, str] = {}
    for seat in dict.fromkeys(seats):
        spec = players.specs[str(seat)]
        # The same spec given twice is two players; with itself a player needs no number.
        copies = sum(players.specs[str(earlier)] == spec for earlier in range(seat))
        labels[seat] = f"{spec}#{copies + 1}" if copies and len(set(seats)) > 1 else spec
    members = {label: str(seat) for seat, label in labels.items()}
    if len(labels) == 1:
        return players.share(members, everyone=labels[seats[0]])
    return players.share(
        members, by_role={role: labels[seat] for role, seat in zip(roles, seats, strict=True)}
    )


def cells(runs: Mapping[tuple[str, Seats], Run]) -> Matrices:
    """Per game, how the players of each seating did; under "" their averages over games.

    Averages are given over games with the same number of roles, if there are several.

    Args:
        runs: by game and seating.

    Raises:
        RunError: a run is damaged.
    """
    results: dict[tuple[str, Seats], Results] = {}
    matrices: Matrices = {}
    for (name, seats), run in runs.items():
        results[name, seats] = results_of(run.episodes(), {name: get_game(name)})
        cell = _cell(results[name, seats], coverage_of(run)[name])
        matrices.setdefault(name, {})[seats] = cell
    games = list(matrices)
    if len(games) > 1 and len({len(seats) for _, seats in runs}) == 1:
        matrices[""] = {}
        for seats in dict.fromkeys(seats for _, seats in runs):
            together: Results = {}
            coverage = Coverage()
            for name in games:
                together |= results[name, seats]
                coverage += matrices[name][seats].coverage
            matrices[""][seats] = _cell(together, coverage)
    return matrices


def _cell(results: Results, coverage: Coverage) -> Cell:
    ranges = score_ranges({name: get_game(name) for name in results})
    return Cell(score_intervals(results, ranges) if results else None, coverage)
