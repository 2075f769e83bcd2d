"""What ``playpen demo`` does: make a tiny model, measure it, train it, measure it again."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import torch
import transformers
from rich.console import Console
from rich.text import Text

from playpen.episode import Episode
from playpen.game import Game
from playpen.instance import Instance, parse_instances
from playpen.plugins import get_game
from playpen.report.tables import PlayProgress, plain_table
from playpen.report.transcript import transcript
from playpen.runner import create_run, make_cast, play_run
from playpen.scoring import score_episodes
from playpen.store import Run
from playpen.training import (
    ConfigError,
    GamesTable,
    LearnerTable,
    RolloutTable,
    TeacherTable,
    TrainConfig,
    train,
)
from playpen_trainers.tiny import make_tiny_model

GAME, LEVEL = "taboo", "mini"
TRAINER = {
    "learning_rate": 4e-3,
    "num_train_epochs": 4,
    "per_device_train_batch_size": 32,
    "warmup_steps": 0.05,
    "logging_steps": 20,
}


def run_demo(output: Path, *, seed: int, episodes: int) -> None:
    """Train a tiny model on the oracle's episodes and show what it gained.

    Raises:
        ConfigError: `output` holds something that is not an earlier demo.
    """
    _clear(output)
    # Two threads wait for each other on a busy machine; such a small model gains nothing by them.
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    console = Console()
    began = time.monotonic()
    game = get_game(GAME)
    training = _instances(game, "train", seed)
    unseen = _instances(game, "test", seed)[:episodes]
    known = {game.fingerprint(instance) for instance in training}
    overlap = sum(game.fingerprint(instance) in known for instance in unseen)

    base = output / "base"
    weights = make_tiny_model(base, _vocabulary([*training, *unseen]), seed=seed)
    console.print(
        f"The game: {GAME}, level {LEVEL}.  A model of {weights:,} weights plays both roles.\n"
        f"It is trained on {len(training)} instances and measured on {len(unseen)} others: the "
        f"words are the same,\ntheir combinations with forbidden words are new "
        f"({overlap} of the fingerprints occur in training).",
        highlight=False,
    )
    arms = [("before training", f"hf:{base}"), ("oracle", "program:oracle")]
    runs = {name: _play(output, name, spec, unseen, seed, console) for name, spec in arms}

    config = TrainConfig(
        learner=LearnerTable(player=f"hf:{base}"),
        teacher=TeacherTable(player="program:oracle"),
        games=GamesTable(names=[GAME], levels=[LEVEL], seed=seed),
        rollout=RolloutTable(seed=seed),
        trainer={**TRAINER, "seed": seed},
    )
    trained = train("sft", config, output / "sft")
    name = "after training"
    runs[name] = _play(output, name, f"hf:{trained}", unseen, seed, console)

    for name in ("before training", "after training"):
        console.rule(Text(f"the first instance {name}"))
        console.print(transcript(_episode_of(runs[name], unseen[0])))
    console.rule("result")
    _show(console, runs, game)
    console.print(
        f"\n{time.monotonic() - began:.0f} s in all.  The model is a player:\n"
        f"playpen play {GAME} --level {LEVEL} -p hf:{trained}",
        highlight=False,
        soft_wrap=True,
    )


def _clear(output: Path) -> None:
    if output.exists() and any(output.iterdir()):
        if not (output / "base" / "config.json").is_file():
            raise ConfigError(f"{output} is not empty and no earlier demo; choose another with -o")
        shutil.rmtree(output)


def _instances(game: Game, split: str, seed: int) -> list[Instance]:
    document = game.generate(split, seed=seed, level=LEVEL)
    return parse_instances(document, game, source=f"{GAME} ({LEVEL})", split=split)


def _vocabulary(instances: Sequence[Instance]) -> set[str]:
    """Every word of the closed world, the tags and the prompts."""
    words = {"CLUE:", "GUESS:", "-"}
    for instance in instances:
        words |= {instance["target_word"], *instance["related_word"]}
        for role in ("describer", "guesser"):
            prompt = instance[f"{role}_initial_prompt"].split()
            words |= {word for word in prompt if not word.startswith("$")}
    return words


def _play(
    output: Path, name: str, spec: str, instances: list[Instance], seed: int, console: Console
) -> Run:
    console.print(f"Playing {name}", highlight=False)
    cast = make_cast([(None, spec)])
    run = create_run(output / name.replace(" ", "-"), {GAME: instances}, cast, seed=seed)
    with PlayProgress(console) as progress:
        play_run(run, planned=progress.planned, finished=progress.finished)
    return run


def _episode_of(run: Run, instance: Instance) -> Episode:
    return next(e for e in run.episodes() if e.instance == instance.hash)


def _show(console: Console, runs: dict[str, Run], game: Game) -> None:
    table = plain_table("player")
    for column in ("episodes", "% played", "% success", "± 95 %", "quality", "clemscore"):
        table.add_column(column, justify="right")
    for name in ("before training", "after training", "oracle"):
        episodes = list(runs[name].episodes())
        score = score_episodes(episodes, {GAME: game}).games[0]
        share, margin = _success(episodes)
        table.add_row(
            name,
            str(score.episodes),
            f"{score.played:.2f}",
            f"{100 * share:.1f}",
            f"{100 * margin:.1f}",
            "-" if score.quality is None else f"{score.quality:.2f}",
            "-" if score.clemscore is None else f"{score.clemscore:.2f}",
        )
    console.print(table)


def _success(episodes: Sequence[Episode]) -> tuple[float, float]:
    """Share of won episodes, and half the width of its 95 % interval (normal approximation)."""
    count = len(episodes)
    share = sum(episode.success for episode in episodes) / count
    return share, 1.96 * math.sqrt(share * (1 - share) / count)
