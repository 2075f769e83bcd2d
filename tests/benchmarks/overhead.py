"""What the framework costs: Playpen against clemcore 3.7.2 on the same episodes.

Oracle self-play of taboo and wordle, recorded to disk.  Playpen plays with its oracles; clemcore
plays the same instances with the replies that the oracles gave, with its own runner and recorder
and small game masters written for this benchmark (``clemcore_side``).  The two alternate in one
run, each recording into fresh folders; the medians are compared.

The folders are on a memory file system where there is one: clemcore writes four or five small
files an episode, whose cost on a disk varies severalfold with what was deleted there before, to
clemcore's disadvantage.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from playpen import Ask, Experiment, Game, Instance, Lose, Reply, Role, get_game, ready_instances
from playpen.cast import make_cast
from playpen.episode import Episode
from playpen.referee import Referee
from playpen.runner import create_run, play_run
from playpen.store import Run
from playpen.terminal.plain_table import PlainTable
from playpen_clembench.wordle.material import keywords

HERE = Path(__file__).parent
REPOSITORY = HERE.parent.parent
CLEMCORE = REPOSITORY / ".venv-clemcore" / "bin" / "python"
ROUNDS = 5
EPISODES = {"taboo": 1200, "wordle": 600}


def clemcore_python() -> Path:
    """The interpreter of an environment with clemcore, made on first use."""
    if not CLEMCORE.exists():
        subprocess.run([sys.executable, "-m", "venv", CLEMCORE.parent.parent], check=True)
        subprocess.run([CLEMCORE, "-m", "pip", "install", "-q", "clemcore==3.7.2"], check=True)
    return CLEMCORE


def ours(game: str, folder: Path) -> tuple[float, Run]:
    """CPU seconds of a recorded run of oracle self-play, and the run."""
    instances = {game: ready_instances(get_game(game), "train")}
    cast = make_cast([(None, "program:oracle")])
    run = create_run(folder, instances, cast, episodes=EPISODES[game])
    begin = time.process_time()
    play_run(run)
    return time.process_time() - begin, run


def theirs(work: Path, folder: Path | None) -> float:
    """CPU seconds that clemcore takes for the same episodes."""
    recording = ["--record", "--out", str(folder)] if folder else ["--no-record"]
    command = [clemcore_python(), HERE / "clemcore_side" / "run.py", "--input", work, *recording]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit("the clemcore side failed; its message is above")
    return float(json.loads(done.stdout.splitlines()[-1])["cpu_seconds"])


def script_of(run: Run, game: str) -> dict[str, Any]:
    """A recorded run in the form that the clemcore side reads."""
    instances = {i.hash: i for i in run.instances()}
    roles = {role: f"Player {n}" for n, role in enumerate(get_game(game).role_names(), 1)}
    episodes = []
    for number, episode in enumerate(run.episodes()):
        instance = instances[episode.instance]
        episodes.append(
            {
                # A game id of its own for each repeat: clemcore names folders after it.
                "instance": {**instance.data, "game_id": number},
                "experiment": {
                    "name": episode.experiment,
                    **instance.experiment.config,
                    **texts(game, instance),
                },
                "replies": [[roles[said.role], said.reply.text] for said in episode.replies()],
                "outcome": "success" if episode.success else "lose" if episode.lose else "abort",
                "main_score": episode.main_score,
            }
        )
    return {"game": game, "episodes": episodes}


def texts(game: str, instance: Instance) -> dict[str, Any]:
    """Our own prompts and fragments as the experiment fields in which clembench carries them."""
    folder = REPOSITORY / f"playpen-games-clembench/src/playpen_clembench/{game}/prompts/en"
    if game == "taboo":
        return {
            f"{role}_initial_prompt": (folder / f"{role}.md").read_text(encoding="utf-8")
            for role in ("describer", "guesser")
        }
    return {
        "guesser_prompt": (folder / "guesser.md").read_text(encoding="utf-8"),
        "lang_keywords": {**keywords("en"), **instance["lang_keywords"]},
    }


class Echo(Game):
    """Two roles say a word each, five times: nothing but the framework's own work."""

    name = "echo"
    roles = (Role("a"), Role("b"))

    def play(self, instance: Instance) -> Any:
        """Ten questions and no rules."""
        for _ in range(5):
            yield Ask("a", "say something")
            yield Ask("b", "say something")
        return Lose()


def loop_rate(episodes: int = 20_000) -> float:
    """Episodes per CPU second of the referee alone, ten replies each, nothing recorded."""
    game, reply = Echo(), Reply("something")
    instance = Instance("echo", Experiment("x", {}), {"game_id": 0})
    begin = time.process_time()
    for _ in range(episodes):
        referee = Referee(game, instance, Episode(game="echo", instance="", players={}, events=[]))
        pending = referee.advance()
        while pending is not None:
            pending = referee.advance(reply)
    return episodes / (time.process_time() - begin)


def main() -> None:
    """Run everything and print the tables."""
    console = Console()
    table = PlainTable("game")
    for column in ("replies", "Playpen/s", "clemcore/s", "ratio", "clemcore unrecorded/s"):
        table.add_column(column, justify="right")
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as scratch:
        folder = Path(scratch)
        for game, count in EPISODES.items():
            _, warm = ours(game, folder / f"{game}-warm")
            work = folder / f"{game}.json"
            work.write_text(json.dumps(script_of(warm, game)), encoding="utf-8")
            mine, other = [], []
            for number in range(ROUNDS):
                mine.append(ours(game, folder / f"{game}-ours-{number}")[0])
                other.append(theirs(work, folder / f"{game}-theirs-{number}"))
            fast, slow = (count / statistics.median(seconds) for seconds in (mine, other))
            replies = sum(len(episode.replies()) for episode in warm.episodes()) / count
            table.add_row(
                game,
                f"{replies:.1f}",
                f"{fast:,.0f}",
                f"{slow:,.0f}",
                f"{fast / slow:.1f}",
                f"{count / theirs(work, None):,.0f}",
            )
        console.print("Oracle self-play, recorded: episodes per CPU second (target: 20x)")
        console.print(table)
    console.print(
        f"\nThe generator loop alone, 10 replies an episode: {loop_rate():,.0f} episodes/s "
        "on one core (target: more than 10,000)"
    )


if __name__ == "__main__":
    main()
