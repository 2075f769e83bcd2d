"""Oracle self-play of every installed game: episodes and replies per CPU second, not recorded."""

from __future__ import annotations

import time

from rich.console import Console

from playpen import get_game, make_player, play, ready_instances
from playpen.plugins import registry
from playpen.terminal.plain_table import PlainTable

BUDGET = 2.0
"""CPU seconds for each game."""


def main() -> None:
    """Print the table."""
    table = PlainTable("game")
    for column in ("episodes", "% success", "mean score", "episodes/s", "replies/s"):
        table.add_column(column, justify="right")
    oracle = make_player("program:oracle")
    for name in registry().games:
        game = get_game(name)
        instances = ready_instances(game, "train")
        play(game, oracle, instances[:20])  # fills the caches
        begin = time.process_time()
        episodes = []
        seed = 0
        while time.process_time() - begin < BUDGET:
            episodes += play(game, oracle, instances, episodes=50, seed=seed)
            seed += 1
        seconds = time.process_time() - begin
        replies = sum(len(episode.replies()) for episode in episodes)
        scores = [e.main_score for e in episodes if e.main_score is not None]
        table.add_row(
            name,
            str(len(episodes)),
            f"{100 * sum(e.success for e in episodes) / len(episodes):.1f}",
            f"{sum(scores) / len(scores):.1f}" if scores else "-",
            f"{len(episodes) / seconds:,.0f}",
            f"{replies / seconds:,.0f}",
        )
    Console().print(table)


if __name__ == "__main__":
    main()
