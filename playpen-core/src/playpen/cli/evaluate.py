"""``playpen eval``: scores that can be trusted, with intervals and coverage."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from playpen.cli.exit_codes import ExitCode
from playpen.cli.messages import echo, echo_document
from playpen.cli.names import GameList, PlayerAssignment, complete_players
from playpen.cli.playing import (
    budget,
    choose_instances,
    executed,
    in_flight,
    play_evaluation_run,
)
from playpen.cli.versions import tell_versions
from playpen.instance import SPLITS
from playpen.plugins import registry

if TYPE_CHECKING:
    from playpen.cast import Cast
    from playpen.episode import Episode
    from playpen.evaluation import Evaluation
    from playpen.instance import Instance
    from playpen.interop.clemcore.layout import Places
    from playpen.interop.clemcore.tables import Scored
    from playpen.store import Run

SUITES = ("clembench-2.0", "static-1.0")
HOME = Path("playpen-eval")


@click.command("eval")
@click.argument(
    "what", metavar="PLAYER|RUN...", nargs=-1, required=True, shell_complete=complete_players
)
@click.option(
    "--suite", "suites", multiple=True, help=f"Repeatable; {' and '.join(SUITES)} by default."
)
@click.option(
    "--games", "names", type=GameList(),
    help="These games instead of suites.",
)  # fmt: skip
@click.option(
    "-p", "--player", "others", type=PlayerAssignment(), multiple=True, metavar="ROLE=SPEC",
    help="Another player in one role.  Repeatable.",
)  # fmt: skip
@click.option("--split", type=click.Choice(SPLITS), default="validation", show_default=True)
@click.option("--instances", "source", help="An instances file, or the name of an imported set.")
@click.option(
    "--repeats", type=click.IntRange(1, 10_000), default=1, show_default=True,
    help="Episodes on each instance; gives pass@k.",
)  # fmt: skip
@click.option(
    "--seen", type=GameList(), help="Games it was trained on; by default those of its train.json."
)
@click.option("--unseen", type=GameList(), help="Games it was not trained on.")
@click.option("--seed", default=0, show_default=True, help="Of chance moves and sampling.")
@in_flight
@budget
@executed
@click.option(
    "-o", "--output", type=click.Path(file_okay=False, path_type=Path),
    help=f"{HOME}/<name> by default; what is there already is not played again.",
)  # fmt: skip
@click.option("--name", help="Of <name>.val.json and of the row in results.csv.")
@click.option("--strict", is_flag=True,
    help="No score unless every episode was played, and nobody was trained on the instances.",
)  # fmt: skip
@click.option("--std", is_flag=True, help="Standard deviations in results.csv, as before 3.7.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
def evaluate(
    what: tuple[str, ...],
    suites: tuple[str, ...],
    names: list[str] | None,
    others: tuple[tuple[str | None, str], ...],
    split: str,
    source: str | None,
    repeats: int,
    seen: list[str] | None,
    unseen: list[str] | None,
    seed: int,
    concurrency: int,
    max_tokens: int | None,
    executor: str | None,
    output: Path | None,
    name: str | None,
    strict: bool,
    std: bool,
    as_json: bool,
) -> None:
    """Measure a PLAYER, or what was recorded in RUNs.

    Plays what is missing and writes DIR/<name>.val.json with scores (clemscore and statscore over
    published instances), 95 % intervals, coverage, tokens and time, and raw.csv and results.csv as
    clembench has them.  The same command continues an evaluation that was interrupted.

    \b
    playpen eval hf:runs/grpo/checkpoint-40 --split test
    playpen eval openai:gpt-4o-mini --games taboo,wordle --repeats 4
    playpen eval runs/imported-clem runs/imported-static --strict
    """
    from playpen.cli.extras import needs_report
    from playpen.interop.clemcore.layout import model_folder, safe_name

    with needs_report("evaluating"):
        from playpen.evaluation import evaluate as score
    recorded = _recorded(what)
    if recorded is not None:
        _refuse_given(
            "suites", "names", "others", "split", "source", "repeats", "max_tokens", "executor"
        )
        runs = recorded
        name = name or _file_name(
            model_folder(list(dict.fromkeys(label for run in runs for label in run.config.players)))
        )
        folder = output or HOME / safe_name(name)
    else:
        if suites and names:
            raise click.UsageError("choose games by --suite or by --games")
        chosen = _suites(suites or SUITES, names)
        with _cast(what[0], others) as cast:
            name = name or _file_name(next(iter(cast.specs.values())))
            folder = output or HOME / safe_name(name)
            if (folder / "run.json").exists():
                raise click.UsageError(f"{folder} is a run; choose another directory with -o")
            if seen is None and unseen is None:
                seen = _trained_on(cast)
            instances = {
                suite: {game: choose_instances(game, split, (), source) for game in games}
                for suite, games in chosen.items()
            }
            runs = _play(
                folder, instances, cast, repeats=repeats, seed=seed, concurrency=concurrency,
                split=None if source else split, source=source or "", max_tokens=max_tokens,
                executor=executor,
            )  # fmt: skip
    tell_versions(runs)
    rows = _Rows(name)
    evaluation = score(runs, seen=seen, unseen=unseen, judged=rows.add)
    if strict:
        _refuse_incomplete(evaluation)
        _refuse_trained_on(evaluation)
    file = _write(folder, name, evaluation, rows.scored, std=std)
    if as_json:
        echo_document(file.read_bytes())
    else:
        _show(evaluation, file, runs[-1])
    if not evaluation.coverage.complete:
        echo("The scores are not complete: see the games marked *.", err=True)
        raise SystemExit(ExitCode.IN_PART)


class _Rows:
    """The rows of ``raw.csv``: every judged episode in its place of clemcore's tree.

    Attributes:
        scored: the rows so far.
    """

    def __init__(self, name: str) -> None:
        self.scored: list[Scored] = []
        self._name = name
        self._places: dict[Path, Places] = {}

    def add(self, run: Run, episode: Episode, scores: Mapping[str, object] | None) -> None:
        """Add an episode that counts."""
        from playpen.interop.clemcore.layout import Places
        from playpen.interop.clemcore.tables import scored

        if run.path not in self._places:  # not sooner: what is wrong with a run is told first
            self._places[run.path] = Places(run, self._name)
        placed = self._places[run.path].place(episode)
        if placed is not None and scores is not None:
            self.scored.append(scored(placed, scores))


def _refuse_incomplete(evaluation: Evaluation) -> None:
    """Give no score of what is not complete.

    Raises:
        SystemExit: it is not; says what is missing of which game.
    """
    from playpen.escape import escape

    lines = [
        f"  {game}: {result.coverage.in_words()}"
        for game, result in evaluation.games.items()
        if not result.coverage.complete
    ]
    if lines:
        echo(
            escape("Not complete, so there is no score (--strict):\n" + "\n".join(lines)), err=True
        )
        raise SystemExit(ExitCode.FOUND_PROBLEMS)


def _refuse_trained_on(evaluation: Evaluation) -> None:
    """Give no score over instances that a player was trained on.

    Raises:
        SystemExit: there are some; says how many of which game.
    """
    from playpen.escape import escape

    lines = [f"  {exposure}" for exposure in evaluation.trained_on]
    if lines:
        echo(escape("Trained on, so there is no score (--strict):\n" + "\n".join(lines)), err=True)
        raise SystemExit(ExitCode.FOUND_PROBLEMS)


def _show(evaluation: Evaluation, file: Path, run: Run) -> None:
    from playpen.escape import escape
    from playpen.terminal.console import open_console
    from playpen.terminal.panels import evaluation_tables

    open_console().print(evaluation_tables(evaluation))
    for label, count in evaluation.tokens.items():
        echo(escape(f"Tokens of {label}: {count}", one_line=True))
    if evaluation.seconds:
        echo(f"Played in {evaluation.seconds:.1f} s")
    echo(f"Written to {file}")
    echo(f"Read an episode with: playpen transcript {shlex.quote(str(run.path))} 1")


def _recorded(what: Sequence[str]) -> list[Run] | None:
    """The runs, if it is runs that are named.

    Raises:
        UsageError: more than one thing is named, and one of them is no run.
    """
    from playpen.store import Run, run_directories

    directories = [run_directories(Path(text)) for text in what]
    if all(directories):
        return [Run.open(path) for paths in directories for path in paths]
    if len(what) > 1:
        wrong = what[directories.index([])]
        raise click.UsageError(
            f"{wrong!r} is not a run directory; name one player, or any number of runs"
        )
    [name] = what
    if ":" not in name and Path(name).is_dir():
        raise click.UsageError(
            f"{name!r} is a directory without a run.json; a checkpoint is written hf:{name}"
        )
    if ":" not in name and ("/" in name or Path(name).exists()):
        wrong = "is a file; a run is a directory" if Path(name).exists() else "is not there"
        raise click.UsageError(f"{name!r} {wrong}; name a run directory, or a player")
    return None


def _refuse_given(*options: str) -> None:
    """Refuse options that say how to play, where nothing is played.

    Raises:
        UsageError: one of them is given; names it.
    """
    context = click.get_current_context()
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if parameter.name in options and source is ParameterSource.COMMANDLINE:
            raise click.UsageError(
                f"{parameter.opts[-1]} is for playing, and RUNs are evaluated as they are: leave "
                "it out"
            )


def _file_name(player: str) -> str:
    """What the files of a player are called, on any system: a colon is no part of names."""
    from playpen.interop.clemcore.layout import safe_name

    return safe_name(player).replace(":", "-")


def _suites(suites: Sequence[str], names: list[str] | None) -> dict[str, list[str]]:
    """What is to be played, by the name of the run's directory."""
    if names is not None:
        return {"games": names}
    return {suite: registry().expand([f"suite:{suite}"]) for suite in dict.fromkeys(suites)}


