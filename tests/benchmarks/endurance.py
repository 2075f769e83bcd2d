"""100,000 recorded episodes of programs: memory and episodes per second from start to end.

Run: python tests/benchmarks/endurance.py [EPISODES] [PICTURE]

Draws `docs/endurance.svg` and prints what is in it.
"""

from __future__ import annotations

import itertools
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from playpen.cast import make_cast
from playpen.instance_sets import parse_instances
from playpen.plugins import get_game
from playpen.runner import create_run, play_run

GAME = "taboo"
POINTS = 100
PICTURE = Path(__file__).parents[2] / "docs" / "endurance.svg"


class Moment(NamedTuple):
    """Episodes done, seconds since the start, and resident memory in MiB."""

    episodes: int
    seconds: float
    memory: float


def memory() -> float:
    """Resident memory of this process in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def endure(episodes: int, folder: Path) -> list[Moment]:
    """Play, and look at the clock and the memory a hundred times."""
    game = get_game(GAME)
    instances = parse_instances(game.generate("train", level="mini"), game, split="train")
    run = create_run(
        folder / "run", {GAME: instances}, make_cast([(None, "program:oracle")]), episodes=episodes
    )
    began = time.perf_counter()
    moments = [Moment(0, 0.0, memory())]
    done, every = 0, max(1, episodes // POINTS)

    def finished(_: object) -> None:
        nonlocal done
        done += 1
        if done % every == 0:
            moments.append(Moment(done, time.perf_counter() - began, memory()))

    play_run(run, finished=finished)
    assert done == episodes
    return moments


def rates(moments: list[Moment]) -> list[float]:
    """Episodes per second between one moment and the next."""
    return [
        (after.episodes - before.episodes) / (after.seconds - before.seconds)
        for before, after in itertools.pairwise(moments)
    ]


def draw(moments: list[Moment], picture: Path) -> None:
    """Two curves over the episodes done."""
    import matplotlib.pyplot as plt

    plt.rcParams["svg.hashsalt"] = "playpen"
    figure, (above, below) = plt.subplots(2, 1, figsize=(7, 4), sharex=True, layout="constrained")
    counts = [moment.episodes for moment in moments]
    above.plot(counts[1:], rates(moments))
    above.set_ylabel("episodes / s")
    below.plot(counts, [moment.memory for moment in moments])
    below.set_ylabel("memory, MiB")
    below.set_xlabel(f"recorded episodes of {GAME}, oracle in both roles")
    for axes in (above, below):
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
    figure.savefig(picture, metadata={"Date": None})


def main() -> None:
    """Measure, print, draw."""
    episodes = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    picture = Path(sys.argv[2]) if len(sys.argv) > 2 else PICTURE
    with tempfile.TemporaryDirectory() as folder:
        moments = endure(episodes, Path(folder))
    found = rates(moments)
    print(f"{episodes:,} episodes in {moments[-1].seconds:.1f} s")
    for name, part in (("first", found[:10]), ("last", found[-10:])):
        print(f"episodes/s, {name} tenth: {sum(part) / len(part):,.0f}")
    seen = [moment.memory for moment in moments]
    print(
        f"memory, MiB: {seen[0]:.0f} before what the game imports, {seen[1]:.0f} after the first "
        f"hundredth, {max(seen):.0f} at most, {seen[-1]:.0f} at the end"
    )
    draw(moments, picture)


if __name__ == "__main__":
    main()
