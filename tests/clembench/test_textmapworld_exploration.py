"""Good moves, loops and the similarity of maps (docs/rules/textmapworld.md, "Scores")."""

from __future__ import annotations

import itertools
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from playpen_clembench.textmapworld.exploration import best_next_rooms, count_loops, explore
from playpen_clembench.textmapworld.graph_distance import (
    FAR,
    Shape,
    common_edges,
    edit_distance,
    shape_of,
    similarity,
)
from playpen_clembench.textmapworld.maps import distances, graph_of


def graph(*edges: str):
    return graph_of(sorted({room for edge in edges for room in edge}), edges)


def best_rooms(rooms, here: str, visited: str) -> set[str]:
    names = list(rooms)
    neighbours = tuple(sum(1 << names.index(other) for other in rooms[room]) for room in names)
    bits = best_next_rooms(neighbours, names.index(here), sum(1 << names.index(r) for r in visited))
    return {room for place, room in enumerate(names) if bits >> place & 1}


def best_rooms_by_sequences(rooms, here: str, visited: str) -> set[str]:
    """The search as docs/rules/textmapworld.md, "Scores", words it."""
    frontier = {other for room in visited for other in rooms[room]} - set(visited)
    level = [(here,)]
    while True:
        level = [
            (*sequence, room)
            for sequence in level
            for room in (rooms[sequence[-1]] - set(sequence) or rooms[sequence[-1]])
        ]
        best = {sequence[1] for sequence in level if frontier <= set(sequence)}
        if best:
            return best


@pytest.mark.parametrize(
    ("edges", "here", "visited", "best"),
    [
        (["AB", "AC", "BD"], "A", "A", "C"),
        (["AB", "AC", "CD", "DE"], "A", "A", "B"),
        (["AB", "AC", "CD", "DE"], "C", "AC", "A"),
        (["AB", "AC", "BD"], "B", "AB", "D"),
    ],
)
def test_examples_of_best_next_rooms(edges, here, visited, best):
    assert best_rooms(graph(*edges), here, visited) == set(best)


@st.composite
def walks(draw):
    """A small connected graph and a walk on it."""
    size = draw(st.integers(2, 6))
    edges = {(draw(st.integers(0, k - 1)), k) for k in range(1, size)}
    pairs = list(itertools.combinations(range(size), 2))
    edges |= set(draw(st.lists(st.sampled_from(pairs), max_size=2)))
    names = "ABCDEF"[:size]
    rooms = graph_of(names, [names[a] + names[b] for a, b in sorted(edges)])
    path = [draw(st.sampled_from(names))]
    for _ in range(draw(st.integers(0, 8))):
        path.append(draw(st.sampled_from(sorted(rooms[path[-1]]))))
    return rooms, path


@settings(max_examples=150, deadline=None)
@given(walks())
def test_a_walk_is_measured_as_the_rules_word_it(walk):
    rooms, path = walk
    measured = explore(rooms, path)
    good = []
    for place, room in enumerate(path[1:], 1):
        visited = "".join(set(path[:place]))
        unfinished = len(visited) < len(rooms)
        good.append(unfinished and room in best_rooms_by_sequences(rooms, path[place - 1], visited))
    assert measured.good_moves == tuple(good)
    assert measured.visited == len(set(path))
    assert measured.seen == len({n for room in path for n in rooms[room]} | {path[0]})
    assert measured.exploration == pytest.approx(100 * len(set(path)) / len(rooms))
    assert measured.efficiency == pytest.approx(100 * sum(good) / len(good) if good else 0)
    parts = (measured.efficiency, measured.exploration)
    harmonic = 0 if 0 in parts else 2 / (1 / parts[0] + 1 / parts[1])
    assert measured.quality == pytest.approx(harmonic)
    assert 0 <= measured.quality <= 100


def test_a_whole_grid_of_rooms_is_measured_at_once():
    """Sixteen rooms with all doors: the sequences of rooms are too many to be listed."""
    cells = list(itertools.product(range(4), repeat=2))
    names = {cell: f"{cell}" for cell in cells}
    edges = [
        (names[a], names[b])
        for a, b in itertools.combinations(cells, 2)
        if abs(a[0] - b[0]) + abs(a[1] - b[1]) == 1
    ]
    snake = [(x, y if x % 2 == 0 else 3 - y) for x in range(4) for y in range(4)]
    measured = explore(graph_of(list(names.values()), edges), [names[cell] for cell in snake])
    assert (measured.visited, measured.seen, measured.exploration) == (16, 16, 100)


