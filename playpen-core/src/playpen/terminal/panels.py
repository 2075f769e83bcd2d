"""The tables of an evaluation in the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.text import Text

from playpen.escape import escape
from playpen.evaluation import Evaluation
from playpen.statistics import Interval
from playpen.terminal.plain_table import PlainTable
from playpen.terminal.tables import MISSING, number

LEGEND = (
    "score: % played times quality, as clembench computes it; unbiased: the mean main score, where "
    "an aborted episode counts as 0.  [95 % intervals]: over instances."
)
_INCOMPLETE = "*"


def evaluation_tables(evaluation: Evaluation) -> RenderableType:
    """The panels, the games, what the columns mean, and which games are not complete."""
    parts: list[RenderableType] = [_panels(evaluation), Text(), _games(evaluation), Text()]
    parts += [Text(escape(panel.basis, one_line=True)) for panel in evaluation.panels.values()]
    parts.append(Text(LEGEND, style="dim"))
    parts += _notes(evaluation)
    return Group(*parts)


def _panels(evaluation: Evaluation) -> PlainTable:
    table = PlainTable("games")
    table.add_numbers("score", "unbiased", "% played", "quality")
    for panel in evaluation.panels.values():
        name = Text(f"{panel.name} ({len(panel.games)})")
        if not panel.coverage.complete:
            name.append(_INCOMPLETE, style="bold red")
        scores = panel.intervals
        if scores is None:
            table.add_row(name, *[MISSING] * 4)
            continue
        table.add_row(
            name,
            Text.assemble((number(panel.score), "bold"), _between(scores.clemscore)),
            _with_interval(scores.unbiased),
            number(panel.played),
            number(panel.quality),
        )
    return table


def _games(evaluation: Evaluation) -> PlainTable:
    repeats = max((max(game.pass_at, default=1) for game in evaluation.games.values()), default=1)
    table = PlainTable("game")
    table.add_numbers("n", "% played", "quality", "score", "unbiased")
    if repeats > 1:
        table.add_numbers(f"pass@{repeats}")
    for title, game in evaluation.games.items():
        name = Text(title)
        if not game.coverage.complete:
            name.append(_INCOMPLETE, style="bold red")
        score = game.score
        passed = game.pass_at.get(repeats)
        table.add_row(
            name,
            str(score.episodes),
            f"{score.played:.2f}" if score.episodes else MISSING,
            number(score.quality),
            number(score.clemscore),
            MISSING if game.intervals is None else _with_interval(game.intervals.unbiased),
            *([MISSING if passed is None else f"{100 * passed:.1f}"] if repeats > 1 else []),
        )
    return table


def _notes(evaluation: Evaluation) -> Iterator[RenderableType]:
    for exposure in evaluation.trained_on:
        yield Text(escape(str(exposure), one_line=True), style="bold red")
    for title, game in evaluation.games.items():
        if not game.coverage.complete:
            line = f"{_INCOMPLETE} {title}: {game.coverage.in_words()}"
            yield Text(escape(line, one_line=True), style="yellow")


def _with_interval(estimate: Interval) -> Text:
    return Text.assemble(number(estimate.value), _between(estimate))


def _between(estimate: Interval) -> tuple[str, str]:
    _, low, high = estimate
    return "" if low is None or high is None else f" [{low:.1f}, {high:.1f}]", "dim"
