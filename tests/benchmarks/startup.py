"""CPU time of the commands that people wait for, with torch installed (target: under 300 ms)."""

from __future__ import annotations

import importlib.util
import resource
import statistics
import subprocess
import sys
from pathlib import Path

PLAYPEN = Path(sys.executable).with_name("playpen")
COMMANDS = (["--help"], ["list"], ["list", "games"], ["--version"])
ROUNDS = 7


def cpu_seconds(arguments: list[str]) -> float:
    """User and system time of one run of the command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([PLAYPEN, *arguments], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Print the median of each command."""
    installed = importlib.util.find_spec("torch") is not None
    print(f"torch is {'installed' if installed else 'NOT installed'}")
    for arguments in COMMANDS:
        cpu_seconds(arguments)  # warms the file cache
        times = [cpu_seconds(arguments) for _ in range(ROUNDS)]
        print(f"playpen {' '.join(arguments):12} {1000 * statistics.median(times):6.0f} ms of CPU")


if __name__ == "__main__":
    main()
