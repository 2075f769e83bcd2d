"""The pictures of a report: inline SVG in the colours of the page, light or dark.

Text stays text, and every colour is a variable of the page's style sheet.
"""

from __future__ import annotations

import io
import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from playpen.escape import escape
from playpen.report.sources import Curve
from playpen.report.summary import Comparison, RunSummary, TrainingSummary

SERIES = 8
"""How many series have a colour of their own."""

_INK, _FAINT = "#010101", "#020202"
_COLOURS = {
    _INK: "var(--ink)",
    _FAINT: "var(--line)",
    **{f"#0300{n:02x}": f"var(--series-{n})" for n in range(SERIES)},
}
_SETTINGS: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "playpen",
    "text.parse_math": False,  # a dollar sign in a name is a dollar sign
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _FAINT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.titlesize": 10,
    "grid.color": _FAINT,
    "grid.linewidth": 0.5,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "legend.fontsize": 9,
}
_WIDTH = 5.2
"""Inches.  So narrow that text can be read where the page is a phone's."""
_MOST_REASONS = 12
_LONGEST = 34
_UNDATED = dict.fromkeys(("Date", "Creator", "Format", "Type"))


def scores_figure(runs: Sequence[RunSummary]) -> Markup:
    """Per game, the mean score of each run as a bar with its interval."""
    games = sorted({game.game for run in runs for game in run.games}, reverse=True)
    with mpl.rc_context(_SETTINGS):
        figure, axes = _figure(0.5 + len(games) * (0.16 + 0.2 * len(runs)), grid="x")
        thick = 0.8 / len(runs)
        for number, run in enumerate(runs):
            by_game = {game.game: game.scores.mean for game in run.games}
            for place, game in enumerate(games):
                estimate = by_game.get(game)
                if estimate is None or estimate.value is None:
                    continue
                low = estimate.value if estimate.low is None else estimate.low
                high = estimate.value if estimate.high is None else estimate.high
                axes.barh(
                    place + 0.4 - thick * (number + 0.5),
                    estimate.value,
                    thick * 0.86,
                    color=_colour(number),
                    xerr=[[max(estimate.value - low, 0)], [max(high - estimate.value, 0)]],
                    error_kw={"ecolor": _INK, "elinewidth": 1, "capsize": 2},
                )
        axes.set_yticks(range(len(games)), [_short(game) for game in games])
        axes.set_ylim(-0.6, len(games) - 0.4)
        left, right = axes.get_xlim()
        means = [game.scores.mean.value or 0 for run in runs for game in run.games]
        # Most games score from 0 to 100, some from 0 to 1, and few below 0.
        axes.set_xlim(min(left, 0), right if 0 < max(means, default=0) <= 1 else max(right, 100))
        axes.set_xlabel("mean score (aborted: 0), 95 % interval")
        _legend(figure, axes, [run.name for run in runs])
        return _svg(figure, "scores", "Mean score per game and run, with 95 % intervals")


def reasons_figure(runs: Sequence[RunSummary]) -> Markup:
    """The most frequent ways in which episodes were aborted."""
    total: Counter[tuple[str, str, str]] = Counter()
    each: list[Counter[tuple[str, str, str]]] = []
    for run in runs:
        own: Counter[tuple[str, str, str]] = Counter()
        for reason in run.reasons:
            if reason.ending == "abort":
                own[reason.game, reason.role or "", reason.code] += reason.episodes
        each.append(own)
        total += own
    if not total:
        return Markup("")
    shown = [key for key, _ in total.most_common(_MOST_REASONS)][::-1]
    labels = [
        f"{_short(game)}: {_short(code)}" + (f"\nby {_short(role)}" if role else "")
        for game, role, code in shown
    ]
    with mpl.rc_context(_SETTINGS):
        figure, axes = _figure(0.6 + 0.42 * len(shown), grid="x")
        before = [0] * len(shown)
        for number, own in enumerate(each):
            counts = [own[key] for key in shown]
            axes.barh(range(len(shown)), counts, 0.6, left=before, color=_colour(number))
            before = [a + b for a, b in zip(before, counts, strict=True)]
        axes.set_yticks(range(len(shown)), labels, fontsize=9)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("aborted episodes")
        _legend(figure, axes, [run.name for run in runs])
        return _svg(figure, "reasons", "Number of aborted episodes by game, rule and role")


def comparison_figure(comparison: Comparison, number: int) -> Markup:
    """The gain in each game with its interval."""
    gains = comparison.gains[::-1]
    if not gains:
        return Markup("")
    with mpl.rc_context(_SETTINGS):
        figure, axes = _figure(0.6 + 0.32 * len(gains), grid="x")
        axes.axvline(0, color=_INK, linewidth=1)
        for place, gain in enumerate(gains):
            value = gain.difference.value or 0.0
            low = value if gain.difference.low is None else gain.difference.low
            high = value if gain.difference.high is None else gain.difference.high
            axes.plot([low, high], [place, place], color=_colour(number), linewidth=2)
            axes.plot(
                value,
                place,
                "o",
                color=_colour(number),
                markersize=7,
                fillstyle="full" if gain.p_holm is not None and gain.p_holm < 0.05 else "none",
            )
        axes.set_yticks(range(len(gains)), [_short(gain.game) for gain in gains])
        axes.set_ylim(-0.6, len(gains) - 0.4)
        axes.set_xlabel("gain in mean score; filled: p < 0.05")
        return _svg(figure, f"gain{number}", "Gain per game with 95 % intervals")


