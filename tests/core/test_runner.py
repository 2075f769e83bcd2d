"""Recorded runs: planning, playing what is missing, failures, interruption, and kill -9."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import pytest
from tests.core.conftest import PackFolder
from tests.core.sample_games import (
    EndlessGame,
    FlakyPlayer,
    GuessingGame,
    RelayGame,
    babble,
    content,
    guessing,
    instance_of,
    relay,
)

from playpen.cast import make_cast
from playpen.conversation import Conversation, Reply
from playpen.episode import Episode
from playpen.game import Game
from playpen.hookspecs import hookimpl
from playpen.player import NoOptions, Player, PlayerError, SpecError
from playpen.plugins import PluginError, make_player, registry
from playpen.rollout import AssignmentError
from playpen.runner import PlayCounts, create_run, play_run
from playpen.scoring import score_episodes
from playpen.store import MAX_ATTEMPTS, EpisodeWriter, Run, RunError

BABBLE = "program:tests.core.sample_games:babble"
SECRETS = [guessing(secret=i, game_id=i) for i in (3, 5, 8)]

pytestmark = pytest.mark.usefixtures("installed")


def guessing_run(path: Path, spec: str = BABBLE, **options: Any) -> Run:
    return create_run(path / "run", {"guessing": SECRETS}, make_cast([(None, spec)]), **options)


def by_key(run: Run) -> dict[Any, Episode]:
    """The finished episodes without the clock; fails if one is there twice."""
    episodes = list(run.episodes())
    found = {episode.key: content(episode) for episode in episodes}
    assert len(found) == len(episodes)
    return found


# --- the cast ------------------------------------------------------------------------------------


def test_two_players_with_one_spec_stay_two_players() -> None:
    cast = make_cast([("giver", BABBLE), ("finder", BABBLE)])
    assert cast.by_role["giver"] != cast.by_role["finder"]
    assert set(cast.specs.values()) == {BABBLE}
    assert set(cast.specs) == set(cast.by_role.values())


def test_however_often_a_spec_is_named_the_labels_differ() -> None:
    cast = make_cast([(None, "human:"), ("a", "human:"), ("b", "human:"), ("c", "human:#2")])
    assert len({cast.everyone, *cast.by_role.values()}) == 4
    assert len(cast.specs) == 4
    assert cast.specs[cast.by_role["c"]] == "human:#2"


def test_one_player_for_all_roles_is_one_player() -> None:
    cast = make_cast([(None, BABBLE)])
    assert (cast.everyone, cast.by_role, cast.specs) == (BABBLE, {}, {BABBLE: BABBLE})


@pytest.mark.parametrize(
    ("assignments", "message"),
    [
        ([(None, "human:"), (None, "human:")], "can be given once; use -p ROLE=SPEC"),
        ([("a", "human:"), ("a", BABBLE)], "the role 'a' is given to two players"),
    ],
)
def test_a_role_with_two_players_is_refused(
    assignments: list[tuple[str | None, str]], message: str
) -> None:
    with pytest.raises(AssignmentError, match=message):
        make_cast(assignments)


def test_an_alias_is_resolved_before_it_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "playpen.toml").write_text('[players.b]\nspec = "human:"', encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert make_cast([(None, "b")]).specs == {"human:": "human:"}


def test_a_role_need_not_be_one_of_every_game() -> None:
    games: list[Game] = [GuessingGame(), RelayGame()]
    cast = make_cast([(None, "human:"), ("finder", BABBLE)])
    assert cast.assignments(games) == {
        "guessing": {"guesser": "human:"},
        "relay": {"giver": "human:", "finder": BABBLE},
    }


def test_a_role_of_no_game_is_refused() -> None:
    cast = make_cast([(None, "human:"), ("fnder", BABBLE)])
    with pytest.raises(AssignmentError, match="'fnder'"):
        cast.assignments([GuessingGame(), RelayGame()])


def test_a_role_that_nobody_plays_is_refused() -> None:
    cast = make_cast([("giver", BABBLE)])
    with pytest.raises(AssignmentError, match="nobody plays finder in 'relay'"):
        cast.assignments([RelayGame()])


# --- planning ------------------------------------------------------------------------------------


def test_a_run_records_everything_that_makes_it_what_it_is(tmp_path: Path) -> None:
    run = create_run(
        tmp_path / "run",
        {"guessing": SECRETS, "relay": [relay()]},
        make_cast([(None, BABBLE), ("finder", "delayed:")]),
        episodes=5,
        seed=7,
        concurrency=9,
        split="train",
        command=["playpen", "run"],
    )
    config = Run.open(run.path).config
    assert config.players == {BABBLE: BABBLE, "delayed:": "delayed:"}
    assert config.assignments == {
        "guessing": {"guesser": BABBLE},
        "relay": {"giver": BABBLE, "finder": "delayed:"},
    }
    assert config.episodes == {"guessing": 5, "relay": 5}
    assert (config.seed, config.concurrency, config.split) == (7, 9, "train")
    assert config.rules == {"guessing": "1.2", "relay": "0.9"}
    assert config.versions["sample-pack"] == "1.0"
    assert set(config.versions) >= {"python", "playpen-core"}
    assert config.prompts == {"guessing": "pack", "relay": "pack"}
    assert config.command == ["playpen", "run"]
    assert config.created


@pytest.mark.parametrize(
    ("game", "spec", "error"),
    [
        ("guesing", BABBLE, PluginError),
        ("guessing", "programm:oracle", PluginError),
        ("guessing", "program:nothing_there", SpecError),
        ("guessing", "flaky:?faliures=3", SpecError),
        ("endless", "program:oracle", (PlayerError, SpecError)),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(
    tmp_path: Path, game: str, spec: str, error: Any
) -> None:
    with pytest.raises(error):
        create_run(tmp_path / "run", {game: [instance_of(game)]}, make_cast([(None, spec)]))
    assert not (tmp_path / "run").exists()


def test_episodes_without_instances_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises((RunError, ValueError), match="instance"):
        create_run(tmp_path / "run", {"guessing": []}, make_cast([(None, BABBLE)]), episodes=3)
    assert not (tmp_path / "run").exists()


# --- playing -------------------------------------------------------------------------------------


class Observer:
    """Notes which hooks were called, and in which order."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    @hookimpl
    def playpen_run_started(self, run: Run) -> None:
        self.calls.append("started")

    @hookimpl
    def playpen_episode_finished(self, run: Run, episode: Episode) -> None:
        assert episode.key in {e.key for e in run.episodes(failed=True)}
        self.calls.append(episode.failure is None)

    @hookimpl
    def playpen_run_finished(self, run: Run, completed: bool) -> None:
        self.calls.append(f"completed: {completed}")


