"""Score tables and the live progress of a run."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from functools import partial
from types import TracebackType

from rich.console import Console
from rich.measure import Measurement
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress_bar import ProgressBar
from rich.table import Column, Table
from rich.text import Text

from playpen.episode import Episode
from playpen.panels import PanelScore
from playpen.scoring import RunScore
from playpen.terminal.plain_table import PlainTable

MISSING = "-"


def score_table(score: RunScore, panels: Sequence[PanelScore]) -> PlainTable:
    """Per game and over games: % played, quality, their product, and the counts behind them.

    Args:
        score: of the games.
        panels: the averages.
    """
    table = PlainTable("game")
    table.add_numbers("episodes", "% played", "quality", "score")
    table.add_numbers("win", style="green")
    table.add_numbers("lose", style="red")
    table.add_numbers("abort", style="yellow")
    failed = sum(game.failed for game in score.games)
    if failed:  # room for the longest name of a game otherwise
        table.add_numbers("fail", style="bold red")
    for game in score.games:
        table.add_row(
            game.game,
            str(game.episodes),
            f"{game.played:.2f}" if game.episodes else MISSING,
            number(game.quality),
            number(game.clemscore),
            str(game.success),
            str(game.lose),
            str(game.aborted),
            *([str(game.failed)] if failed else []),
        )
    if len(score.games) > 1:
        table.add_section()
        for panel in panels:
            games = [game for game in score.games if game.game in panel.games]
            counts = ("episodes", "success", "lose", "aborted", "failed")
            episodes, *others = (str(sum(getattr(g, name) for g in games)) for name in counts)
            table.add_row(
                Text(panel.name, style="bold"),
                episodes,
                number(panel.played),
                number(panel.quality),
                Text(number(panel.score), style="bold"),
                *(others if failed else others[:-1]),
            )
    return table


def number(value: float | None) -> str:
    """Two decimals, or a dash where there is no number."""
    return MISSING if value is None else f"{value:.2f}"


class _Rate(ProgressColumn):
    """Episodes per second since this process began to play, written ``12.3/s``."""

    def __init__(self, started: float) -> None:
        super().__init__(table_column=Column(no_wrap=True))
        self._started = started

    def render(self, task: Task) -> Text:
        elapsed = max(time.monotonic() - self._started, 1e-6)
        return Text(f"{task.completed / elapsed:.1f}/s")


class _WholeColumns(Progress):
    """A progress line that leaves out whole columns where all of them have no room."""

    def __init__(self, *columns: ProgressColumn, console: Console, disable: bool) -> None:
        self._terminal = console  # what follows draws the line already
        super().__init__(*columns, console=console, refresh_per_second=5, disable=disable)

    def make_tasks_table(self, tasks: Iterable[Task]) -> Table:
        """The line; the bar is left out first, and the count of episodes last."""
        tasks = list(tasks)
        every = self.columns
        kept = list(every)
        for column in sorted(every, key=_dispensable):
            if max(map(partial(self._needed, kept), tasks), default=0) <= self._terminal.width:
                break
            kept.remove(column)
        self.columns = tuple(kept)
        try:
            return super().make_tasks_table(tasks)
        finally:
            self.columns = every

    def _needed(self, columns: Sequence[str | ProgressColumn], task: Task) -> int:
        """The width of the line, with the shortest bar."""
        shown = [column(task) for column in columns if isinstance(column, ProgressColumn)]
        measured = [Measurement.get(self._terminal, self._terminal.options, one) for one in shown]
        widths = [
            size.minimum if isinstance(one, ProgressBar) else size.maximum
            for one, size in zip(shown, measured, strict=True)
        ]
        return sum(widths) + len(widths) - 1


def _dispensable(column: str | ProgressColumn) -> int:
    """A small number for what is left out first; counts stay longest."""
    order = (BarColumn, TimeRemainingColumn, _Rate, SpinnerColumn, TextColumn, MofNCompleteColumn)
    return next((n for n, kind in enumerate(order) if isinstance(column, kind)), len(order))


class PlayProgress:
    """The live bar of a run: episodes, episodes per second, % played, success."""

    def __init__(self, console: Console, *, shown: bool = True) -> None:
        """Prepare the bar; if not `shown`, there is none."""
        self._progress = _WholeColumns(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(table_column=Column(no_wrap=True)),
            _Rate(time.monotonic()),
            TextColumn("played {task.fields[played]}"),
            TextColumn("success {task.fields[success]}"),
            TextColumn("{task.fields[failed]}"),
            TimeRemainingColumn(table_column=Column(no_wrap=True)),
            console=console,
            disable=not shown,
        )
        self._task = self._progress.add_task(
            "playing", total=None, played=MISSING, success=MISSING, failed=""
        )
        self._episodes = self._played = self._success = self._failed = 0
        self._shown = 0.0

    def __enter__(self) -> PlayProgress:
        """Nothing is shown before something is planned."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Show the final state and leave the bar."""
        if self._progress.live.is_started:
            self._show()
            self._progress.stop()

    def planned(self, count: int) -> None:
        """Show the bar, unless there is nothing to play."""
        self._progress.update(self._task, total=count)
        if count:
            self._progress.start()

    def finished(self, episode: Episode) -> None:
        """Count an episode."""
        self._episodes += 1
        if episode.failure is not None:
            self._failed += 1
        else:
            self._played += not episode.aborted
            self._success += episode.success
        # Drawing costs more than an instant episode does.
        if time.monotonic() - self._shown > 0.1:
            self._show()

    def _show(self) -> None:
        self._shown = time.monotonic()
        judged = self._episodes - self._failed
        self._progress.update(
            self._task,
            completed=self._episodes,
            played=f"{100 * self._played / judged:.0f} %" if judged else MISSING,
            success=f"{100 * self._success / judged:.0f} %" if judged else MISSING,
            failed=f"[red]{self._failed} failed[/red]" if self._failed else "",
        )
