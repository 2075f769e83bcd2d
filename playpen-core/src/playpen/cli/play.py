"""``playpen play`` and ``playpen resume``."""

from __future__ import annotations

import contextlib
import datetime
import itertools
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from playpen.cli.exit_codes import ExitCode
from playpen.cli.messages import echo
from playpen.cli.names import PlayerAssignment, complete_games
from playpen.cli.playing import (
    budget,
    choose_instances,
    executed,
    in_flight,
    play_with_bar,
    tell_failures,
    tell_given_up,
)
from playpen.instance import SPLITS
from playpen.plugins import registry

if TYPE_CHECKING:
    from playpen.cast import Cast
    from playpen.instance import Instance
    from playpen.runner import Executor, PlayCounts
    from playpen.store import Run


@click.command()
@click.argument("games", nargs=-1, required=True, metavar="GAME...", shell_complete=complete_games)
@click.option(
    "-p",
    "--player",
    "players",
    type=PlayerAssignment(),
    multiple=True,
    required=True,
    help="Who plays: SPEC for all roles (self-play), or ROLE=SPEC.  Repeatable.",
)
@click.option(
    "-n",
    "--episodes",
    type=click.IntRange(min=1),
    help="Episodes per game; instances cycle as repeats.  One per instance by default.",
)
@click.option("--split", type=click.Choice(SPLITS), default="validation", show_default=True)
@click.option("--level", "levels", multiple=True, help="Only this level (repeatable).")
@click.option("--instances", "source", help="An instances file, or the name of an imported set.")
@click.option(
    "--select", "selection", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Play only what this list names: CSV, JSON or JSON Lines of game, experiment, task_id.",
)  # fmt: skip
@click.option("--seed", default=0, show_default=True, help="Of chance moves and sampling.")
@in_flight
@click.option(
    "--reply-timeout", "reply_seconds", type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS", help="An episode fails if a reply takes longer; people have all the time.",
)  # fmt: skip
@click.option(
    "--max-episode-replies", "episode_replies", type=click.IntRange(min=1),
    help="Further replies of an episode are empty.",
)  # fmt: skip
@click.option(
    "--max-episode-tokens", "episode_tokens", type=click.IntRange(min=1),
    help="Tokens that all roles of an episode may write; further replies are empty.",
)  # fmt: skip
@budget
@executed
@click.option(
    "-o", "--output", type=click.Path(path_type=Path),
    help="Run directory; runs/<time>-<games> by default.",
)  # fmt: skip
def play(
    games: tuple[str, ...],
    players: tuple[tuple[str | None, str], ...],
    episodes: int | None,
    split: str,
    levels: tuple[str, ...],
    source: str | None,
    selection: Path | None,
    seed: int,
    concurrency: int,
    reply_seconds: float | None,
    episode_replies: int | None,
    episode_tokens: int | None,
    max_tokens: int | None,
    executor: str | None,
    output: Path | None,
) -> None:
    """Play GAMEs, record every episode, and show the scores.

    GAME is the name of a game, or suite:NAME for all games of a suite.

    \b
    playpen play taboo -p program:oracle
    playpen play taboo wordle -p hf:HuggingFaceTB/SmolLM2-135M-Instruct -n 20
    playpen play taboo -p describer=program:oracle -p guesser=human: -n 1
    """
    from playpen.cast import make_cast
    from playpen.rollout import Limits
    from playpen.runner import create_run, make_executor

    given = click.get_current_context().get_parameter_source("split")
    if source and given is ParameterSource.COMMANDLINE:
        raise click.UsageError("--split is for the packs' own instances; leave it out here")
    names = registry().expand(games)
    chosen = {name: choose_instances(name, split, levels, source) for name in names}
    if selection is not None:
        chosen = _selected(selection, chosen)
    with make_cast(players) as cast:
        remote = None if executor is None else make_executor(executor)
        with _new_directory(games) if output is None else contextlib.nullcontext(output) as folder:
            run = create_run(
                folder,
                chosen,
                cast,
                episodes=episodes,
                seed=seed,
                concurrency=concurrency,
                split=None if source else split,
                source=source or "",
                command=sys.argv[1:],
                limits=Limits(reply_seconds, episode_replies, episode_tokens),
                remote=remote is not None,
            )
        _play_on(run, cast, max_tokens=max_tokens, executor=remote)


@contextlib.contextmanager
def _new_directory(games: tuple[str, ...]) -> Iterator[Path]:
    """A directory named by time and games, taken at once, so that no other call takes it too.

    It is removed if no run is made in it.

    Raises:
        RunError: it cannot be made.
    """
    from playpen.store import RunError

    stamp = datetime.datetime.now().astimezone().strftime("%Y-%m-%dT%H-%M-%S")
    first = Path("runs") / f"{stamp}-{'-'.join(games).replace(':', '-')}"
    later = (first.with_name(f"{first.name}-{number}") for number in itertools.count(2))
    for folder in itertools.chain([first], later):
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise RunError(f"{folder} cannot be written: {error.strerror}") from None
        break
    try:
        yield folder
    except BaseException:
        with contextlib.suppress(OSError):  # not empty: somebody else's, too
            folder.rmdir()
            folder.parent.rmdir()
        raise