def _cast(player: str, others: Sequence[tuple[str | None, str]]) -> Cast:
    from playpen.cast import make_cast

    for role, spec in others:
        if role is None:
            raise click.UsageError(f"-p {spec}: name the role it plays, -p ROLE={spec}")
    return make_cast([(None, player), *others])


def _trained_on(cast: Cast) -> list[str] | None:
    """The games that the player was trained on, if its directory tells."""
    from playpen.player import parse_spec
    from playpen.training.config import games_trained_on

    target = parse_spec(cast.specs[cast.everyone or ""]).target
    return games_trained_on(Path(target)) if target else None


def _play(
    folder: Path,
    instances: Mapping[str, Mapping[str, Sequence[Instance]]],
    cast: Cast,
    *,
    repeats: int,
    seed: int,
    concurrency: int,
    split: str | None,
    source: str,
    max_tokens: int | None,
    executor: str | None,
) -> list[Run]:
    """Play what is missing, suite by suite.

    Raises:
        SystemExit: it was interrupted, or the budget is used up.
    """
    from playpen.evaluation import evaluation_run, refuse_other_evaluation
    from playpen.runner import make_executor

    refuse_other_evaluation(folder / "runs", cast, split=split, source=source, seed=seed)
    remote = None if executor is None else make_executor(executor)
    runs = []
    for suite, of_suite in instances.items():
        run = evaluation_run(
            folder / "runs" / suite, of_suite, cast, repeats=repeats, seed=seed,
            concurrency=concurrency, split=split, source=source, command=sys.argv[1:],
            remote=remote is not None,
        )  # fmt: skip
        runs.append(run)
        max_tokens = play_evaluation_run(run, cast, concurrency, max_tokens, remote)
        if max_tokens == 0:
            echo(
                "Stopped by the budget.  The same command with a larger --max-tokens-total goes on",
                err=True,
            )
            raise SystemExit(ExitCode.IN_PART)
    return runs