def test_distances():
    assert distances(graph("AB", "BC", "CD", "BD"), "A") == {"A": 0, "B": 1, "C": 2, "D": 2}


@pytest.mark.parametrize(
    ("path", "kept", "forgotten"),
    [
        ("A", 0, 0),
        ("ABA", 0, 0),
        ("ABAB", 1, 1),
        ("ABABA", 2, 1),
        ("ABABABA", 4, 1),
        ("ABABABAB", 5, 2),
        ("ABCA", 0, 0),
        ("ABCACA", 1, 1),
        ("AAAA", 1, 1),
    ],
)
def test_loops(path, kept, forgotten):
    assert count_loops(path, forget=False) == kept
    assert count_loops(path, forget=True) == forgotten


# --- drawn maps ----------------------------------------------------------------------------------


def distance_by_permutations(real, drawn) -> int:
    """Every way to place the nodes of the smaller graph on those of the larger."""
    (_, small), (_, large) = sorted(((len(g[0]), g) for g in (real, drawn)), key=lambda g: g[0])
    fewest = None
    for images in itertools.permutations(large[0], len(small[0])):
        on = dict(zip(small[0], images, strict=True))
        moved = {frozenset(on[end] for end in edge) for edge in small[1]}
        cost = len(large[0]) - len(small[0]) + len(moved ^ large[1])
        fewest = cost if fewest is None else min(fewest, cost)
    return fewest


@st.composite
def graphs(draw, *, loops: bool):
    nodes = "ABCDEF"[: draw(st.integers(0, 6))]
    pairs = itertools.combinations_with_replacement if loops else itertools.combinations
    possible = [frozenset(pair) for pair in pairs(nodes, 2)]
    edges = draw(st.sets(st.sampled_from(possible))) if possible else set()
    return nodes, edges


def shape(drawn) -> Shape:
    nodes, edges = drawn
    return shape_of(nodes, [sorted(edge) * (3 - len(edge)) for edge in edges])


@settings(max_examples=150, deadline=None)
@given(graphs(loops=False), graphs(loops=True))
def test_the_edit_distance_is_exact(real, drawn):
    assert edit_distance(shape(real), shape(drawn)) == distance_by_permutations(real, drawn)


def test_names_ends_and_repetitions_of_a_drawn_map():
    real = shape_of(["Hall", "Attic"], [["Hall", "Attic"]])
    for nodes, edges in [
        (["hall", "ATTIC", "Hall"], [["HALL", "attic"], ["Attic", "Hall"], ["Hall", "Attic"]]),
        ([], [["x", "y"]]),
        (["x"], [["y", "x"]]),
    ]:
        assert shape_of(nodes, edges).edges == real.edges
        assert edit_distance(real, shape_of(nodes, edges)) == 0


@pytest.mark.parametrize(
    ("edges", "distance", "expected"),
    [
        (["DC", "CB", "BA"], 0, 100),
        (["AB", "BC", "CD", "DA"], 1, 75.51),
        (["AB", "BC"], 2, 53.79),
        (["AB", "BC", "AA"], 3, 36.49),
        (["AB"], 4, 23.84),
    ],
)
def test_similarities_of_the_rules(edges, distance, expected):
    real, drawn = shape_of("ABCD", ["AB", "BC", "CD"]), shape_of("", edges)
    assert edit_distance(real, drawn) == distance
    assert similarity(real, drawn) == pytest.approx(expected, abs=0.005)


def test_absurdly_large_maps_are_compared_by_their_sizes():
    real = shape_of("ABCDEFGH", ["AB", "BC", "CD", "DE", "EF", "FG", "GH"])
    star = shape_of([], [("hub", str(number)) for number in range(5000)])
    assert edit_distance(real, star) == 4993 + 4993
    assert similarity(real, star) == 0


def test_a_search_for_common_edges_ends():
    """Without a limit, this takes hours."""
    rng = random.Random(3)
    pairs = [(str(a), str(b)) for a, b in itertools.combinations(range(26), 2)]
    first, second = (shape_of([], rng.sample(pairs, 40)).neighbours for _ in range(2))
    assert 10 <= common_edges(*sorted([first, second], key=len)) < 40


def test_far_is_far_enough():
    assert 200 / (1 + math.exp(FAR / 2)) < 1e-7
