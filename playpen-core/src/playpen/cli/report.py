"""``playpen report`` and ``playpen view``: runs and trainings in a browser."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from playpen.cli.exit_codes import ExitCode
from playpen.cli.extras import needs_report
from playpen.cli.messages import echo, echo_document
from playpen.cli.output import write_output
from playpen.errors import PlaypenError

if TYPE_CHECKING:
    from playpen.report.sources import ReportSources
    from playpen.report.summary import Summary

FORMATS = ("html", "markdown", "json")
_LARGE = 30_000_000


@click.command()
@click.argument(
    "runs",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File to write.")
@click.option(
    "--format", "kind", type=click.Choice(FORMATS), default="html", show_default=True,
    help="What to make; only html needs -o.",
)  # fmt: skip
@click.option("--seed", type=int, default=0, show_default=True, help="Of the permutations.")
def report(runs: tuple[Path, ...], output: Path | None, kind: str, seed: int) -> None:
    """Make a page of RUNs: scores, reasons, episodes.

    A RUN is the directory of a run, an evaluation or a training.  Each run is compared with the
    first one.  The page needs no network and no other file: scores with 95 % intervals, why
    episodes were not won, learning curves, and every episode to read.  Exit code 3 if a directory
    could not be read.
    """
    from playpen.escape import escape

    if kind == "html" and output is None:
        raise click.UsageError("name the file to write: -o report.html")
    sources, summary = _summarised(runs, seed)
    if not sources.runs and not sources.trainings:
        raise PlaypenError(sources.problems[0].message)
    content = _content(kind, sources, summary)
    if output is None:
        echo_document(content)
    else:
        write_output(output, content)
        echo(f"{output}: {len(content) / 1e6:.1f} MB", err=True)
        if kind == "html" and len(content) > _LARGE:
            echo("The page is large; `playpen view` shows runs of any size.", err=True)
    for note in (note for recorded in sources.runs for note in recorded.versions):
        echo(escape(f"Note: {note}", one_line=True), err=True)
    for problem in sources.problems:
        echo(escape(f"Not read: {problem.message}", one_line=True), err=True)
    if sources.problems:
        raise SystemExit(ExitCode.IN_PART)


def _summarised(runs: tuple[Path, ...], seed: int) -> tuple[ReportSources, Summary]:
    with needs_report("a report", "numpy"):
        from playpen.report.sources import read_sources
        from playpen.report.summary import summarise
    sources = read_sources(runs)
    return sources, summarise(sources, seed=seed)


def _content(kind: str, sources: ReportSources, summary: Summary) -> bytes:
    if kind == "json":
        import msgspec

        return msgspec.json.format(msgspec.json.encode(summary), indent=2) + b"\n"
    if kind == "markdown":
        from playpen.report.markdown import to_markdown

        return to_markdown(summary).encode()
    with needs_report("a report", "matplotlib and jinja2"):
        from playpen.report.page import render_report
    return render_report(summary, sources.runs)


@click.command()
@click.argument(
    "folder",
    metavar="[DIR]",
    default="runs",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
)
@click.option("--port", type=click.IntRange(0, 65535), default=8787, show_default=True,
              help="Where to listen; 0 for any that is free.")  # fmt: skip
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
def view(folder: Path, port: int, host: str) -> None:
    """Show the runs below DIR in a browser, live.

    DIR is `runs` if left out.  Progress and new episodes appear while they are played.  The server
    only reads, and only this machine can reach it unless --host says otherwise.
    """
    with needs_report("a report", "matplotlib and jinja2"):
        from playpen.report.viewer import Viewer
    try:
        viewer = Viewer(folder, host, port)
    except OSError as error:
        raise PlaypenError(
            f"cannot listen at {host}, port {port}: {error.strerror or error}; "
            "choose another with --port or --host"
        ) from None
    echo(f"The runs below {folder} are at {viewer.address} (Ctrl-C ends it)")
    if not viewer.private:
        echo("Everybody who reaches this address can read them.", err=True)
    try:
        viewer.serve_forever()
    except KeyboardInterrupt:
        echo()
    finally:
        viewer.server_close()
