"""Runs that were not played: their episodes are written down as a test wants them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from playpen.conversation import Reply
from playpen.episode import Episode, Event, Failure, Said
from playpen.instance import Experiment, Instance
from playpen.moves import (
    Abort,
    Ask,
    Exchange,
    Lose,
    Note,
    Outcome,
    Reward,
    Round,
    Success,
    Tell,
    Violated,
)
from playpen.store import EpisodeWriter, Run, RunConfig

GAME = "made_up"
"""A game that is not installed anywhere."""

OVERRIDE = "\u202eesrever\u2066"
MARKUP = "<script>window.stolen = 1</script><img src=x onerror='window.stolen = 2'>"
BREAKOUT = "</script><script>window.stolen = 3</script>--><!--"
HOSTILE_TEXT = f"{MARKUP} {BREAKOUT} {OVERRIDE} \x1b[31m \x00 $x^2$ \\u202e"
"""What a model may say to a page, to its scripts, and to the direction of writing."""


def instance(number: int, game: str = GAME) -> Instance:
    """The instance of a number."""
    experiment = Experiment("level", {"name": "level"})
    return Instance(game, experiment, {"game_id": number, "secret": number})


def episode(
    number: int,
    outcome: Outcome | None = None,
    *,
    text: str = "a reply",
    prompt: str = "a question",
    failure: Failure | None = None,
    events: Iterable[Event] = (),
    players: dict[str, str] | None = None,
    **fields: Any,
) -> Episode:
    """An episode with one question and one reply, and whatever else is wanted."""
    played = instance(number)
    return Episode(
        GAME,
        played.hash,
        players or {"guesser": "a player"},
        experiment="level",
        instance_id=number,
        rules="1.0",
        events=[Ask("guesser", prompt), Said("guesser", Reply(text)), *events],
        outcome=None if failure else outcome or Success(100),
        failure=failure,
        **fields,
    )


def every_kind(number: int = 0) -> Episode:
    """An episode with every kind of line."""
    return episode(
        number,
        Lose(25, fault="guesser"),
        events=[
            Tell("guesser", "something told"),
            Exchange("guesser", "a fixed question", "a fixed answer"),
            Note("observed", {"what": "a thing"}),
            Round(),
            Violated("guesser", "too_long", "the reply is too long", True),
            Ask("guesser", "an aside", keep=False),
            Said("guesser", Reply("short", "<think>long</think>short", "long thoughts")),
            Reward("guesser", 0.5),
            Said("helper", Reply("cut", "cut and more", stop_reason="length")),
        ],
        players={"guesser": "a player", "helper": "another"},
    )


def write_run(path: Path, episodes: Iterable[Episode], *, planned: int | None = None) -> Path:
    """Write a run with these episodes; more may be planned.

    Where their players differ it is as an import makes it.
    """
    written = list(episodes)
    others = {one.key: one for one in written if one.game != GAME}.values()
    count = (planned or len({one.key for one in written})) - len(others)
    casts = [one.players for one in written] or [{"guesser": "a player"}]
    alike = all(cast == casts[0] for cast in casts)
    config = RunConfig(
        created="2026-01-02T03:04:05+00:00",
        players={"a player": "program:oracle" if alike else "replay:recorded"},
        assignments=dict.fromkeys([GAME, *(one.game for one in others)], casts[0]),
        episodes={GAME: count, **Counter(one.game for one in others)},
    )
    played = [instance(number) for number in range(count)]
    played += [instance(int(one.instance_id), one.game) for one in others]
    run = Run.create(path, config, played)
    append(path, written)
    return run.path


def append(path: Path, episodes: Iterable[Episode]) -> None:
    """Write more episodes to a run."""
    with EpisodeWriter(Run.open(path)) as writer:
        for one in episodes:
            writer.append(one)


def mixed(count: int, *, better: bool = False) -> Iterator[Episode]:
    """Episodes won, lost and aborted in turn; with `better` fewer are aborted."""
    for number in range(count):
        if number % 3 == 0:
            yield episode(number, Success(80))
        elif number % 3 == 1 or better:
            yield episode(number, Lose(0, fault="guesser"))
        else:
            yield episode(
                number, Abort("missing_tag", "the reply has no tag", "guesser"), text="nonsense"
            )


def write_training(path: Path, lines: Iterable[dict[str, Any]]) -> Path:
    """Write the directory of a training with these logs."""
    path.mkdir(parents=True)
    told = {"trainer": "sft", "config": {"learner": {"player": "hf:some/model"}}}
    (path / "train.json").write_text(json.dumps(told), encoding="utf-8")
    text = "".join(f"{json.dumps(line)}\n" for line in lines)
    (path / "metrics.jsonl").write_text(text, encoding="utf-8")
    return path


def logs(steps: int = 20) -> Iterator[dict[str, Any]]:
    """Logs of a training that gets better, measured on validation instances every ten steps."""
    yield {"step": 0, "eval/success": 0.1, "eval/score": 10.0}
    for step in range(1, steps + 1):
        yield {"step": step, "loss": 2 / step, "reward": step / steps, "note": "words"}
        if step % 10 == 0:
            yield {"step": step, "eval/success": step / steps, "eval/score": 90.0}
