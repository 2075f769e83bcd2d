"""``playpen import-run`` and ``playpen export-run``: runs from and for clemcore."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from playpen.cli.exit_codes import ExitCode
from playpen.cli.messages import echo

if TYPE_CHECKING:
    from playpen.interop.clemcore.importing import ImportedRun

SHOWN = 5
"""How many episodes of each kind are shown."""


@click.command("import-run")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True,
    help="Run directory; with several model folders, the directory of their runs.",
)  # fmt: skip
@click.option(
    "--instances", "files", multiple=True, metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Instances file, for experiments whose experiment.json is missing.  Repeatable.",
)  # fmt: skip
@click.option("--name", help="Of the player; for files with one episode a line.")
def import_run(path: Path, output: Path, files: tuple[Path, ...], name: str | None) -> None:
    """Make a run of clemcore's results.

    The episodes in PATH are played again.  Takes results of clemcore 2.x to 3.7, whole or in
    part; each model folder becomes a run.  What clemcore recorded is kept in recorded.jsonl.  Also
    takes recordings with one episode a line (.jsonl, .jsonl.gz), a file or a folder of them.  Exit
    code 3 if an episode has no outcome or a game is not installed, 1 if just a score differs from
    the recorded one.
    """
    from playpen.escape import escape
    from playpen.interop.clemcore.importing import import_results
    from playpen.interop.clemcore.jsonl import import_recordings, recording_files

    if recording_files(path):
        imported = import_recordings(path, output, model=name, command=sys.argv[1:])
    else:
        imported = import_results(path, output, instances=files, command=sys.argv[1:])
    for run in imported.runs:
        _report(run)
    for game in imported.left_out:
        echo(escape(f"Left out: {game.episodes} episodes of {game.game}: {game.reason}"), err=True)
    if imported.lost:
        lost = ", ".join(imported.lost[:SHOWN]) + (", ..." if len(imported.lost) > SHOWN else "")
        echo(
            escape(
                f"{len(imported.lost)} episodes are in no run, since they crashed before it was "
                f"recorded what was played (--instances FILE can tell): {lost}",
                one_line=True,
            ),
            err=True,
        )
    if imported.left_out or imported.lost or any(run.failed for run in imported.runs):
        raise SystemExit(ExitCode.IN_PART)
    if any(run.differing for run in imported.runs):
        raise SystemExit(ExitCode.FOUND_PROBLEMS)


def _report(run: ImportedRun) -> None:
    from playpen.escape import escape

    def show(line: str) -> None:
        echo(escape(line, one_line=True), err=True)

    echo(escape(f"{run.episodes} episodes of {run.model} are in {run.path}", one_line=True))
    if run.unscored:
        show(f"{run.path}: {run.unscored} episodes have no recorded scores to compare with.")
    if run.failed:
        show(f"{run.path}: {len(run.failed)} episodes have no outcome and count as failed:")
        for episode, reason in list(run.failed.items())[:SHOWN]:
            show(f"  {episode}: {reason}")
    if run.differing:
        number = len(run.differing)
        show(f"{run.path}: the scores of {number} episodes differ from the recorded ones:")
        for episode, differences in list(run.differing.items())[:SHOWN]:
            show(f"  {episode}: {'; '.join(map(str, differences))}")
    echo(f"Score it with: playpen score {shlex.quote(str(run.path))}")


@click.command("export-run")
@click.argument("run", type=click.Path(exists=True, file_okay=False))
@click.argument("path", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--format", "form", type=click.Choice(["clembench"]), default="clembench", show_default=True,
    help="clembench: the results tree of clemcore 3.7.2.",
)  # fmt: skip
def export_run(run: str, path: Path, form: str) -> None:
    """Write a RUN for other tools.

    They find it in the new folder PATH.

    \b
    playpen export-run runs/taboo results
    clem eval -r results
    """
    from playpen.escape import escape
    from playpen.interop.clemcore import exporting
    from playpen.store import Run

    written = exporting.export_run(Run.open(run), path)
    echo(escape(f"{written.episodes} episodes are in {written.path}", one_line=True))
    if written.failed:
        echo(f"{written.failed} of them failed: clemcore leaves them out of every score.", err=True)
