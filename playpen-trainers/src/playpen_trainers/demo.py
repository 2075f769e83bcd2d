"""What ``playpen demo`` does: a tiny model learns a game by imitation, then by play.

It is measured before, between and after on unseen instances: in self-play, and with the game's
oracle in the other seat, so that a private code between the seats cannot pass for skill.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import transformers
from rich.console import Console
from rich.text import Text

from playpen.cast import make_cast
from playpen.episode import Episode
from playpen.game import Game
from playpen.instance import Instance
from playpen.instance_sets import parse_instances
from playpen.plugins import get_game
from playpen.runner import create_run, play_run
from playpen.store import Run
from playpen.terminal.console import open_console
from playpen.terminal.plain_table import PlainTable
from playpen.terminal.tables import MISSING, PlayProgress
from playpen.terminal.transcript import transcript
from playpen.training import ConfigError, read_config, train
from playpen_trainers.sign_test import compare
from playpen_trainers.tiny import make_tiny_model

GAME, LEVEL = "taboo", "mini"
ORACLE = "program:oracle"
QUICK_SFT = ("trainer.num_train_epochs=3",)
QUICK_GRPO = ("trainer.max_steps=15",)
STAGES = ("before training", "after sft", "after grpo")


def run_demo(output: Path, *, seed: int, episodes: int, quick: bool = False) -> None:
    """Train a tiny model by imitation, then by play, and show what it gained.

    Args:
        output: where models and runs go.
        seed: of everything.
        episodes: unseen instances that are played each time.
        quick: train a tenth, to see that everything works.

    Raises:
        ConfigError: `output` holds something that is not an earlier demo.
    """
    _clear(output)
    # Two threads wait for each other on a busy machine; such a small model gains nothing by them.
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    console = open_console()
    began = time.monotonic()
    game = get_game(GAME)
    unseen = mini_instances(game, "test", seed)[:episodes]

    console.rule(Text("1. a model that has learned nothing"))
    base = output / "base"
    weights = make_base(base, game, seed)
    known = {game.fingerprint(instance) for instance in mini_instances(game, "train", seed)}
    overlap = sum(game.fingerprint(instance) in known for instance in unseen)
    console.print(
        f"The game: {GAME}, level {LEVEL}.  A model of {weights:,} weights plays both roles.\n"
        f"It is measured on {len(unseen)} instances: their words are those of training, their "
        f"combinations with\nforbidden words are new ({overlap} of the fingerprints occur in "
        "training).",
        highlight=False,
    )
    checkpoints = {STAGES[0]: base}
    measured = {STAGES[0]: measure(output / "play-0", base, unseen, seed, console)}
    measured["oracle"] = {"both roles": _play(output / "play-oracle", {}, unseen, seed, console)}

    console.rule(Text("2. imitation: sft on 300 episodes of the oracle"))
    checkpoints[STAGES[1]] = imitate(output / "sft", base, seed, *(QUICK_SFT if quick else ()))
    measured[STAGES[1]] = measure(output / "play-1", checkpoints[STAGES[1]], unseen, seed, console)

    console.rule(Text("3. play: grpo, in half of the groups with itself in every role"))
    shorter = QUICK_GRPO if quick else ()
    checkpoints[STAGES[2]] = reinforce(output / "grpo", checkpoints[STAGES[1]], seed, *shorter)
    measured[STAGES[2]] = measure(output / "play-2", checkpoints[STAGES[2]], unseen, seed, console)

    for name in (STAGES[0], STAGES[2]):
        console.rule(Text(f"the first instance {name}"))
        console.print(transcript(measured[name]["both roles"][0]))
    console.rule(Text("result"))
    _show(console, measured, game)
    console.print(
        f"\n{time.monotonic() - began:.0f} s in all.  The model is a player:\n"
        f"playpen play {GAME} --level {LEVEL} -p hf:{checkpoints[STAGES[2]]}",
        highlight=False,
        soft_wrap=True,
    )


def make_base(folder: Path, game: Game, seed: int) -> int:
    """Make the untrained model; returns the number of its weights."""
    instances = [*mini_instances(game, "train", seed), *mini_instances(game, "test", seed)]
    return make_tiny_model(folder, vocabulary(instances), seed=seed)


def imitate(output: Path, base: Path, seed: int, *settings: str) -> Path:
    """Fine-tune on the oracle's episodes, as the recipe ``demo-sft`` and further settings say."""
    config = read_config("recipe:demo-sft", [*_settings(base, seed), *settings])
    return train("sft", config, output)


