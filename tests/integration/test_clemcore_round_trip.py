"""Our exports in the hands of clemcore 3.7.2 itself, and back.

clemcore lives in an environment of its own: it brings a hundred other distributions.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.benchmarks.overhead import script_of
from tests.core.sample_games import content

from playpen.cast import make_cast
from playpen.episode import Episode
from playpen.instance_sets import ready_instances
from playpen.interop.clemcore.exporting import export_run
from playpen.interop.clemcore.importing import import_results
from playpen.interop.clemcore.tables import Scored, scored_episodes, write_tables
from playpen.plugins import get_game
from playpen.runner import create_run, play_run
from playpen.scoring import score_episodes
from playpen.store import Run

REPOSITORY = Path(__file__).parents[2]
READY_MADE = REPOSITORY / ".venv-clemcore"
GAMES = ("taboo", "wordle", "referencegame")
ORACLE = "program:oracle"
WRONG = "program:tests.core.command_line:wrong"
UNTAGGED = "program:tests.core.command_line:untagged"
RUNS: dict[str, tuple[tuple[str, ...], list[tuple[str | None, str]], int]] = {
    "oracle": (GAMES, [(None, ORACLE)], 12),
    "broken": (GAMES, [(None, UNTAGGED)], 4),  # everything is aborted: no quality score
    "pair": (("taboo",), [("describer", ORACLE), ("guesser", WRONG)], 20),  # lost, with repeats
}
"""Games, players, and how many episodes of each game."""

# Where there is no environment, clemcore has to be installed, which takes minutes.
pytestmark = [pytest.mark.integration, *([] if READY_MADE.is_dir() else [pytest.mark.slow])]


@pytest.fixture(scope="module")
def clemcore(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment with clemcore 3.7.2."""
    folder = READY_MADE
    if not folder.is_dir():
        folder = tmp_path_factory.mktemp("clemcore")
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        pip = [str(folder / "bin" / "pip"), "install", "--quiet"]
        subprocess.run([*pip, "clemcore==3.7.2"], check=True)
    return folder / "bin"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """Recorded runs of programs."""
    folder = tmp_path_factory.mktemp("runs")
    made = {}
    for name, (games, players, number) in RUNS.items():
        instances = {game: ready_instances(get_game(game), "validation")[:12] for game in games}
        made[name] = create_run(folder / name, instances, make_cast(players), episodes=number)
        play_run(made[name])
    return made


