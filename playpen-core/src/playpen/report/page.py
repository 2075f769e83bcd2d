"""A report as one page that needs nothing beside it: no network, no other file.

Episodes are embedded compressed, some to a piece, and a piece is unpacked when an episode of it is
opened.  What models said gets into the page by no other way than as the text of an element.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import importlib.resources
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from playpen.escape import escape
from playpen.failure_reasons import Reason
from playpen.report.figures import (
    comparison_figure,
    curve_figures,
    reasons_figure,
    scores_figure,
)
from playpen.report.records import Line, row_of, transcript_of
from playpen.report.sources import RecordedRuns
from playpen.report.summary import Estimate, GameSummary, RunSummary, Summary
from playpen.terminal.tables import MISSING

PIECE = 400_000
"""Characters of text that are packed together; so much is unpacked to show one episode."""
_NO_SCRIPTS = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; img-src data:; "
    "style-src 'unsafe-inline'"
)


def render_report(summary: Summary, runs: list[RecordedRuns]) -> bytes:
    """The page: figures and tables, and the episodes to look into.

    Args:
        summary: the numbers.
        runs: the same runs with their episodes.
    """
    script = asset("app.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    rows, pieces = _packed(runs)
    page = environment().get_template("report.html")
    return page.render(
        summary=summary,
        policy=f"{_NO_SCRIPTS}; script-src 'sha256-{digest}'",
        style=Markup(asset("style.css")),  # noqa: S704 (our own file)
        script=Markup(script),  # noqa: S704
        settings=embedded_json({"runs": [{"name": run.name} for run in summary.runs]}),
        rows=rows,
        pieces=pieces,
        scores_figure=scores_figure(summary.runs) if summary.runs else "",
        reasons_figure=reasons_figure(summary.runs) if summary.runs else "",
        comparison_figures=[
            comparison_figure(comparison, number)
            for number, comparison in enumerate(summary.comparisons, 1)
        ],
        curve_figures=[
            curve_figures(training, number) for number, training in enumerate(summary.trainings)
        ],
    ).encode()


@cache
def environment() -> Environment:
    """The templates; what they are given is escaped, and cannot turn the direction of writing."""
    made = Environment(
        loader=PackageLoader("playpen.report"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_harmless,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["estimate"] = _estimate
    made.filters["signed"] = _signed
    made.filters["rows_by_game"] = _rows_by_game
    made.filters["reason_rows"] = _reason_rows
    return made


def asset(name: str) -> str:
    """The text of a file that the pages share."""
    folder = importlib.resources.files("playpen.report") / "templates"
    return (folder / name).read_text(encoding="utf-8")


def embedded_json(value: object) -> Markup:
    """JSON that can stand in a ``<script>`` element."""
    text = msgspec.json.encode(value).decode()
    return Markup(text.replace("<", "\\u003c"))  # noqa: S704 (no tag can begin in it)


def _harmless(value: Any) -> Any:
    if isinstance(value, str) and not isinstance(value, Markup):
        return escape(value)
    return value


def _estimate(number: Estimate) -> str:
    return MISSING if number.value is None else f"{number.value:.2f}"


def _signed(value: float | None) -> str:
    return MISSING if value is None else f"{value:+.1f}"


def _rows_by_game(runs: Sequence[RunSummary]) -> list[tuple[str, list[tuple[int, GameSummary]]]]:
    """Per game, the number of each run that has it, and what it did."""
    table: dict[str, list[tuple[int, GameSummary]]] = {}
    for number, run in enumerate(runs):
        for game in run.games:
            table.setdefault(game.game, []).append((number, game))
    return sorted(table.items())


def _reason_rows(
    runs: Sequence[RunSummary],
) -> list[tuple[str, list[tuple[Reason, list[int]]]]]:
    """Per game, every way in which episodes were not won, with its number in each run."""
    table: dict[str, dict[Reason, list[int]]] = {}
    for number, run in enumerate(runs):
        for reason in run.reasons:
            same = msgspec.structs.replace(reason, episodes=0)
            counts = table.setdefault(reason.game, {}).setdefault(same, [0] * len(runs))
            counts[number] = reason.episodes
    return [
        (game, sorted(counts.items(), key=lambda item: -sum(item[1])))
        for game, counts in sorted(table.items())
    ]


# --- episodes ------------------------------------------------------------------------------------


def _packed(runs: Iterable[RecordedRuns]) -> tuple[str, list[str]]:
    """The rows of the list, and the pieces with the transcripts in the same order."""
    rows = []
    pieces = []
    piece = _Piece()
    ordered = (
        (number, episode)
        for number, run in enumerate(runs)
        for episode in sorted(
            run.episodes, key=lambda e: (e.game, e.experiment, str(e.instance_id).zfill(9))
        )
    )
    for number, episode in ordered:
        if piece.size > PIECE:
            pieces.append(_compressed(piece.content()))
            piece = _Piece()
        rows.append([*msgspec.to_builtins(row_of(episode, number)), len(pieces), piece.count])
        transcript = transcript_of(episode)
        piece.add(msgspec.structs.asdict(transcript), transcript.lines)
    pieces.append(_compressed(piece.content()))
    return _compressed(rows), pieces


class _Piece:
    """Some transcripts whose texts are kept once each: roles are told much the same."""

    def __init__(self) -> None:
        self.size = 0
        self.count = 0
        self._texts: dict[str, int] = {}
        self._transcripts: list[dict[str, Any]] = []

    def add(self, transcript: dict[str, Any], lines: list[Line]) -> None:
        self.count += 1
        self._transcripts.append({**transcript, "lines": list(self._interned(lines))})

    def content(self) -> dict[str, Any]:
        return {"texts": list(self._texts), "transcripts": self._transcripts}

    def _interned(self, lines: list[Line]) -> Iterator[dict[str, Any]]:
        for line in lines:
            yield {
                **msgspec.to_builtins(line),
                "t": self._number(line.text),
                **{
                    name: self._number(text)
                    for name in ("reasoning", "raw")
                    if (text := getattr(line, name))
                },
            }

    def _number(self, text: str) -> int:
        if text not in self._texts:
            self.size += len(text)
        return self._texts.setdefault(text, len(self._texts))


def _compressed(value: object) -> str:
    return base64.b64encode(gzip.compress(msgspec.json.encode(value), 9, mtime=0)).decode()
