"""What must hold for the tokens of episodes, whichever way vLLM is reached."""

from __future__ import annotations

from tests.core.model_play import rows_of

from playpen import Episode


def check_fed(episodes: list[Episode], fed: list[list[int]]) -> None:
    """Every reply's prompt and sampled ids, as the rows have them, are what the engine was fed.

    Args:
        episodes: all that was played.
        fed: for each request, in any order, the ids that were sent and the ids that came back.
    """
    expected = [row.ids[:end] for row in rows_of(episodes) for _, start, end in row.spans]
    assert sorted(fed) == sorted(ids for ids in expected if ids)