@click.command()
@click.argument("run", type=click.Path(exists=True, file_okay=False))
@click.option("--concurrency", type=click.IntRange(min=1), help="Instead of the run's own.")
@budget
@executed
@click.option("--repair", is_flag=True, help="First move damaged lines to episodes.damaged.")
@click.option("--once-more", is_flag=True, help="Also try episodes that were given up.")
@click.option("--trust", is_flag=True, help="Run the programs that the run names as players.")
def resume(
    run: str,
    concurrency: int | None,
    max_tokens: int | None,
    executor: str | None,
    repair: bool,
    once_more: bool,
    trust: bool,
) -> None:
    """Play what is missing of a RUN, failed episodes included.

    A run may name programs as its players; they are imported and run only with --trust.
    """
    from playpen.cast import Cast
    from playpen.runner import make_executor
    from playpen.store import Run

    opened = Run.open(run)
    programs = _programs(opened)
    if programs and not trust:
        raise click.UsageError(
            f"{opened.path / 'run.json'} names code to run: {', '.join(programs)}.  If you trust "
            f"it: playpen resume {shlex.quote(run)} --trust"
        )
    if repair:
        _repair(opened)
    with Cast(opened.config.players) as cast:
        _play_on(
            opened,
            cast,
            concurrency=concurrency,
            max_tokens=max_tokens,
            executor=None if executor is None else make_executor(executor),
            once_more=once_more,
        )


def _programs(run: Run) -> list[str]:
    """The players of a run that are code by its name, not a pack's own."""
    return [
        spec
        for spec in dict.fromkeys(run.config.players.values())
        if spec.startswith("program:") and spec.partition("?")[0] != "program:oracle"
    ]


def _repair(run: Run) -> None:
    """Move the lines that cannot be counted aside, and say which."""
    from playpen.completeness import quarantine, scan_lines
    from playpen.escape import escape

    faults = scan_lines(run, thorough=True).faults
    if faults:
        quarantine(run, faults)
    for line, reason in faults:
        echo(escape(f"Moved to episodes.damaged: line {line}: {reason}", one_line=True))


def _selected(selection: Path, chosen: dict[str, list[Instance]]) -> dict[str, list[Instance]]:
    """What a list names, of the chosen games; games without a row are left out."""
    from playpen.interop.clemcore.selection import select_instances

    wanted = select_instances(selection, [i for found in chosen.values() for i in found])
    kept = {name: [i for i in wanted if i.game == name] for name in chosen}
    return {name: found for name, found in kept.items() if found}


def _play_on(
    run: Run,
    cast: Cast,
    *,
    concurrency: int | None = None,
    max_tokens: int | None = None,
    executor: Executor | None = None,
    once_more: bool = False,
) -> None:
    """Play a run with a live bar, then show the scores.

    Exit code 3 if episodes failed, or if the token budget kept some from being played.
    """
    from playpen.cli.runs import show_scores
    from playpen.terminal.console import open_console

    name = shlex.quote(str(run.path)) + " --trust" * bool(_programs(run))
    counts = play_with_bar(
        run,
        cast,
        again=f"Continue with: playpen resume {name}",
        concurrency=concurrency,
        max_tokens=max_tokens,
        executor=executor,
        once_more=once_more,
    )
    if not (counts.finished or counts.failed or counts.exhausted):
        echo("Nothing was left to play.")
    show_scores(run, open_console())
    echo(f"Recorded in {run.path}")
    echo(f"Read an episode with: playpen transcript {shlex.quote(str(run.path))} 1")
    if counts.failed or counts.given_up:
        tell_failures(run)
    if counts.given_up:
        tell_given_up(run, counts)
    if counts.failed:
        echo(
            f"{counts.failed} episodes failed.  Try them again with: playpen resume {name}",
            err=True,
        )
    if counts.exhausted:
        _tell_exhausted(name, counts, max_tokens)
    if counts.failed or counts.given_up or counts.exhausted:
        raise SystemExit(ExitCode.IN_PART)


def _tell_exhausted(run: str, counts: PlayCounts, max_tokens: int | None) -> None:
    """Say why no further episode was begun, and how to go on."""
    from playpen.runner import uncounted

    if counts.uncounted:
        echo(f"{uncounted(counts)}  Continue without a budget: playpen resume {run}", err=True)
    elif max_tokens is not None:
        echo(
            f"Stopped by the budget: {counts.tokens} of {max_tokens} tokens are used.  Continue "
            f"with: playpen resume {run} --max-tokens-total {counts.tokens + max_tokens}",
            err=True,
        )
