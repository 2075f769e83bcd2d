"""What the commands that play have in common: options, instances, the bar, what failed."""

from __future__ import annotations

import os
import shlex
import sys
from typing import TYPE_CHECKING

import click

from playpen.cli.exit_codes import ExitCode
from playpen.cli.messages import echo
from playpen.cli.names import complete_executors
from playpen.plugins import get_game

if TYPE_CHECKING:
    from playpen.cast import Cast
    from playpen.instance import Instance
    from playpen.runner import Executor, PlayCounts
    from playpen.store import Run

budget = click.option(
    "--max-tokens-total", "max_tokens", type=click.IntRange(min=1),
    help="Begin no further episode once the run's players have used so many tokens.",
)  # fmt: skip


in_flight = click.option(
    "--concurrency", type=click.IntRange(min=1), default=64, show_default=True,
    help="Episodes in flight.",
)  # fmt: skip


executed = click.option(
    "--executor", metavar="SPEC", shell_complete=complete_executors,
    help="Who plays, if not this process: ray:?workers=2 (see `playpen list executors`).",
)  # fmt: skip


def choose_instances(
    name: str, split: str, levels: tuple[str, ...], source: str | None
) -> list[Instance]:
    """The instances that the options ask for."""
    from playpen.instance import InstanceError
    from playpen.instance_sets import ready_instances
    from playpen.interop.clembench import find_instances
    from playpen.player import did_you_mean

    game = get_game(name)
    given = find_instances(source, game) if source else None
    if not levels:
        return ready_instances(game, split) if given is None else given
    chosen = []
    for level in levels:
        if given is None:
            of_level = ready_instances(game, split, level)
        else:
            of_level = [instance for instance in given if instance.experiment.name == level]
        if not of_level:
            every = ready_instances(game, split) if given is None else given
            known = dict.fromkeys(instance.experiment.name for instance in every)
            if not source:
                known |= dict.fromkeys(game.levels())
            raise InstanceError(
                f"{source or repr(name)} has no level {level!r}{did_you_mean(level, known)} "
                f"Levels: {', '.join(known)}."
            )
        chosen += of_level
    return chosen


def play_with_bar(
    run: Run,
    cast: Cast,
    *,
    again: str,
    concurrency: int | None = None,
    max_tokens: int | None = None,
    executor: Executor | None = None,
    once_more: bool = False,
) -> PlayCounts:
    """Play what is missing of a run with a live bar.

    A second interrupt ends the process at once, for players that do not notice the first one.

    Raises:
        SystemExit: it was interrupted; `again` has told how to go on.
    """
    from playpen.runner import play_run
    from playpen.terminal.console import open_console
    from playpen.terminal.tables import PlayProgress

    def leave() -> None:
        # Episodes are on the disk once they end, so nothing is lost.  No wait for any thread.
        shown = "\x1b[?25h" if sys.stderr.isatty() else ""  # the cursor, which the bar hides
        os.write(2, f"{shown}\nInterrupted at once.  {again}\n".encode())
        os._exit(ExitCode.INTERRUPTED)

    cast.loop.leave = leave
    # A bar that is drawn again and again would wipe out what a person types.
    try:
        with PlayProgress(open_console(stderr=True), shown=not cast.serial) as progress:
            return play_run(
                run,
                cast,
                planned=progress.planned,
                finished=progress.finished,
                concurrency=concurrency,
                max_tokens=max_tokens,
                executor=executor,
                once_more=once_more,
            )
    except KeyboardInterrupt:
        echo(f"Interrupted.  {again}", err=True)
        raise SystemExit(ExitCode.INTERRUPTED) from None


def tell_failures(run: Run) -> None:
    """Say why episodes failed: the last few reasons, each with an episode."""
    from playpen.escape import escape

    failures: dict[str, list[str]] = {}
    finished = run.progress().done
    for episode in run.episodes(failed=True):
        if episode.failure is not None and episode.key not in finished:
            failures.setdefault(episode.failure.message, []).append(episode.name)
    for message, attempts in list(failures.items())[-3:]:
        names = list(dict.fromkeys(attempts))
        others = f" and {len(names) - 1} more" if len(names) > 1 else ""
        line = f"Failed: {message} (episode {names[-1]}{others})"
        echo(escape(line, one_line=True), err=True)


def tell_given_up(run: Run, counts: PlayCounts) -> None:
    """Say how many episodes are not tried any more, and how they are all the same."""
    name = shlex.quote(str(run.path))
    echo(
        f"{counts.given_up} episodes failed too often and were given up.  Once the cause is gone: "
        f"playpen resume {name} --once-more",
        err=True,
    )


def play_evaluation_run(
    run: Run,
    cast: Cast,
    concurrency: int,
    max_tokens: int | None = None,
    executor: Executor | None = None,
) -> int | None:
    """Play what is missing of a run with a bar; what is left of the budget.

    Raises:
        SystemExit: it was interrupted.
    """
    from playpen.runner import uncounted

    counts = play_with_bar(
        run,
        cast,
        again=f"The same command goes on: {shlex.join(['playpen', *sys.argv[1:]])}",
        concurrency=concurrency,
        max_tokens=max_tokens,
        executor=executor,
    )
    if counts.failed or counts.given_up:
        tell_failures(run)
    if counts.given_up:
        tell_given_up(run, counts)
    if max_tokens is None:
        return None
    if counts.exhausted and counts.uncounted:
        echo(f"{uncounted(counts)}  The same command without one goes on", err=True)
        raise SystemExit(ExitCode.IN_PART)
    return 0 if counts.exhausted else max(max_tokens - counts.tokens, 1)
