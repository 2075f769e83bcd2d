"""A report as Markdown: the tables, for an issue or a README."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from playpen.escape import escape
from playpen.report.summary import Comparison, Estimate, RunSummary, Summary, TrainingSummary
from playpen.terminal.tables import MISSING

_MARKS = re.compile(r"([\\`*_{}\[\]<>|#~&!])")


def to_markdown(summary: Summary) -> str:
    """The report as text; names and messages are escaped."""
    return "\n".join(_report(summary)) + "\n"


def _report(summary: Summary) -> Iterator[str]:
    yield "# Playpen report"
    for problem in summary.problems:
        yield f"\nNot read: {escaped(problem.message)}"
    if summary.runs:
        yield "\n## Runs\n"
        yield from _runs(summary.runs)
        yield "\n## Games\n"
        yield from _games(summary.runs)
        yield "\n## Why episodes were not won\n"
        yield from _reasons(summary.runs)
    for comparison in summary.comparisons:
        yield f"\n## {escaped(comparison.second)} against {escaped(comparison.first)}\n"
        yield from _comparison(comparison)
    for training in summary.trainings:
        yield f"\n## Training {escaped(training.name)}\n"
        yield from _training(training)


def _runs(runs: Sequence[RunSummary]) -> Iterator[str]:
    yield from _table(
        ["run", "games", "episodes", "% played", "quality", "score", "mean score", "over"],
        (
            [
                escaped(run.name) + ("" if panel.coverage.complete else " (incomplete)"),
                f"{panel.name} ({len(panel.games)})",
                f"{panel.coverage.played} of {panel.coverage.planned}",
                estimate(panel.scores.played),
                estimate(panel.scores.quality),
                estimate(panel.scores.clemscore),
                estimate(panel.scores.mean),
                escaped(panel.over),
            ]
            for run in runs
            for panel in run.panels
        ),
    )
    yield (
        "\n95 % intervals in brackets (over instances). score: % played times quality, called "
        "clemscore or statscore over published instances only; mean score: an aborted episode "
        "counts as 0."
    )
    for run in runs:
        if not run.complete:
            yield f"\n{escaped(run.name)} is incomplete: {escaped(run.coverage.in_words())}."
        for note in run.notes:
            yield f"\n{escaped(run.name)}: {escaped(note)}."


def _games(runs: Sequence[RunSummary]) -> Iterator[str]:
    yield from _table(
        ["game", "run", "episodes", "% played", "quality", "mean score", "won", "lost", "aborted"],
        (
            [
                escaped(game.game),
                escaped(run.name),
                f"{game.coverage.played} of {game.coverage.planned}",
                estimate(game.scores.played),
                estimate(game.scores.quality),
                estimate(game.scores.mean),
                str(game.success),
                str(game.lose),
                str(game.aborted),
            ]
            for run in runs
            for game in run.games
        ),
    )
    for run in runs:
        for game in run.games:
            if game.role_scores:
                means = ", ".join(f"{role} {mean:.2f}" for role, mean in game.role_scores.items())
                line = f"Mean scores of the roles in {game.game}, {run.name}: {means}"
                yield f"\n{escaped(line)}."


def _reasons(runs: Sequence[RunSummary]) -> Iterator[str]:
    rows = [
        [
            escaped(reason.game),
            escaped(run.name),
            "aborted" if reason.ending == "abort" else "lost",
            escaped(reason.role or MISSING),
            escaped(reason.code or MISSING),
            str(reason.episodes),
        ]
        for run in runs
        for reason in run.reasons
    ]
    if not rows:
        yield "Every episode was won."
        return
    yield from _table(["game", "run", "ending", "at fault", "broken rule", "episodes"], rows)


def _comparison(comparison: Comparison) -> Iterator[str]:
    if not comparison.gains:
        yield "The two have no instance in common."
        return
    yield from _table(
        ["game", "instances", "gain", "p (Holm)", "detectable", "format", "skill"],
        (
            [
                escaped(gain.game),
                str(gain.instances),
                estimate(gain.difference, sign=True),
                MISSING if gain.p_holm is None else f"{gain.p_holm:.2g}",
                MISSING if gain.detectable is None else f"{gain.detectable:.1f}",
                _signed(gain.format),
                _signed(gain.skill),
            ]
            for gain in comparison.gains
        ),
    )
    yield (
        "\nGain: difference in the mean score, with its 95 % interval; p: permutation test, "
        "corrected for the number of games; detectable: the difference found in 80 % of such "
        "comparisons; format and skill: the parts due to fewer aborts and to better play."
    )


def _training(training: TrainingSummary) -> Iterator[str]:
    yield (
        f"{escaped(training.trainer)} of {escaped(training.learner or MISSING)}, "
        f"{training.steps} steps.\n"
    )
    yield from _table(
        ["logged", "first", "last", "at step"],
        (
            [
                escaped(name),
                f"{curve[0][1]:.4g}",
                f"{curve[-1][1]:.4g}",
                f"{curve[-1][0]}",
            ]
            for name, curve in training.curves.items()
            if curve
        ),
    )


def estimate(number: Estimate, *, sign: bool = False) -> str:
    """A number with its interval, or a dash."""
    if number.value is None:
        return MISSING
    value = f"{number.value:+.2f}" if sign else f"{number.value:.2f}"
    if number.low is None or number.high is None:
        return value
    return f"{value} \\[{number.low:.1f}, {number.high:.1f}\\]"


def _signed(value: float | None) -> str:
    return MISSING if value is None else f"{value:+.1f}"


def escaped(text: str) -> str:
    """Text that stands for itself in a cell of a Markdown table."""
    return _MARKS.sub(r"\\\1", escape(text, one_line=True))


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield "|---" * len(head) + "|"
    for row in rows:
        yield f"| {' | '.join(row)} |"
