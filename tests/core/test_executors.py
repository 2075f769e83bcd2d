"""Executors: runs that are played by workers of Ray."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import ray
from tests.core.command_line import playpen

from playpen import ready_instances
from playpen.cast import Cast, make_cast
from playpen.conversation import Conversation
from playpen.episode import Episode
from playpen.player import PlayerError, SpecError
from playpen.plugins import PluginError, get_game
from playpen.runner import create_run, make_executor, play_run
from playpen.store import Run

EPISODES = 500
SELF = "program:tests.core.test_executors"


@pytest.fixture(scope="module", autouse=True)
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One cluster for all tests; starting one takes seconds."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["PLAYPEN_TEST_GRAVE"] = str(tmp_path_factory.mktemp("dead") / "grave")
    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    yield
    ray.shutdown()


def planned(folder: Path, spec: str, episodes: int, *, remote: bool = True) -> Run:
    """A run of taboo that was not played yet."""
    instances = {"taboo": ready_instances(get_game("taboo"), "train")}
    return create_run(
        folder,
        instances,
        make_cast([(None, spec)]),
        episodes=episodes,
        seed=3,
        concurrency=16,
        remote=remote,
    )


def content(episode: Episode) -> bytes:
    """The record without what the clock has put into it."""
    return msgspec.json.encode(msgspec.structs.replace(episode, started=0.0, seconds=0.0))


def test_two_workers_play_the_same_episodes(tmp_path: Path) -> None:
    here = planned(tmp_path / "here", "program:oracle", EPISODES, remote=False)
    there = planned(tmp_path / "there", "program:oracle", EPISODES)
    play_run(here)
    tally = play_run(there, executor=make_executor("ray:?workers=2"))
    assert (tally.finished, tally.failed, tally.remaining) == (EPISODES, 0, 0)
    ours, theirs = ({e.key: content(e) for e in run.episodes()} for run in (here, there))
    assert len(ours) == EPISODES
    assert ours == theirs


def which_process(conversation: Conversation) -> str:
    """A reply that tells where it was made."""
    return f"CLUE: {os.getpid()}"


def test_every_worker_plays(tmp_path: Path) -> None:
    run = planned(tmp_path, f"{SELF}:which_process", 40)
    play_run(run, executor=make_executor("ray?workers=2&cpus=0.5"))
    places = {said.reply.text for e in run.episodes() for said in e.replies()}
    assert len(places) == 2
    assert f"CLUE: {os.getpid()}" not in places


def mortal(conversation: Conversation) -> str:
    """Kills its process once, in the middle of a run."""
    grave = Path(os.environ["PLAYPEN_TEST_GRAVE"])
    if conversation.repeat == 3 and not grave.exists():
        grave.touch()
        os._exit(1)
    return "CLUE: nothing"


def test_a_worker_that_dies_takes_no_more_than_its_episodes(tmp_path: Path) -> None:
    instances = {"taboo": ready_instances(get_game("taboo"), "train")[:4]}
    cast = make_cast([(None, f"{SELF}:mortal")])
    run = create_run(tmp_path, instances, cast, episodes=40, remote=True)
    executor = make_executor("ray:?workers=1")
    tally = play_run(run, executor=executor, concurrency=4)
    assert 1 <= tally.failed <= 4
    assert tally.finished + tally.failed == 40
    failures = [e.failure.message for e in run.episodes(failed=True) if e.failure]
    assert len(failures) == tally.failed
    assert all(message.startswith("a worker of Ray failed: ") for message in failures)
    assert play_run(run, executor=executor).remaining == 0
    assert len({e.key for e in run.episodes()}) == 40


def test_what_is_wrong_on_the_workers_is_said_in_a_line(tmp_path: Path) -> None:
    run = planned(tmp_path, "program:oracle", 4)
    cast = Cast(dict(run.config.players))
    run.config.players = {
        "program:oracle": "program:tests.nowhere:play"
    }  # as if installed here only
    with pytest.raises(PlayerError, match=r"a worker cannot begin: .*tests\.nowhere") as caught:
        play_run(run, cast, executor=make_executor("ray:"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("spec", "kind", "message"),
    [
        ("rai:?workers=2", PluginError, "there is no executor 'rai'; did you mean 'ray'"),
        ("ray:?worker=2", SpecError, "unknown option 'worker'; did you mean 'workers'"),
        ("ray?workers=0", SpecError, "workers"),
    ],
)
def test_wrong_executors_are_refused(spec: str, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        make_executor(spec)


def test_from_the_command_line(tmp_path: Path) -> None:
    run = tmp_path / "run"
    wanted = ("-p", "program:oracle", "--executor", "ray:?workers=2", "-o", run)
    done = playpen("play", "taboo", "--max-tokens-total", "5", "-n", "6", *wanted)
    assert done.code == 0, done.err
    assert len(list(Run.open(run).episodes())) == 6
    assert "ray:" in playpen("list", "executors").out
    assert "workers" in playpen("show", "executor", "ray").out
    assert playpen("resume", run, "--executor", "rey:").code == 2
