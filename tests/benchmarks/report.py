"""A report of 5,000 episodes: how large it is and how soon it opens (targets: 30 MB, 3 s).

A program that says 150 new words each time describes words of taboo; the page is opened from the
disk by Chromium (/usr/bin/chromium), several times, until its list of episodes can be used.

    python tests/benchmarks/report.py [EPISODES]
"""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

from playpen import Conversation

PLAYPEN = str(Path(sysconfig.get_path("scripts")) / "playpen")
ROUNDS = 5
WORDS = 150
QUIET = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
]  # fmt: skip


def talkative(conversation: Conversation) -> str:
    """Says something else each time, as models do; what is said again takes no room in a page."""
    chance = random.Random(f"{conversation.sampling_seed}/{len(conversation.messages)}")
    words = " ".join(f"{chance.getrandbits(24):x}" for _ in range(WORDS))
    return f"CLUE: {words}" if conversation.role == "describer" else "GUESS: nothing"


def main() -> None:
    """Play, write the page, and open it."""
    total = int(sys.argv[1]) if len(sys.argv) > 1 else 5_000
    with tempfile.TemporaryDirectory() as folder:
        run, page = Path(folder, "run"), Path(folder, "report.html")
        call = [PLAYPEN, "play", "taboo", "-p", "program:report:talkative", "-n", str(total)]
        here = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
        subprocess.run([*call, "-o", str(run)], check=True, capture_output=True, env=here)
        began = time.perf_counter()
        subprocess.run([PLAYPEN, "report", str(run), "-o", str(page)], check=True)
        made = time.perf_counter() - began
        recorded = (run / "episodes.jsonl").stat().st_size / 1e6
        print(f"{total:,} episodes: {recorded:.0f} MB recorded, page made in {made:.1f} s")
        print(f"size   {page.stat().st_size / 1e6:5.1f} MB  (target 30 MB)")
        seconds = statistics.median(opening_times(page))
        print(f"opens  {seconds:5.2f} s   (target 3 s; median of {ROUNDS})")


def opening_times(page: Path) -> list[float]:
    """Seconds until the list of episodes is there, each time in a new tab."""
    times = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=QUIET)
        for _ in range(ROUNDS):
            tab = browser.new_page()
            began = time.perf_counter()
            tab.goto(page.as_uri())
            tab.locator("#list tbody tr").first.wait_for()
            times.append(time.perf_counter() - began)
            tab.close()
        browser.close()
    return times


if __name__ == "__main__":
    main()
