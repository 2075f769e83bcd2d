"""``playpen replay``, ``playpen score`` and ``playpen transcript``: looking at what was played."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from playpen.cli.exit_codes import ExitCode
from playpen.cli.messages import echo, echo_document
from playpen.cli.output import write_output
from playpen.cli.versions import tell_versions
from playpen.plugins import PluginError, get_game

if TYPE_CHECKING:
    from rich.console import Console

    from playpen.panels import PanelScore
    from playpen.replay import Divergence
    from playpen.scoring import RunScore
    from playpen.store import Run


@click.command()
@click.argument("path", metavar="RUN|FILE", type=click.Path(exists=True, path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Write one JSON line per episode.")
def replay(path: Path, out: Path | None) -> None:
    """Play recorded episodes again and report every difference.

    Takes a run directory, or a .jsonl(.gz) file of clemcore episodes.  Exit code 1 if anything
    differs.
    """
    import msgspec

    from playpen.escape import escape

    episodes = differing = 0
    lines = []
    for name, record, divergences in _replayed(path):
        episodes += 1
        differing += bool(divergences)
        lines.append(msgspec.json.encode(record) + b"\n")
        for divergence in divergences:
            echo(escape(f"{name}: {divergence}", one_line=True))
    if not episodes:
        raise click.UsageError(f"{path} has no episodes to replay")
    if out:
        write_output(out, b"".join(lines))
    echo(f"{episodes} episodes replayed, {episodes - differing} agree, {differing} differ")
    if differing:
        raise SystemExit(ExitCode.FOUND_PROBLEMS)


def _replayed(path: Path) -> Iterator[tuple[str, object, list[Divergence]]]:
    from playpen.interop.recordings import read_recordings, replay_recording, result_of
    from playpen.replay import replay as replay_episode
    from playpen.store import Run, RunError

    if path.is_file():
        for recording in read_recordings(path):
            try:
                game = get_game(recording.game)
            except PluginError as error:
                raise PluginError(f"{path}, {recording.id}: {error}") from None
            result, divergences = replay_recording(game, recording)
            yield recording.id, result, divergences
        return
    run = Run.open(path)
    instances = {(i.game, i.hash): i for i in run.instances()}
    for episode in run.episodes():
        game = get_game(episode.game)
        instance = instances.get((episode.game, episode.instance))
        if instance is None:
            raise RunError(f"{path}: instances.jsonl lacks the instance of {episode.name}")
        again = replay_episode(game, instance, episode)
        yield episode.name, result_of(game, episode.name, again), again.divergences


@click.command()
@click.argument("run", type=click.Path(exists=True, file_okay=False))
@click.option("--json", "as_json", is_flag=True, help="Print scores.json instead of the table.")
def score(run: str, as_json: bool) -> None:
    """Score a RUN, and write its scores.json.

    Per game: % played, quality, their product (clemscore, statscore), and the counts behind
    them.  A line says what the averages are over: published instances, or others.
    """
    import msgspec

    from playpen.store import Run
    from playpen.terminal.console import open_console

    opened = Run.open(run)
    if as_json:
        scored = _scored(opened)
        content = msgspec.json.format(msgspec.json.encode(scored.document), indent=2)
        echo_document(content + b"\n")
        missing = scored.missing
    else:
        missing = show_scores(opened, open_console())
    if missing:
        raise SystemExit(ExitCode.IN_PART)


def show_scores(run: Run, console: Console) -> int:
    """Score a run, write ``scores.json``, and print the table and the tokens used.

    Returns:
        How many of the planned episodes failed or are missing.
    """
    from playpen.escape import escape
    from playpen.terminal.tables import score_table

    scored = _scored(run)
    score = scored.score
    console.print(score_table(score, scored.panels))
    for panel in scored.panels:
        echo(escape(panel.basis, one_line=True))
    for game in score.games:
        if game.role_scores:
            means = ", ".join(f"{role} {mean:.2f}" for role, mean in game.role_scores.items())
            echo(escape(f"Mean scores of the roles in {game.game}: {means}", one_line=True))
    for label, count in score.tokens.items():
        echo(escape(f"Tokens of {label}: {count}", one_line=True))
    planned = sum(run.config.episodes.values())
    counted = sum(game.episodes + game.failed + game.unscored for game in score.games)
    if counted < planned:
        echo(
            f"Not complete: {planned - counted} of {planned} episodes are not played yet.  "
            f"Continue with: playpen resume {shlex.quote(str(run.path))}",
            err=True,
        )
    return scored.missing


class _Scored(NamedTuple):
    """The scores of a run, their panels, and the content of ``scores.json``."""

    score: RunScore
    panels: list[PanelScore]
    document: dict[str, Any]

    @property
    def missing(self) -> int:
        """How many of the planned episodes failed or are missing."""
        count: int = self.document["missing"]
        return count


def _scored(run: Run) -> _Scored:
    """Score a run and write ``scores.json``."""
    import msgspec

    from playpen.completeness import counted_progress
    from playpen.panels import panel_scores
    from playpen.provenance import instance_sets
    from playpen.scoring import score_episodes

    counted_progress(run)
    games = {name: get_game(name) for name in run.config.assignments}
    score = score_episodes(run.episodes(failed=True), games)
    panels = panel_scores(score, instance_sets(run))
    planned = sum(run.config.episodes.values())
    ended = sum(game.episodes + game.unscored for game in score.games)
    document = {
        **msgspec.to_builtins(score),
        "missing": max(planned - ended, 0),
        "panels": msgspec.to_builtins(panels),
    }
    if len(panels) > 1:  # there is no average over games of both kinds
        document |= dict.fromkeys(("played", "quality", "clemscore"))
    tell_versions([run])
    try:
        run.write_scores(document)
    except OSError as error:  # somebody else's run can still be looked at
        echo(f"scores.json is not written: {run.path}: {error.strerror}", err=True)
    return _Scored(score, panels, document)


@click.command()
@click.argument("run", type=click.Path(exists=True, file_okay=False))
@click.argument("episode", required=False)
def transcript(run: str, episode: str | None) -> None:
    """Show an EPISODE of a RUN, or list its episodes.

    EPISODE is the number or the name that the list shows.
    """
    from playpen.store import Run, RunError
    from playpen.terminal.console import open_console
    from playpen.terminal.plain_table import PlainTable
    from playpen.terminal.transcript import outcome_text, transcript

    console = open_console()
    recorded = enumerate(Run.open(run).episodes(failed=True), 1)
    if episode is not None:
        for number, entry in recorded:
            if episode in (str(number), entry.name):
                console.print(transcript(entry))
                return
        raise RunError(f"{run} has no episode {episode!r}; `playpen transcript {run}` lists them")
    table = PlainTable("number", "episode")
    table.add_column("outcome", prose=True)
    for number, entry in recorded:
        table.add_row(str(number), entry.name, outcome_text(entry))
    console.print(table)
