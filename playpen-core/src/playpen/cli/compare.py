"""``playpen compare``: which of several runs is better, and how sure that is."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from playpen.cli.exit_codes import ExitCode
from playpen.cli.messages import echo
from playpen.cli.versions import tell_versions
from playpen.plugins import get_game

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from playpen.provenance import InstanceSet
    from playpen.scoring import Results
    from playpen.statistics import Gain
    from playpen.terminal.plain_table import PlainTable
    from playpen.trained_on import Exposure


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(exists=True, file_okay=False))
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the permutations.")
def compare(runs: tuple[str, ...], as_json: bool, seed: int) -> None:
    """Tell how sure the difference between RUNs is.

    A RUN is a run directory, or one that `playpen eval` has made.

    Each is compared with the first one, on the instances that both have played.  Per game: the
    difference in the mean main score (an aborted episode counts as 0) with its 95 % interval, p of
    a permutation test corrected for the number of games (Holm), the difference that such a
    comparison would find in 80 % of cases, and how much of it is due to format (fewer aborts) and
    to skill.  Then why episodes were not won: the broken rules and the losses, by role.

    Exit code 1 if two runs have no instance in common.
    """
    import msgspec
    from rich.text import Text

    from playpen.cli.extras import needs_report
    from playpen.escape import escape
    from playpen.terminal.console import open_console

    with needs_report("comparing"):
        from playpen.statistics import compare as compare_results
    from playpen.scoring import score_ranges

    if len(runs) < 2:
        raise click.UsageError(
            "name at least two runs: the first one is what others are compared to"
        )
    first, *others = [_recorded(run) for run in runs]
    ranges = score_ranges({name: get_game(name) for name in first.results})
    compared = {
        run: (compare_results(first.results, them.results, ranges, seed=seed), _shifts(first, them))
        for run, them in zip(runs[1:], others, strict=True)
    }
    if as_json:
        document = {
            run: {
                "gains": [_plain(gain) for gain in gains],
                "reasons": [shift._asdict() for shift in shifts],
                "over": {gain.game: str(first.sets[gain.game]) for gain in gains},
                "trained_on": [msgspec.to_builtins(e) for e in first.trained_on + them.trained_on],
            }
            for (run, (gains, shifts)), them in zip(compared.items(), others, strict=True)
        }
        echo(json.dumps(document))
        return
    console = open_console()
    alone = False
    for (run, (gains, shifts)), them in zip(compared.items(), others, strict=True):
        if not gains:
            echo(f"{run} and {runs[0]} have no instance in common", err=True)
            alone = True
            continue
        console.print(_table(f"{run} against {runs[0]}", gains))
        tested = sum(gain.p is not None for gain in gains)
        corrected = f", corrected for {tested} games (Holm)" if tested > 1 else ""
        console.print(
            f"n instances; p of a permutation test{corrected}; "
            "detect.: the difference that would be found in 80 % of such comparisons.\n",
            style="dim",
            highlight=False,
        )
        for line in _basis(first, them, [gain.game for gain in gains]):
            console.print(Text(escape(line, one_line=True)))
        if shifts:
            console.print(_reasons(shifts))
    if alone:
        raise SystemExit(ExitCode.FOUND_PROBLEMS)


class RecordedResults(NamedTuple):
    """What is compared.

    Attributes:
        results: of every game and instance.
        reasons: how often an instance was not won, by game, instance, and role and reason.
        sets: per game, the instances and rules.
        trained_on: instances that a player was trained on.
    """

    results: Results
    reasons: Counter[tuple[str, str, tuple[str, str]]]
    sets: dict[str, InstanceSet]
    trained_on: list[Exposure]

    def shares(self, game: str, instances: Collection[str]) -> dict[tuple[str, str], float]:
        """How often each reason occurred on some instances, in % of the episodes on them."""
        played = sum(self.results[game][instance].episodes for instance in instances)
        counts: Counter[tuple[str, str]] = Counter()
        for (name, instance, reason), count in self.reasons.items():
            if name == game and instance in instances:
                counts[reason] += count
        return {reason: 100 * count / played for reason, count in counts.items()}


class Shift(NamedTuple):
    """How often something kept episodes of a game from being won, in % of its episodes.

    Attributes:
        game: its name.
        role: at fault, "" where the rules name none.
        reason: the broken rule, or ``lost``.
        before: in the first run.
        after: in the other one.
    """

    game: str
    role: str
    reason: str
    before: float
    after: float


def _recorded(path: str) -> RecordedResults:
    from playpen.completeness import counted_progress
    from playpen.failure_reasons import reason_of
    from playpen.provenance import instance_sets
    from playpen.scoring import Aggregate
    from playpen.store import Run, run_directories
    from playpen.trained_on import exposures

    runs = [Run.open(folder) for folder in run_directories(Path(path)) or [Path(path)]]
    tell_versions(runs)
    games = {name: get_game(name) for run in runs for name in run.config.assignments}
    aggregate = Aggregate(games)
    counts: Counter[tuple[str, str, tuple[str, str]]] = Counter()
    for run in runs:
        counted_progress(run)
        for episode in run.episodes():
            aggregate.add(episode)
            reason = reason_of(episode)
            if reason is not None:
                _, role, code = reason
                counts[episode.game, episode.instance, (role or "", code or "lost")] += 1
    sets = {game: one for run in runs for game, one in instance_sets(run).items()}
    return RecordedResults(aggregate.results, counts, sets, exposures(runs))


def _basis(first: RecordedResults, other: RecordedResults, games: list[str]) -> Iterator[str]:
    """What a comparison is over, which rules differ, and who was trained on it."""
    from playpen.provenance import together

    yield f"Over instances that both have played: {together(first.sets[game] for game in games)}."
    for game in games:
        before, after = first.sets[game].rules, other.sets[game].rules
        if before != after:
            yield f"{game} was played by rules {before} before and {after} after."
    yield from map(str, dict.fromkeys(first.trained_on + other.trained_on))


def _shifts(first: RecordedResults, other: RecordedResults) -> list[Shift]:
    """On the instances that both have played; game by game, the largest changes first."""
    shifts = []
    for game in sorted(first.results.keys() & other.results.keys()):
        common = first.results[game].keys() & other.results[game].keys()
        if not common:
            continue
        before, after = first.shares(game, common), other.shares(game, common)
        of_game = [
            Shift(game, *reason, before.get(reason, 0.0), after.get(reason, 0.0))
            for reason in sorted(before.keys() | after.keys())
        ]
        shifts += sorted(of_game, key=lambda shift: -abs(shift.after - shift.before))
    return shifts


def _plain(gain: Gain) -> dict[str, object]:
    """A gain as JSON; a number that there is none of is null."""
    return {**gain._asdict(), "difference": gain.difference._asdict()}


def _reasons(shifts: list[Shift]) -> PlainTable:
    from playpen.terminal.plain_table import PlainTable
    from playpen.terminal.tables import MISSING

    title = "why episodes were not won, in % of those on the same instances"
    table = PlainTable("game", "role", title=title)
    table.add_column("reason", prose=True)
    table.add_numbers("before", "after", "change")
    for shift in shifts:
        table.add_row(
            shift.game,
            shift.role or MISSING,
            shift.reason,
            f"{shift.before:.1f}",
            f"{shift.after:.1f}",
            f"{shift.after - shift.before:+.1f}",
        )
    return table


def _table(title: str, gains: list[Gain]) -> PlainTable:
    from rich.text import Text

    from playpen.terminal.plain_table import PlainTable
    from playpen.terminal.tables import MISSING

    table = PlainTable("game", title=title)
    table.add_numbers("n", "gain", "95 % interval", "p", "detect.", "format", "skill")
    for gain in gains:
        value, low, high = gain.difference
        sure = gain.p_holm is not None and gain.p_holm < 0.05
        table.add_row(
            gain.game,
            str(gain.instances),
            Text(_told(value, "+.1f"), style="bold" if sure else ""),
            MISSING if low is None else f"{low:+.1f} .. {high:+.1f}",
            _told(gain.p_holm, ".2g"),
            _told(gain.detectable, ".1f"),
            _told(gain.format, "+.1f"),
            _told(gain.skill, "+.1f"),
        )
    return table


def _told(value: float | None, form: str) -> str:
    from playpen.terminal.tables import MISSING

    return MISSING if value is None else f"{value:{form}}"
