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

from playpen.cli.names import PlayerAssignment, complete_executors, complete_games
from playpen.instance import SPLITS
from playpen.plugins import get_game, registry

if TYPE_CHECKING:
    from playpen.instance import Instance
    from playpen.player import Player
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
    from playpen.rollout import Limits
    from playpen.runner import create_run, make_cast, make_executor, make_players

    given = click.get_current_context().get_parameter_source("split")
    if source and given is ParameterSource.COMMANDLINE:
        raise click.UsageError("--split is for the packs' own instances; leave it out here")
    names = registry().expand(games)
    chosen = {name: choose_instances(name, split, levels, source) for name in names}
    if selection is not None:
        chosen = _selected(selection, chosen)
    cast = make_cast(players)
    made = make_players(cast.specs)
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
            players=made,
            limits=Limits(reply_seconds, episode_replies, episode_tokens),
            remote=remote is not None,
        )
    _play_on(run, made, max_tokens=max_tokens, executor=remote)


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
def resume(
    run: str,
    concurrency: int | None,
    max_tokens: int | None,
    executor: str | None,
    repair: bool,
    once_more: bool,
) -> None:
    """Play what is missing of a RUN, failed episodes included."""
    from playpen.runner import make_executor, make_players
    from playpen.store import Run

    opened = Run.open(run)
    if repair:
        _repair(opened)
    players = make_players(opened.config.players)
    remote = None if executor is None else make_executor(executor)
    _play_on(
        opened,
        players,
        concurrency=concurrency,
        max_tokens=max_tokens,
        executor=remote,
        once_more=once_more,
    )


def _repair(run: Run) -> None:
    """Move the lines that cannot be counted aside, and say which."""
    from playpen.completeness import quarantine, scan_lines
    from playpen.escape import escape

    faults = scan_lines(run, thorough=True).faults
    if faults:
        quarantine(run, faults)
    for line, reason in faults:
        click.echo(escape(f"Moved to episodes.damaged: line {line}: {reason}", one_line=True))


def _selected(selection: Path, chosen: dict[str, list[Instance]]) -> dict[str, list[Instance]]:
    """What a list names, of the chosen games; games without a row are left out."""
    from playpen.interop.clemcore.selection import select_instances

    wanted = select_instances(selection, [i for found in chosen.values() for i in found])
    kept = {name: [i for i in wanted if i.game == name] for name in chosen}
    return {name: found for name, found in kept.items() if found}


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
            of_level = [i for i in given if i.experiment.name == level]
        if not of_level:
            every = ready_instances(game, split) if given is None else given
            known = dict.fromkeys(i.experiment.name for i in every)
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
    players: dict[str, Player],
    *,
    again: str,
    concurrency: int | None = None,
    max_tokens: int | None = None,
    executor: Executor | None = None,
    once_more: bool = False,
) -> PlayCounts:
    """Play what is missing of a run with a live bar.

    Raises:
        SystemExit: it was interrupted; `again` has told how to go on.
    """
    from rich.console import Console

    from playpen.runner import play_run
    from playpen.terminal.tables import PlayProgress

    # A bar that is drawn again and again would wipe out what a person types.
    typed = any(player.serial for player in players.values())
    try:
        with PlayProgress(Console(stderr=True), shown=not typed) as progress:
            return play_run(
                run,
                planned=progress.planned,
                finished=progress.finished,
                concurrency=concurrency,
                players=players,
                max_tokens=max_tokens,
                executor=executor,
                once_more=once_more,
            )
    except KeyboardInterrupt:
        click.echo(f"Interrupted.  {again}", err=True)
        raise SystemExit(130) from None


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
        click.echo(escape(line, one_line=True), err=True)


def tell_given_up(run: Run, tally: PlayCounts) -> None:
    """Say how many episodes are not tried any more, and how they are all the same."""
    name = shlex.quote(str(run.path))
    click.echo(
        f"{tally.given_up} episodes failed too often and were given up.  Once the cause is gone: "
        f"playpen resume {name} --once-more",
        err=True,
    )


def _play_on(
    run: Run,
    players: dict[str, Player],
    *,
    concurrency: int | None = None,
    max_tokens: int | None = None,
    executor: Executor | None = None,
    once_more: bool = False,
) -> None:
    """Play a run with a live bar, then show the scores.

    Exit code 1 if episodes failed, or if the token budget kept some from being played.
    """
    from rich.console import Console

    from playpen.cli.runs import show_scores
    from playpen.runner import uncounted

    name = shlex.quote(str(run.path))
    tally = play_with_bar(
        run,
        players,
        again=f"Continue with: playpen resume {name}",
        concurrency=concurrency,
        max_tokens=max_tokens,
        executor=executor,
        once_more=once_more,
    )
    if not (tally.finished or tally.failed or tally.exhausted):
        click.echo("Nothing was left to play.")
    show_scores(run, Console())
    click.echo(f"Recorded in {run.path}")
    click.echo(f"Read an episode with: playpen transcript {name} 1")
    if tally.failed or tally.given_up:
        tell_failures(run)
    if tally.given_up:
        tell_given_up(run, tally)
    if tally.failed:
        click.echo(
            f"{tally.failed} episodes failed.  Try them again with: playpen resume {name}",
            err=True,
        )
    if tally.exhausted and tally.uncounted:
        click.echo(
            f"{uncounted(tally)}  Continue without a budget: playpen resume {name}", err=True
        )
    elif tally.exhausted and max_tokens is not None:
        click.echo(
            f"Stopped by the budget: {tally.tokens} of {max_tokens} tokens are used.  Continue "
            f"with: playpen resume {name} --max-tokens-total {tally.tokens + max_tokens}",
            err=True,
        )
    if tally.failed or tally.given_up or tally.exhausted:
        raise SystemExit(1)