def reinforce(output: Path, learner: Path, seed: int, *settings: str) -> Path:
    """Train by self-play, as the recipe ``demo-grpo`` and further settings say."""
    config = read_config("recipe:demo-grpo", [*_settings(learner, seed), *settings])
    return train("grpo", config, output)


def _settings(learner: Path, seed: int) -> list[str]:
    return [
        f"learner.player=hf:{learner}",
        f"games.seed={seed}",
        f"rollout.seed={seed}",
        f"trainer.seed={seed}",
    ]


def mini_instances(game: Game, split: str, seed: int) -> list[Instance]:
    """All instances of the closed world in a split."""
    document = game.generate(split, seed=seed, level=LEVEL)
    return parse_instances(document, game, source=f"{GAME} ({LEVEL})", split=split)


def measure(
    folder: Path, checkpoint: Path, instances: Sequence[Instance], seed: int, console: Console
) -> dict[str, list[Episode]]:
    """Play a checkpoint in self-play, and in each role with the oracle in the others.

    Returns:
        Who played to the episodes, in the order of the instances.
    """
    game = get_game(GAME)
    seats = {"both roles": dict.fromkeys(game.role_names(), checkpoint)}
    seats |= {role: {role: checkpoint} for role in game.role_names()}
    return {
        name: _play(folder / name.replace(" ", "-"), held, instances, seed, console)
        for name, held in seats.items()
    }


def _play(
    folder: Path,
    held: Mapping[str, Path],
    instances: Sequence[Instance],
    seed: int,
    console: Console,
) -> list[Episode]:
    """Play with checkpoints in some roles and the oracle in the others; temperature 0."""
    roles = get_game(GAME).role_names()
    specs = {role: f"hf:{held[role]}?batch_size=128" if role in held else ORACLE for role in roles}
    together = len(set(specs.values())) == 1
    with make_cast([(None, specs[roles[0]])] if together else list(specs.items())) as cast:
        run = create_run(folder, {GAME: list(instances)}, cast, seed=seed, concurrency=256)
        with PlayProgress(console) as progress:
            play_run(run, cast, planned=progress.planned, finished=progress.finished)
    return in_order(run, instances)


def in_order(run: Run, instances: Sequence[Instance]) -> list[Episode]:
    """The episodes of a run in the order of their instances."""
    episodes = {episode.instance: episode for episode in run.episodes()}
    return [episodes[instance.hash] for instance in instances]


def _clear(output: Path) -> None:
    if output.exists() and any(output.iterdir()):
        if not (output / "base" / "config.json").is_file():
            raise ConfigError(f"{output} is not empty and no earlier demo; choose another with -o")
        shutil.rmtree(output)


def vocabulary(instances: Sequence[Instance]) -> set[str]:
    """Every word of the closed world, the tags and the prompts."""
    words = {"CLUE:", "GUESS:", "-"}
    for instance in instances:
        words |= {instance["target_word"], *instance["related_word"]}
        for role in ("describer", "guesser"):
            prompt = instance[f"{role}_initial_prompt"].split()
            words |= {word for word in prompt if not word.startswith("$")}
    return words


def _show(
    console: Console, measured: Mapping[str, Mapping[str, list[Episode]]], game: Game
) -> None:
    table = PlainTable("% success on unseen instances")
    table.add_numbers("self-play", *(f"{role} with oracle" for role in game.role_names()))
    columns = max(len(seats) for seats in measured.values())
    for name, seats in measured.items():
        shares = [success(episodes) for episodes in seats.values()]
        cells = [f"{100 * share:.1f} ± {100 * half:.1f}" for share, half in shares]
        table.add_row(name, *cells, *[MISSING] * (columns - len(cells)))
    console.print(table)
    console.print(
        f"± is half of the 95 % interval; n = {len(measured[STAGES[0]]['both roles'])}; "
        "temperature 0.",
        highlight=False,
        style="dim",
    )
    gain = compare(measured[STAGES[1]]["both roles"], measured[STAGES[2]]["both roles"])
    console.print(
        f"grpo against sft in self-play: {100 * gain.difference:+.1f} points, of the same "
        f"instances {gain.won} gained and {gain.lost} lost, p = {gain.p:.2g} (exact sign test).",
        highlight=False,
    )


def success(episodes: Sequence[Episode]) -> tuple[float, float]:
    """Share of won episodes, and half the width of its 95 % interval (normal approximation)."""
    count = len(episodes)
    share = sum(episode.success for episode in episodes) / count
    return share, 1.96 * math.sqrt(share * (1 - share) / count)