@pytest.fixture(scope="module")
def results(runs: dict[str, Run], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All runs in one results tree."""
    root = tmp_path_factory.mktemp("results")
    for run in runs.values():
        export_run(run, root)
    return root


def clem(clemcore: Path, results: Path, *args: str) -> None:
    """Call clemcore's command line on a results tree; it leaves its log beside the tree."""
    subprocess.run(
        [clemcore / "clem", *args, "-r", results],
        cwd=results.parent,
        env={**os.environ, "TQDM_DISABLE": "1"},
        check=True,
        capture_output=True,
        timeout=300,
    )


def in_order_of(rows: list[Scored], raw: Path) -> list[Scored]:
    """Our rows in the order in which clemcore happened to find the files."""
    with raw.open(newline="", encoding="utf-8") as file:
        found = [tuple(row[1:5]) for row in csv.reader(file)]
    order = {place: number for number, place in reversed(list(enumerate(found)))}
    return sorted(rows, key=lambda r: order[r.game, r.model, r.experiment, r.episode])


@pytest.mark.parametrize("std", [False, True])
def test_clemcore_scores_an_export_as_we_do(
    clemcore: Path, runs: dict[str, Run], results: Path, tmp_path: Path, std: bool
) -> None:
    clem(clemcore, results, "eval", *(["--std"] if std else []))
    rows = [row for run in runs.values() for row in scored_episodes(run)]
    assert len(rows) == 3 * 12 + 3 * 4 + 20
    write_tables(in_order_of(rows, results / "raw.csv"), tmp_path, std=std)
    for name in ("results.csv", "raw.csv"):
        theirs = (results / name).read_text(encoding="utf-8")
        assert (tmp_path / name).read_text(encoding="utf-8") == theirs
    table = (tmp_path / "results.csv").read_text(encoding="utf-8").splitlines()
    assert [row.partition(",")[0] for row in table[1:]] == sorted(
        [ORACLE, UNTAGGED, f"{ORACLE}--{WRONG}"]
    )


def test_clemcore_reads_every_exported_episode(clemcore: Path, results: Path) -> None:
    clem(clemcore, results, "transcribe")
    episodes = {path.parent for path in results.rglob("interactions.json")}
    assert len(episodes) == 3 * 12 + 3 * 4 + 20
    for name in ("transcript.html", "transcript.tex"):
        assert {path.parent for path in results.rglob(name)} == episodes


SCORER = """
import json, sys
from clemcore.clemgame.metrics import GameScorer

class Scorer(GameScorer):
    def compute_round_score(self, number, events):
        pass
    def compute_episode_scores(self, interactions):
        self.log_episode_score("Main Score", 0)

for path in json.load(sys.stdin):
    scorer = Scorer("any", {}, {})
    scorer.compute_scores(json.load(open(path)))
    print(json.dumps(scorer.scores["episode scores"]))
"""


def test_clemcores_scorer_takes_the_exported_interactions(
    clemcore: Path, results: Path, tmp_path: Path
) -> None:
    paths = sorted(map(str, results.rglob("interactions.json")))
    done = subprocess.run(
        [clemcore / "python", "-c", SCORER],
        input=json.dumps(paths).encode(),
        cwd=tmp_path,
        capture_output=True,
        check=True,
        timeout=300,
    )
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith(b"{")]
    assert len(found) == len(paths)
    for path, theirs in zip(paths, found, strict=True):
        ours = json.loads(Path(path).with_name("scores.json").read_text(encoding="utf-8"))
        for flag in ("Aborted", "Lose"):
            value = ours["episode scores"][flag]
            assert value != value or theirs[flag] == value
        interactions = json.loads(Path(path).read_text(encoding="utf-8"))
        replies = [
            event
            for events in interactions["turns"]
            for event in events
            if event["action"]["type"] == "get message"
        ]
        assert theirs["Request Count"] == len(replies)


def test_what_clemcore_records_is_imported(
    clemcore: Path, runs: dict[str, Run], tmp_path: Path
) -> None:
    work = tmp_path / "work.json"
    work.write_text(json.dumps(script_of(runs["pair"], "taboo")), encoding="utf-8")
    results = tmp_path / "results"
    program = REPOSITORY / "tests" / "benchmarks" / "clemcore_side" / "run.py"
    command = [clemcore / "python", program, "--input", work, "--out", results]
    subprocess.run(
        list(map(str, command)), cwd=tmp_path, check=True, capture_output=True, timeout=300
    )
    (made,) = import_results(results, tmp_path / "run").runs
    assert (made.model, made.failed) == ("programmatic", {})
    assert made.unscored == made.episodes == 20  # clemcore scores in a step of its own
    for number, (old, new) in enumerate(
        zip(runs["pair"].episodes(), Run.open(made.path).episodes(), strict=True)
    ):
        assert new.instance_id == number
        assert (new.outcome, new.replies()) == (old.outcome, old.replies())


def test_an_export_is_imported_as_it_was(
    runs: dict[str, Run], results: Path, tmp_path: Path
) -> None:
    back = import_results(results, tmp_path)
    folders = {ORACLE: "oracle", UNTAGGED: "broken", f"{ORACLE}--{WRONG}": "pair"}
    assert {run.model for run in back.runs} == set(folders)
    games = {name: get_game(name) for name in GAMES}
    for made in back.runs:
        assert (made.failed, made.differing, made.unscored) == ({}, {}, 0)
        before, after = runs[folders[made.model]], Run.open(made.path)
        assert by_key(after) == by_key(before)
        assert score_episodes(after.episodes(), games) == score_episodes(before.episodes(), games)
        tables = [tmp_path / "tables" / f"{made.path.name}-{n}" for n in range(2)]
        for run, folder in zip((before, after), tables, strict=True):
            write_tables(scored_episodes(run), folder)
        old, new = ((folder / "results.csv").read_bytes() for folder in tables)
        assert new == old


def by_key(run: Run) -> dict[tuple[object, ...], Episode]:
    """The episodes without the clock, and without the split, which clemcore does not know."""
    found: dict[tuple[object, ...], Episode] = {}
    for episode in run.episodes(failed=True):
        plain = content(episode)
        plain.split = None
        found[episode.key] = plain
    return found
