"""The level `mini`: grids of three by three cells in which every filled cell shows its name.

The description of a grid is the name of a cell that is filled in it and in no other.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import cache

from playpen_clembench.grids import format_grid
from playpen_clembench.referencegame.replies import words_of

COLUMNS, ROWS = "abc", "123"
EMPTY = "□"
FILLED_CELLS = 3


@cache
def grids() -> tuple[str, ...]:
    """All grids of the level."""
    names = [column + row for row in ROWS for column in COLUMNS]
    return tuple(
        format_grid(
            [column + row if column + row in filled else EMPTY for column in COLUMNS]
            for row in ROWS
        )
        for filled in itertools.combinations(names, FILLED_CELLS)
    )


def telling_cell(target: str, others: Sequence[str]) -> str | None:
    """The first cell, row by row, that is filled in the target only; `None` if there is none."""
    taken = {EMPTY}.union(*(other.split() for other in others))
    return next((cell for cell in target.split() if cell not in taken), None)


def prompts(for_giver: Sequence[str], for_follower: Sequence[str]) -> dict[str, str]:
    """The texts of an instance: few words, and the language's own forms of replies.

    Args:
        for_giver: the three grids in the giver's order, the target first.
        for_follower: the three grids in the follower's order.
    """
    words = words_of("en")
    target, *others = for_giver
    # Every row, because so small a model does not easily see which grid a cell belongs to.
    labelled = [
        "\n".join(f"{names[0]} {row}" for row in grid.split("\n"))
        for names, grid in zip(words.labels, for_follower, strict=True)
    ]
    expression_pattern, answer_pattern = words.patterns
    return {
        "player_1_prompt_header": "\n\n".join(
            [f"describe\n{target}", *(f"not\n{other}" for other in others)]
        ),
        "player_2_prompt_header": "\n\n".join([*labelled, "TARGET_EXPRESSION"]),
        "player_1_response_pattern": expression_pattern,
        "player_2_response_pattern": answer_pattern,
    }
