"""Character grids and the edit distance."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from playpen_clembench.grids import edit_distance, format_grid, parse_grid

SHORT = st.text(alphabet="X□ \n", max_size=12)


def table_distance(first: str, second: str) -> int:
    """The textbook table, for comparison."""
    row = list(range(len(second) + 1))
    for i, a in enumerate(first, 1):
        previous, row[0] = row[0], i
        for j, b in enumerate(second, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (a != b))
    return row[-1]


@given(SHORT, SHORT)
def test_edit_distance_agrees_with_the_table(first: str, second: str) -> None:
    assert edit_distance(first, second) == table_distance(first, second)


def test_edit_distance_of_long_texts() -> None:
    assert edit_distance("kitten" * 40, "sitting" * 40) == table_distance(
        "kitten" * 40, "sitting" * 40
    )


def test_a_grid_text_is_parsed_and_formatted() -> None:
    assert parse_grid("X □\n□ X") == (("X", "□"), ("□", "X"))
    assert format_grid(["X□", "□X"]) == "X □\n□ X"


@given(SHORT)
def test_formatting_undoes_parsing(text: str) -> None:
    assert format_grid(parse_grid(text)) == text
