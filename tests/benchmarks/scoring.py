"""How long scoring 100,000 recorded episodes takes, on one core (target: 20 s).

Episodes of five games are played by their oracles and recorded first; then the whole of `score`
(clemscore and counts) and of `eval` (also intervals, coverage and a check of every line) is timed
in processes of their own.

    python tests/benchmarks/scoring.py [EPISODES]
"""

from __future__ import annotations

import resource
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

PLAYPEN = str(Path(sysconfig.get_path("scripts")) / "playpen")
GAMES = ("taboo", "wordle", "referencegame", "guesswhat", "privateshared")
TARGET = 20.0


def main() -> None:
    """Record, and time both commands."""
    total = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as folder:
        run = f"{folder}/run"
        call = ["play", *GAMES, "-p", "program:oracle", "-n", str(total // len(GAMES)), "-o", run]
        subprocess.run([PLAYPEN, *call], check=True, capture_output=True)
        size = Path(run, "episodes.jsonl").stat().st_size / 1e6
        print(f"{total:,} episodes of {', '.join(GAMES)}: {size:,.0f} MB")
        for call in (["score", run], ["eval", run, "-o", f"{folder}/out"]):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run([PLAYPEN, *call], check=True, capture_output=True)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            print(
                f"playpen {call[0]:5}  {seconds:5.1f} s of CPU  ({total / seconds:,.0f}/s; "
                f"target {TARGET:.0f} s; peak memory so far {after.ru_maxrss / 1024:,.0f} MiB)"
            )


if __name__ == "__main__":
    main()