@pytest.fixture
def observer() -> Observer:
    """An observer of the runs of this test."""
    made = Observer()
    registry().manager.register(made)
    return made


@pytest.mark.parametrize("kind", [OSError, SystemExit, asyncio.CancelledError])
def test_point_19_an_observer_that_raises_warns_once_and_ends_nothing(
    tmp_path: Path, observer: Observer, kind: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken:
        """Raises in every hook."""

        @hookimpl
        def playpen_run_started(self) -> None:
            raise kind("the server is down")

        @hookimpl
        def playpen_episode_finished(self, episode: Episode) -> None:
            raise kind("the server is down")

        @hookimpl
        def playpen_run_finished(self, completed: bool) -> None:
            raise kind("the server is down")

    monkeypatch.setattr("playpen.observers._warned", set())
    registry().manager.register(Broken(), name="broken-pack:observer")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert play_run(guessing_run(tmp_path, episodes=7)) == PlayCounts(finished=7)
    hooks = ("run_started", "episode_finished", "run_finished")
    assert [str(warning.message) for warning in caught] == [
        f"the plug-in broken-pack:observer failed in playpen_{hook}: "
        f"{kind.__name__}: the server is down"
        for hook in hooks
    ]
    assert observer.calls == ["started", *[True] * 7, "completed: True"]


def test_everything_planned_is_played_and_told(tmp_path: Path, observer: Observer) -> None:
    run = guessing_run(tmp_path, episodes=7)
    planned: list[int] = []
    told: list[Any] = []
    tally = play_run(run, planned=planned.append, finished=lambda e: told.append(e.key))
    assert tally == PlayCounts(finished=7)
    assert planned == [7]
    assert told == [e.key for e in run.episodes()]
    assert observer.calls == ["started", *[True] * 7, "completed: True"]


def test_every_game_is_played_by_its_own_players(tmp_path: Path) -> None:
    run = create_run(
        tmp_path / "run",
        {"guessing": SECRETS, "relay": [relay(), relay(1)]},
        make_cast([(None, BABBLE), ("giver", BABBLE)]),
    )
    play_run(run)
    players = {episode.game: episode.players for episode in run.episodes()}
    assert players == {
        "guessing": {"guesser": BABBLE},
        "relay": {"giver": f"{BABBLE}#2", "finder": BABBLE},
    }
    assert len(by_key(run)) == 5


def test_a_run_has_its_own_seed(tmp_path: Path) -> None:
    texts: list[list[str]] = []
    for seed in (1, 2, 1):
        run = guessing_run(tmp_path / str(len(texts)), seed=seed, episodes=6)
        play_run(run)
        assert {episode.seed for episode in run.episodes()} == {seed}
        texts.append([said.reply.text for e in by_key(run).values() for said in e.replies()])
    assert texts[0] == texts[2] != texts[1]


def test_a_finished_run_has_nothing_left_to_play(tmp_path: Path) -> None:
    run = guessing_run(tmp_path)
    play_run(run)
    before = (run.path / "episodes.jsonl").read_bytes()
    assert play_run(run) == PlayCounts()
    assert (run.path / "episodes.jsonl").read_bytes() == before


def test_identical_content_is_played_as_two_repeats(tmp_path: Path) -> None:
    twins = [guessing(secret=4, game_id=1), guessing(secret=4, game_id=2)]
    run = create_run(tmp_path / "run", {"guessing": twins}, make_cast([(None, BABBLE)]))
    play_run(run)
    assert sorted((e.repeat, e.instance_id) for e in run.episodes()) == [(0, 1), (1, 2)]
    assert play_run(run) == PlayCounts()


@pytest.mark.parametrize("spec", [BABBLE, "delayed:"])
def test_a_run_has_the_same_content_whatever_its_concurrency(tmp_path: Path, spec: str) -> None:
    runs = []
    for concurrency in (1, 5, 64):
        run = guessing_run(tmp_path / str(concurrency), spec, episodes=20, seed=3)
        play_run(run, concurrency=concurrency)
        runs.append(by_key(run))
    assert runs[0] == runs[1] == runs[2]
    assert len(runs[0]) == 20


@pytest.mark.parametrize("left", [0, 1, 11, 19])
def test_a_run_that_is_resumed_is_the_run_undisturbed(tmp_path: Path, left: int) -> None:
    whole = guessing_run(tmp_path / "whole", "delayed:", episodes=20, seed=3)
    play_run(whole)
    broken = guessing_run(tmp_path / "broken", "delayed:", episodes=20, seed=3)
    play_run(broken)
    file = broken.path / "episodes.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:left]) + b'{"torn')
    assert play_run(Run.open(broken.path)) == PlayCounts(finished=20 - left)
    assert by_key(broken) == by_key(whole)


def test_a_run_that_another_process_plays_into_is_refused(tmp_path: Path) -> None:
    run = guessing_run(tmp_path)
    with EpisodeWriter(run), pytest.raises(RunError, match="another process"):
        play_run(run)


def test_damaged_instances_are_refused_before_anything_is_played(
    tmp_path: Path, observer: Observer
) -> None:
    run = guessing_run(tmp_path)
    file = run.path / "instances.jsonl"
    file.write_bytes(file.read_bytes().replace(b'"secret":5', b'"secret":6'))
    with pytest.raises(RunError, match="changed after the run began"):
        play_run(run)
    assert list(run.episodes()) == []
    assert "started" not in observer.calls


# --- players -------------------------------------------------------------------------------------


class SerialPlayer(Player):
    """Plays one episode at a time; counts how many it was in at once."""

    serial = True
    waiting = 0
    most = 0
    closed = 0

    def __init__(self, target: str, options: NoOptions) -> None:
        pass

    async def reply(self, conversation: Conversation) -> Reply:
        cls = type(self)
        cls.waiting += 1
        cls.most = max(cls.most, cls.waiting)
        await asyncio.sleep(0)
        cls.waiting -= 1
        return Reply(babble(conversation))

    async def close(self) -> None:
        type(self).closed += 1


@pytest.fixture
def serial(packs: PackFolder) -> type[SerialPlayer]:
    """A fresh count, with the scheme ``serial:`` installed."""
    packs.add(
        "serial-pack",
        "from playpen.hookspecs import PlayerSpec, hookimpl\n\n\n"
        "@hookimpl\ndef playpen_players():\n"
        "    path = 'tests.core.test_runner:SerialPlayer'\n"
        "    return [PlayerSpec(scheme='serial', path=path, summary='')]\n",
    )
    SerialPlayer.waiting = SerialPlayer.most = SerialPlayer.closed = 0
    return SerialPlayer


def test_a_serial_player_plays_one_episode_at_a_time(
    tmp_path: Path, serial: type[SerialPlayer]
) -> None:
    run = create_run(
        tmp_path / "run",
        {"relay": [relay()]},
        make_cast([(None, BABBLE), ("finder", "serial:")]),
        episodes=10,
    )
    play_run(run, concurrency=8)
    assert serial.most == 1
    assert len(by_key(run)) == 10


def test_each_of_two_players_with_one_spec_is_made_for_itself(
    tmp_path: Path, serial: type[SerialPlayer]
) -> None:
    cast = make_cast([("giver", "serial:"), ("finder", "serial:")])
    play_run(create_run(tmp_path / "run", {"relay": [relay()]}, cast))
    assert serial.closed == 2


def test_players_are_closed_however_the_run_ends(
    tmp_path: Path, serial: type[SerialPlayer]
) -> None:
    play_run(guessing_run(tmp_path / "good", "serial:"))
    assert serial.closed == 1

    def stop(episode: Episode) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        play_run(guessing_run(tmp_path / "bad", "serial:"), finished=stop)
    assert serial.closed == 2


def test_a_recording_can_be_played_again_by_its_own_replies(tmp_path: Path) -> None:
    cast = make_cast([("giver", BABBLE), ("finder", BABBLE)])
    first = create_run(tmp_path / "first", {"relay": [relay()]}, cast, episodes=8, seed=3)
    play_run(first)
    again = create_run(
        tmp_path / "again",
        {"relay": [relay()]},
        make_cast([(None, f"replay:{first.path}")]),
        episodes=8,
        seed=3,
    )
    assert play_run(again) == PlayCounts(finished=8)
    events = [{e.repeat: e.events for e in run.episodes()} for run in (first, again)]
    assert events[0] == events[1]


def test_a_recording_that_lacks_an_instance_fails_in_words(tmp_path: Path) -> None:
    first = guessing_run(tmp_path / "first")
    play_run(first)
    other = {"guessing": [guessing(secret=19)]}
    run = create_run(tmp_path / "other", other, make_cast([(None, f"replay:{first.path}")]))
    assert play_run(run).failed == 1
    (episode,) = run.episodes(failed=True)
    assert episode.failure is not None
    assert "the recording has no guesser" in episode.failure.message
    with pytest.raises(SpecError, match="nowhere is not a run directory"):
        make_player("replay:nowhere")


# --- failures ------------------------------------------------------------------------------------


def test_failed_episodes_are_played_again_when_the_run_is_resumed(
    tmp_path: Path, observer: Observer
) -> None:
    run = guessing_run(tmp_path, "flaky:?failures=2")
    assert play_run(run) == PlayCounts(failed=3, remaining=3)
    assert list(run.episodes()) == []
    assert play_run(run) == PlayCounts(failed=3, remaining=3)
    assert play_run(run) == PlayCounts(finished=3)
    assert [e.attempts for e in run.episodes(failed=True)] == [1, 1, 1, 2, 2, 2, 3, 3, 3]
    reasons = {e.failure.message for e in run.episodes(failed=True) if e.failure}
    assert len(reasons) == 3 and all("is down" in reason for reason in reasons)
    assert [call for call in observer.calls if isinstance(call, str)] == [
        "started",
        "completed: False",
        "started",
        "completed: False",
        "started",
        "completed: True",
    ]


def test_after_the_last_attempt_an_episode_is_given_up_and_counted(
    tmp_path: Path, observer: Observer
) -> None:
    run = guessing_run(tmp_path, "flaky:?failures=-1")
    for _ in range(MAX_ATTEMPTS):
        assert play_run(run) == PlayCounts(failed=3, remaining=3)
    planned: list[int] = []
    for _ in range(2):
        assert play_run(run, planned=planned.append) == PlayCounts(given_up=3)
    assert planned == [0, 0]
    assert sum(FlakyPlayer.failed.values()) == 3 * MAX_ATTEMPTS
    # Not everything planned was played, and no score may pretend so.
    assert "completed: True" not in observer.calls
    score = score_episodes(run.episodes(failed=True), {"guessing": GuessingGame()})
    assert [(game.game, game.episodes, game.failed) for game in score.games] == [("guessing", 0, 3)]


def test_a_failure_of_some_episodes_leaves_the_others_alone(tmp_path: Path) -> None:
    run = guessing_run(tmp_path, "flaky:?failures=1", episodes=6)
    for instance in SECRETS:
        FlakyPlayer.failed[instance.hash, 1] = 1  # has failed before: the repeats succeed at once
    assert play_run(run) == PlayCounts(finished=3, failed=3, remaining=3)
    assert play_run(run) == PlayCounts(finished=3)
    assert len(by_key(run)) == 6


def test_a_bug_of_a_game_does_not_stop_the_run(tmp_path: Path) -> None:
    bugs = [instance_of("buggy", bug=bug) for bug in ("none", "raises after a reply", "none too")]
    run = create_run(tmp_path / "run", {"buggy": bugs}, make_cast([(None, BABBLE)]))
    assert play_run(run) == PlayCounts(finished=2, failed=1, remaining=1)


def test_an_endless_game_ends(tmp_path: Path) -> None:
    run = create_run(
        tmp_path / "run", {"endless": [instance_of("endless")]}, make_cast([(None, BABBLE)])
    )
    assert play_run(run) == PlayCounts(finished=1)
    (episode,) = run.episodes()
    assert episode.aborted and len(episode.replies()) == EndlessGame.max_replies


# --- interruption --------------------------------------------------------------------------------

_calls_until_interrupt = 0


def interrupting(conversation: Conversation) -> str:
    """A program during whose n-th call somebody presses Ctrl-C."""
    global _calls_until_interrupt
    _calls_until_interrupt -= 1
    if _calls_until_interrupt == 0:
        raise KeyboardInterrupt
    return babble(conversation)


@pytest.mark.parametrize("calls", [1, 10, 40])
def test_an_interrupted_run_keeps_what_had_ended_and_is_resumed(
    tmp_path: Path, observer: Observer, calls: int
) -> None:
    global _calls_until_interrupt
    spec = "program:tests.core.test_runner:interrupting"
    whole = guessing_run(tmp_path / "whole", spec, episodes=30)
    play_run(whole)
    run = guessing_run(tmp_path / "broken", spec, episodes=30)
    _calls_until_interrupt = calls
    told: list[Any] = []
    observer.calls.clear()
    with pytest.raises(KeyboardInterrupt):
        play_run(run, finished=lambda episode: told.append(episode.key))
    assert list(by_key(run)) == told
    assert len(told) < 30
    assert observer.calls[-1] == "completed: False"
    assert play_run(run) == PlayCounts(finished=30 - len(told))
    assert by_key(run) == by_key(whole)


def test_ctrl_c_ends_a_run_that_waits_for_its_players(tmp_path: Path) -> None:
    whole = guessing_run(tmp_path / "whole", "delayed:", episodes=60)
    play_run(whole)
    run = guessing_run(tmp_path / "broken", "delayed:", episodes=60)
    told: list[Any] = []

    def press(episode: Episode) -> None:
        told.append(episode.key)
        if len(told) == 5:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        play_run(run, finished=press, concurrency=4)
    assert list(by_key(run)) == told
    assert 5 <= len(told) < 60
    assert play_run(run) == PlayCounts(finished=60 - len(told))
    assert by_key(run) == by_key(whole)


# --- kill -9 -------------------------------------------------------------------------------------

CHILD = """
import sys

from playpen.runner import create_run, play_run
from playpen.cast import make_cast
from playpen.store import Run
from sample_games import relay

folder, concurrency = sys.argv[1], int(sys.argv[2])
if concurrency:
    print(play_run(Run.open(folder), concurrency=concurrency))
else:
    # Programs that take their time, and others that let episodes overtake each other.
    cast = make_cast([("giver", "program:sample_games:slow_babble"), ("finder", "delayed:")])
    create_run(folder, {"relay": [relay(1, number=i) for i in range(40)]}, cast, episodes=2000)
"""


class Killable:
    """Plays a run in a process of its own that finds the sample games like any installed pack."""

    def __init__(self, folder: Path, packs: Path) -> None:
        self.run = folder
        self.file = folder / "episodes.jsonl"
        here = Path(__file__).parent
        inherited = os.environ.get("PYTHONPATH", "").split(os.pathsep)
        path = os.pathsep.join([str(packs), str(here), *filter(None, inherited)])
        self._environment = {**os.environ, "PYTHONPATH": path}
        self.start(0).communicate(timeout=120)

    def start(self, concurrency: int) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", CHILD, str(self.run), str(concurrency)],
            env=self._environment,
            stdout=subprocess.PIPE,
            text=True,
        )

    def play(self, concurrency: int) -> str:
        """Play to the end; gives the tally."""
        child = self.start(concurrency)
        tally, _ = child.communicate(timeout=120)
        assert child.returncode == 0
        return tally

    def kill_after(self, lines: int, seconds: float, concurrency: int) -> None:
        """Kill the process a while after it has written more lines."""
        wanted = self.lines() + lines
        with self.start(concurrency) as child:
            while self.lines() < wanted and child.poll() is None:
                time.sleep(0.001)
            time.sleep(seconds)
            child.kill()
            child.wait()
            assert child.returncode == -9, "it ended before it was killed"

    def lines(self) -> int:
        return self.file.read_bytes().count(b"\n") if self.file.exists() else 0


def test_kill_minus_nine_loses_nothing_and_plays_nothing_twice(
    tmp_path: Path, packs: PackFolder
) -> None:
    folder = PackFolder(tmp_path / "for_children")
    folder.add_samples("sample_games")
    undisturbed = Killable(tmp_path / "undisturbed", folder.path)
    undisturbed.play(concurrency=64)
    expected = by_key(Run.open(undisturbed.run))
    assert len(expected) == 2000

    killed = Killable(tmp_path / "killed", folder.path)
    seed = random.randrange(10**6)
    print(f"moments of the kills: seed {seed}")
    moments = random.Random(seed)
    for concurrency in (64, 3, 64, 200, 1):
        written = killed.file.read_bytes() if killed.file.exists() else b""
        killed.kill_after(moments.randint(1, 250), moments.uniform(0, 0.01), concurrency)
        assert killed.file.read_bytes().startswith(written)
        assert killed.lines() < 2000
    assert "remaining=0" in killed.play(concurrency=64)

    run = Run.open(killed.run)
    # `by_key` fails for an episode that is there twice.
    assert by_key(run) == expected
    assert all(e.failure is None and e.attempts == 1 for e in run.episodes(failed=True))
