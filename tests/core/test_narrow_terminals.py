"""Tables on terminals of every width: no number is cut, no name is broken, no line is too long."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.text import Text
from tests.core.command_line import good
from tests.core.made_runs import episode

from playpen.cli.compare import Shift, _reasons, _table
from playpen.cli.listing import KINDS
from playpen.cli.train import show_plan
from playpen.completeness import Coverage
from playpen.crossplay import Cell
from playpen.evaluation import evaluate
from playpen.moves import Lose
from playpen.panels import panel_scores
from playpen.provenance import InstanceSet
from playpen.scoring import GameScore, score_games
from playpen.statistics import Gain, Interval, Scores
from playpen.store import Run
from playpen.terminal.matrix import matrix_table
from playpen.terminal.panels import evaluation_tables
from playpen.terminal.plain_table import PlainTable
from playpen.terminal.tables import PlayProgress, score_table
from playpen.training.plan import LevelPlan, Plan

NAMES = ("textmapworld_graphreasoning", "taboo", "imagegame")
WIDTHS = range(40, 201)
NUMBER = re.compile(r"[-+]?\d[\d.]*")


def scores() -> PlainTable:
    games = [GameScore(n, 1000, 87.65, 98.76, 1.0, 86.56, 123, 789, 211, 10, 0) for n in NAMES]
    score = score_games(games)
    panels = panel_scores(score, dict.fromkeys(NAMES, InstanceSet("some", False, "2.0")))
    return score_table(score, panels)


def gains() -> PlainTable:
    return _table(
        "runs/a_long_name_of_a_run against runs/another",
        [
            Gain(name, 1000, Interval(-50.0, -61.3, -40.2), 0.012, 0.037, 12.3, -43.2, -6.8)
            for name in NAMES
        ],
    )


def reasons() -> PlainTable:
    return _reasons(
        [Shift(name, "describer", "clue_contains_target_word", 12.5, 100.0) for name in NAMES]
    )


def matrix() -> PlainTable:
    number = Interval(55.5, 44.4, 66.6)
    cell = Cell(Scores(number, number, number, number), Coverage(3, 2))
    return matrix_table(
        "taboo", ("describer", "guesser"), {(a, b): cell for a in range(9) for b in range(9)}
    )


def seats() -> PlainTable:
    number = Interval(55.5, 44.4, 66.6)
    cell = Cell(Scores(number, number, number, number), Coverage(3, 3))
    roles = ("instruction_giver", "instruction_follower", "observer_of_both")
    return matrix_table("a game", roles, {(0, 1, 2): cell, (2, 1, 0): cell})


TABLES: list[Callable[[], PlainTable]] = [scores, gains, reasons, matrix, seats]


def printed(table: RenderableType, width: int) -> str:
    output = io.StringIO()
    Console(width=width, file=output).print(table)
    return output.getvalue()


def whole(text: str, wide: str) -> None:
    """All numbers and names of the wide table are in the narrow one, as often, and whole."""
    assert "…" not in text
    assert Counter(NUMBER.findall(text)) == Counter(NUMBER.findall(wide))
    # Where rows are paragraphs the header stands in each of them.
    words = Counter(text.replace(":", " ").split())
    for word, count in Counter(re.sub("[─:]", " ", wide).split()).items():
        assert words[word] >= count, word


@pytest.mark.parametrize("make", TABLES)
def test_numbers_and_names_are_whole_at_every_width(make: Callable[[], PlainTable]) -> None:
    # A number in a header stands once side by side and in every paragraph: compare what is in rows.
    wide = printed(make(), 400).replace("95 % interval", "interval")
    for width in WIDTHS:
        text = printed(make(), width).replace("95 % interval", "interval")
        assert max(map(cell_len, text.splitlines())) <= width
        whole(text, wide)


def test_rows_become_paragraphs_only_where_columns_have_no_room() -> None:
    assert printed(scores(), 90).splitlines()[0].split()[:2] == ["game", "episodes"]
    assert [line.rstrip() for line in printed(gains(), 40).splitlines()[:6]] == [
        "runs/a_long_name_of_a_run against",
        "runs/another",
        "game: textmapworld_graphreasoning",
        "  n: 1000  gain: -50.0",
        "  95 % interval: -61.3 .. -40.2",
        "  p: 0.037  detect.: 12.3  format: -43.2",
    ]


def test_what_is_prose_is_broken_between_words() -> None:
    table = PlainTable("name")
    table.add_column("what it is", prose=True)
    table.add_row("a_name", "many words that are broken between words only")
    assert [line.rstrip() for line in printed(table, 40).splitlines()[2:]] == [
        "a_name  many words that are broken",
        "        between words only",
    ]


def test_a_name_that_is_wider_than_the_terminal_loses_nothing() -> None:
    table = PlainTable("name")
    table.add_numbers("n")
    table.add_row("x" * 100, "12")
    text = printed(table, 40)
    assert text.count("x") == 100
    assert "n: 12" in text
    assert max(map(len, text.splitlines())) <= 40


def test_cells_are_neither_markup_nor_active() -> None:
    table = PlainTable("[red]role[/red]", title="[b]title\x1b[2J")
    table.add_row("[red]name[/]\u202e\n")
    table.add_row(Text("\x9b31m", style="red"))
    text = printed(table, 80)
    for part in ("[red]role[/red]", r"[b]title\x1b[2J", r"[red]name[/]\u202e\n", r"\x9b31m"):
        assert part in text


def test_evaluations_are_whole_at_every_width(tmp_path: Path) -> None:
    good("play", "taboo", "guesswhat", "-p", "program:oracle", "-n", "7", "-o", tmp_path / "run")
    tables = evaluation_tables(evaluate([Run.open(tmp_path / "run")]))
    wide = printed(tables, 400)
    for width in WIDTHS:
        text = printed(tables, width)
        assert max(map(cell_len, text.splitlines())) <= width
        whole(text, wide)


@pytest.mark.parametrize("width", [40, 62, 68, 80, 100, 200])
def test_commands_keep_to_the_width(
    width: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    good("play", "taboo", "-p", "program:oracle", "-n", "3", "-o", run)
    plan = Plan(
        [LevelPlan("textmapworld_graphreasoning", "medium_difficulty", 1234, 5678)],
        {"learner": "hf:someone/a-model-with-a-long-name", "rewards": "outcome"},
    )

    def everything() -> list[str]:
        output = io.StringIO()
        with redirect_stdout(output):
            show_plan(plan)
        tables = [good("list", kind) for kind in KINDS]
        return [*tables, good("show", "taboo"), good("transcript", run), output.getvalue()]

    monkeypatch.setenv("COLUMNS", "400")
    wide = everything()
    monkeypatch.setenv("COLUMNS", str(width))
    for text, reference in zip(everything(), wide, strict=True):
        assert "…" not in text
        assert max(map(cell_len, text.splitlines())) <= width
        assert Counter(NUMBER.findall(text)) == Counter(NUMBER.findall(reference))


@pytest.mark.parametrize("width", range(40, 201, 10))
def test_the_bar_leaves_out_whole_columns(width: int) -> None:
    output = io.StringIO()
    with PlayProgress(Console(width=width, file=output, force_terminal=True)) as progress:
        progress.planned(1319)
        for number in range(7):
            progress.finished(episode(number, Lose(0)))
    line = Text.from_ansi(output.getvalue().split("\r")[-1]).plain.strip("\n")
    assert cell_len(line) <= width
    assert "7/1319" in line
    assert "…" not in line
    if width >= 60:
        assert "played 100 %" in line
        assert "success 0 %" in line
    if width >= 100:
        assert "━" in line