def _write(
    folder: Path, name: str, evaluation: Evaluation, rows: Sequence[Scored], *, std: bool
) -> Path:
    """Write ``<name>.val.json``, and ``raw.csv`` and ``results.csv`` for each kind of games.

    ``clemscore`` and ``statscore`` are written for published instances only; other scores stand
    under the kind of games, with the instances and the rules.
    """
    from playpen.evaluation import as_document
    from playpen.interop.clemcore.tables import write_tables, write_val
    from playpen.panels import DIALOGUE, STATIC

    scores: dict[str, object] = {}
    replaced = set()
    for title, kind, official in ((DIALOGUE, "clem", "clemscore"), (STATIC, "static", "statscore")):
        panel = evaluation.panels.get(title)
        if panel is None:
            continue
        games = set(panel.games)
        write_tables([row for row in rows if row.game in games], folder / kind, std=std)
        replaced |= {title, official}
        if panel.over.official:
            scores[official] = panel.score
        else:
            over = panel.over
            scores[title] = {
                "score": panel.score, "instances": over.name, "rules": over.rules
            }  # fmt: skip
    missing = {game: result.coverage.absent for game, result in evaluation.games.items()}
    return write_val(
        folder,
        name,
        scores,
        evaluation=as_document(evaluation),
        missing=missing,
        replaced=replaced,
    )