# --- learning curves -----------------------------------------------------------------------------

_PANELS = (
    ("loss", ("loss", "eval_loss", "eval/loss")),
    ("reward", ("reward", "reward/*")),
    ("success", ("success", "eval/success", "success/*", "eval/success/*")),
    ("score on validation instances", ("eval/score", "eval/score/*")),
    ("played (not aborted)", ("played", "eval/played", "played/*", "eval/played/*")),
    ("right tokens", ("mean_token_accuracy",)),
    ("preferred", ("rewards/accuracies",)),
    ("reward margin", ("rewards/margins",)),
    ("divergence from the start (KL)", ("kl",)),
    ("entropy", ("entropy",)),
    ("tokens per reply", ("reply_tokens",)),
)
"""Which of the logged numbers are drawn together."""
_MOST_LINES = 6
_MANY_POINTS = 60


def curve_figures(training: TrainingSummary, number: int) -> list[Markup]:
    """The learning curves of a training, one figure for what belongs together."""
    figures = []
    for place, (title, patterns) in enumerate(_PANELS):
        names = [
            name
            for pattern in patterns
            for name in training.curves
            if (name == pattern or (pattern.endswith("*") and name.startswith(pattern[:-1])))
            and training.curves[name]
        ]
        for name in list(names):
            parts = [other for other in names if other.startswith(f"{name}/")]
            if len(parts) == 1:
                names.remove(parts[0])  # of a single game: the same curve twice
        if names:
            figures.append(_curves(training, title, names[:_MOST_LINES], f"curve{number}-{place}"))
    return figures


def _curves(training: TrainingSummary, title: str, names: list[str], key: str) -> Markup:
    with mpl.rc_context(_SETTINGS):
        figure, axes = _figure(2.5, grid="y")
        for number, name in enumerate(names):
            steps, values = zip(*training.curves[name], strict=True)
            colour = _colour(number)
            if name.startswith("eval"):
                axes.plot(steps, values, "o--", color=colour, linewidth=1, label=_short(name))
                continue
            crowded = len(steps) > _MANY_POINTS
            marker = "o" if len(steps) < 3 else None
            if crowded:
                axes.plot(steps, values, color=colour, linewidth=0.7, alpha=0.35)
                steps, values = _smoothed(list(training.curves[name]))
            axes.plot(steps, values, color=colour, linewidth=1.8, marker=marker, label=_short(name))
        axes.set_title(title, loc="left")
        axes.set_xlabel("step")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if len(names) > 1:
            columns = min(len(names), 2)
            rows = math.ceil(len(names) / columns)
            axes.legend(loc="upper center", bbox_to_anchor=(0.45, -0.2), ncols=columns)
            figure.set_figheight(2.5 + 0.2 * rows)
        return _svg(figure, key, f"{title} by step")


def _smoothed(curve: Curve) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Means of a moving window of a twentieth of the points."""
    half = max(len(curve) // 40, 1)
    steps = tuple(step for step, _ in curve)
    values = [value for _, value in curve]
    windows = (values[max(place - half, 0) : place + half + 1] for place in range(len(values)))
    return steps, tuple(sum(window) / len(window) for window in windows)


# --- drawing -------------------------------------------------------------------------------------


def _figure(height: float, *, grid: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(_WIDTH, max(height, 1.3)))
    axes: Axes = figure.add_subplot()
    axes.grid(visible=False, axis="y" if grid == "x" else "x")
    return figure, axes


def _colour(number: int) -> str:
    return f"#0300{number % SERIES:02x}"


def _legend(figure: Figure, axes: Axes, names: Sequence[str]) -> None:
    """Which colour is which run, below the axes; one run needs none."""
    if len(names) < 2:
        return
    for number, name in enumerate(names):
        axes.barh(0, 0, color=_colour(number), label=_short(name))
    offset = -0.55 / (figure.get_figheight() * 0.77)
    axes.legend(loc="upper left", bbox_to_anchor=(0, offset), ncols=1, borderaxespad=0)


def _short(name: str) -> str:
    name = escape(name, one_line=True)
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"


def _svg(figure: Figure, key: str, description: str) -> Markup:
    """The figure as an element for a page; `key` keeps its names apart from other figures'."""
    out = io.StringIO()
    figure.savefig(
        out, format="svg", bbox_inches="tight", pad_inches=0.05, transparent=True, metadata=_UNDATED
    )
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<(metadata|style).*?</\1>|<!--.*?-->", "", text, flags=re.DOTALL)
    used = set(re.findall(r'(?:url\(#|href="#)([^)"]+)', text))
    text = re.sub(r' id="([^"]*)"', lambda m: f' id="{key}-{m[1]}"' if m[1] in used else "", text)
    text = re.sub(r'(url\(#|href="#)', rf"\1{key}-", text)
    text = re.sub(r'(?<= style=)"[^"]*"', _themed, text)
    label = Markup.escape(description)
    text = text.replace("<svg ", f'<svg role="img" aria-label="{label}" class="figure" ', 1)
    return Markup(text)  # noqa: S704 (matplotlib escapes the text of labels)


def _themed(match: re.Match[str]) -> str:
    """A style of matplotlib's in the colours and the font of the page."""
    style = re.sub('font-family: [^;"]*', "font-family: var(--font)", match[0])
    for colour, variable in _COLOURS.items():
        style = style.replace(colour, variable)
    return style
