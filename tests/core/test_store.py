"""Run directories: what a crash may leave behind, what is refused, and who may write."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.core.sample_games import GuessingGame, drive, guessing, relay

from playpen.conversation import Reply
from playpen.episode import Episode, Failure, Said
from playpen.instance import Instance
from playpen.moves import Note
from playpen.referee import new_episode
from playpen.store import FORMAT, EpisodeKey, EpisodeWriter, Run, RunConfig, RunError

INSTANCES = [guessing(secret=i) for i in (3, 5, 8)]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A new run."""
    return Run.create(tmp_path / "run", RunConfig(seed=4), INSTANCES)


def episode(
    number: int = 0, *, text: str = "é👋", failed: bool = False, attempts: int = 1
) -> Episode:
    """A record whose identity depends on `number`."""
    game, instance = GuessingGame(), INSTANCES[number % 3]
    blank = new_episode(game, instance, {"guesser": "x"}, repeat=number // 3, attempts=attempts)
    made, _ = drive(game, instance, {"guesser": [str(instance["secret"])]}, blank)
    made.events.append(Note("text", text))
    if failed:
        made.outcome, made.failure = None, Failure("player", "down", "guesser")
    return made


def record(run: Run, *episodes: Episode) -> Path:
    with EpisodeWriter(run) as writer:
        for made in episodes:
            writer.append(made)
    return run.path / "episodes.jsonl"


# --- making and opening --------------------------------------------------------------------------


def test_a_run_comes_back_as_it_was_made(tmp_path: Path) -> None:
    given: dict[str, Any] = {
        "created": "2025-01-01T00:00:00+00:00",
        "command": ["playpen", "run"],
        "seed": 7,
        "concurrency": 3,
        "players": {"x": "human:"},
        "assignments": {"guessing": {"guesser": "x"}},
        "episodes": {"guessing": 4},
        "split": "validation",
        "source": "file.json",
        "descriptions": {"x": {"model": "none"}},
        "prompts": {"guessing": "pack"},
        "rules": {"guessing": "1.2"},
        "versions": {"python": "3.11"},
    }
    Run.create(tmp_path / "deep" / "run", RunConfig(**given), INSTANCES)
    opened = Run.open(tmp_path / "deep" / "run")
    assert opened.config.format == FORMAT
    for name, value in given.items():
        assert getattr(opened.config, name) == value
    assert opened.instances() == INSTANCES
    assert list(opened.episodes(failed=True)) == []
    assert not opened.progress().done


def test_an_existing_run_is_never_overwritten(run: Run) -> None:
    before = (run.path / "run.json").read_bytes()
    with pytest.raises(RunError, match=r"already holds a run; continue it with `playpen resume"):
        Run.create(run.path, RunConfig(seed=5), INSTANCES)
    assert (run.path / "run.json").read_bytes() == before


def test_episodes_left_in_a_directory_do_not_get_into_a_new_run(run: Run) -> None:
    record(run, episode(0))
    (run.path / "run.json").unlink()
    with pytest.raises(RunError, match=r"episodes\.jsonl"):
        Run.create(run.path, RunConfig(), INSTANCES)


def test_what_a_crash_left_of_making_a_run_is_in_nobodys_way(run: Run) -> None:
    """Killed after ``instances.jsonl`` was written and before ``run.json`` was."""
    (run.path / "run.json").rename(run.path / "run.json.part")
    with pytest.raises(RunError, match="not a run directory"):
        Run.open(run.path)
    assert Run.create(run.path, RunConfig(), INSTANCES[:1]).instances() == INSTANCES[:1]


def test_a_path_that_cannot_be_a_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="file/run cannot be written"):
        Run.create(tmp_path / "file" / "run", RunConfig(), [])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "is not a run directory: it has no run.json"),
        (b"{", r"run\.json: damaged"),
        (b"[]", r"run\.json: damaged"),
        (b'{"seed": "x"}', r"run\.json: damaged: .*seed"),
        (b'{"source": "\xff\xfe"}', r"run\.json: damaged"),
        (b'{"format": "playpen-run/2"}', "'playpen-run/2' is not 'playpen-run/1'; read it with"),
        (b'{"format": "playpen-run/2", "seed": {"draw": 1}}', "'playpen-run/2' is not"),
    ],
)
def test_what_is_no_run_of_this_format_is_refused(
    tmp_path: Path, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / "run.json").write_bytes(content)
    with pytest.raises(RunError, match=message):
        Run.open(tmp_path)


# --- instances -----------------------------------------------------------------------------------


def test_an_experiment_is_written_once_for_all_its_instances(tmp_path: Path) -> None:
    shared = guessing(1).experiment
    instances = [Instance("guessing", shared, {"secret": i}) for i in range(1, 6)]
    run = Run.create(tmp_path / "run", RunConfig(), [*instances, relay()])
    lines = (run.path / "instances.jsonl").read_text(encoding="utf-8").splitlines()
    assert sum('"kind":"experiment"' in line for line in lines) == 2
    assert len(lines) == 8
    assert run.instances() == [*instances, relay()]


def test_names_and_ids_of_instances_are_kept(tmp_path: Path) -> None:
    named = Instance("guessing", guessing().experiment, {"game_id": "x7", "secret": 1}, "test")
    (back,) = Run.create(tmp_path / "run", RunConfig(), [named]).instances()
    assert (back.id, back.experiment.name, back.split) == ("x7", "up to 20", "test")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"secret":5', b'"secret":6'),
        (b'"limit":20', b'"limit":21'),
        (b'"tries":6', b'"tries":6,"more":1'),
    ],
)
def test_instances_that_were_changed_are_detected_with_the_line(
    run: Run, old: bytes, new: bytes
) -> None:
    file = run.path / "instances.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    (changed,) = [number for number, line in enumerate(lines) if old in line][:1]
    lines[changed] = lines[changed].replace(old, new)
    file.write_bytes(b"".join(lines))
    with pytest.raises(RunError, match=r"instances\.jsonl, line \d.*changed after the run began"):
        run.instances()


@pytest.mark.parametrize("change", ["remove", "append", "cut"])
def test_instances_that_were_added_or_removed_are_detected(run: Run, change: str) -> None:
    """Resume counts repeats over the list: with another list it would play something else."""
    file = run.path / "instances.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    if change == "remove":
        lines.pop()
    elif change == "append":
        lines.append(lines[-1])
    else:
        lines[-1] = lines[-1][:-10]
    file.write_bytes(b"".join(lines))
    with pytest.raises(RunError, match=r"instances\.jsonl"):
        Run.open(run.path).instances()


def test_missing_instances_are_an_error(run: Run) -> None:
    (run.path / "instances.jsonl").unlink()
    with pytest.raises(RunError, match=r"instances\.jsonl"):
        run.instances()


@pytest.mark.parametrize("damage", [b"{}", b"nonsense", b'{"kind":"other"}', b'{"game":"\xff"}'])
def test_a_damaged_line_of_instances_is_refused_with_its_number(run: Run, damage: bytes) -> None:
    file = run.path / "instances.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([*lines[:2], damage + b"\n", *lines[2:]]))
    with pytest.raises(RunError, match=r"instances\.jsonl, line 3: damaged"):
        run.instances()


def test_an_instance_without_its_experiment_is_refused(run: Run) -> None:
    file = run.path / "instances.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(line for line in lines if b'"experiment"' not in line[:30]))
    with pytest.raises(RunError, match="line 1: the experiment 'up to 20' is missing"):
        run.instances()


@pytest.mark.parametrize("game_id", [None, 1.5, True, ["x"], {"a": 1}])
def test_an_odd_id_of_an_instance_makes_no_unreadable_episode(run: Run, game_id: Any) -> None:
    odd = Instance("guessing", guessing().experiment, {"game_id": game_id, "secret": 1})
    record(run, new_episode(GuessingGame(), odd, {"guesser": "x"}))
    assert len(list(run.episodes(failed=True))) == 1


# --- episodes ------------------------------------------------------------------------------------


def test_episodes_come_back_in_the_order_in_which_they_ended(run: Run) -> None:
    made = [episode(i) for i in (4, 1, 3)]
    record(run, *made)
    assert list(run.episodes()) == made


def test_every_episode_is_one_line_whatever_it_says(run: Run) -> None:
    texts = ["a\nb\r\nc\u2028d\u0085e\0", '"}]', "é👋", "x" * 200_000]
    file = record(run, *[episode(i, text=text) for i, text in enumerate(texts)])
    assert file.read_bytes().count(b"\n") == 4
    assert [e.events[-1] for e in run.episodes()] == [Note("text", text) for text in texts]


def test_failed_attempts_are_kept_apart(run: Run) -> None:
    record(run, episode(0, failed=True), episode(1), episode(0, failed=True, attempts=2))
    assert [e.key for e in run.episodes()] == [episode(1).key]
    assert len(list(run.episodes(failed=True))) == 3
    progress = run.progress()
    assert progress.done == {episode(1).key}
    assert progress.failed == {episode(0).key: 2}


def test_a_unit_that_was_finished_later_has_not_failed(run: Run) -> None:
    record(run, episode(0, failed=True), episode(0, attempts=2))
    assert run.progress().done == {episode(0).key}
    assert run.progress().failed == {}


def test_the_short_form_has_the_identity_of_the_long_one() -> None:
    game = GuessingGame()
    for players in ({"guesser": "x"}, {"b": "1", "a": "2"}):
        made = new_episode(game, guessing(), players, seed=3, repeat=2)
        short = msgspec.json.decode(msgspec.json.encode(made), type=EpisodeKey)
        assert short.key == made.key


def test_a_write_that_the_system_splits_up_is_completed(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, data: write(file, bytes(data[:7])))
    record(run, episode(0), episode(1))
    monkeypatch.undo()
    assert list(run.episodes()) == [episode(0), episode(1)]


# --- torn and damaged lines ----------------------------------------------------------------------


def test_wherever_the_last_line_was_torn_the_others_are_kept(run: Run) -> None:
    file = record(run, episode(0), episode(1), episode(2))
    whole = file.read_bytes()
    start = whole.rindex(b"\n", 0, -1) + 1
    for cut in range(start, len(whole)):
        file.write_bytes(whole[:cut])
        torn = whole[start:cut]
        complete = cut == len(whole) - 1
        expected = [episode(i) for i in range(3 if complete else 2)]
        # Reading needs no repair, and sees what a repair will keep.
        assert list(run.episodes()) == expected
        assert run.progress().done == {e.key for e in expected}
        assert file.read_bytes() == whole[:cut]
        with EpisodeWriter(run) as writer:
            writer.append(episode(5))
        assert list(run.episodes()) == [*expected, episode(5)]
        rescued = file.with_suffix(".torn")
        if complete or not torn:
            assert not rescued.exists()
        else:
            assert rescued.read_bytes() == torn + b"\n"
            rescued.unlink()


@pytest.mark.parametrize("length", [0, 1, 70_000, 300_000])
def test_a_torn_line_of_any_length_is_repaired(run: Run, length: int) -> None:
    """Also where it is the only one, and longer than what is read at once."""
    file = run.path / "episodes.jsonl"
    for before in ([], [episode(0), episode(1)]):
        file.unlink(missing_ok=True)
        record(run, *before)
        with file.open("ab") as stream:
            stream.write(b'{"game":"' + b"x" * length)
        record(run, episode(2))
        assert list(run.episodes()) == [*before, episode(2)]


@pytest.mark.parametrize("length", [70_000, 300_000])
def test_a_long_last_line_without_its_end_is_kept(run: Run, length: int) -> None:
    file = record(run, episode(0), episode(1, text="x" * length))
    file.write_bytes(file.read_bytes()[:-1])
    record(run, episode(2))
    assert list(run.episodes()) == [episode(0), episode(1, text="x" * length), episode(2)]
    assert not file.with_suffix(".torn").exists()


@pytest.mark.parametrize("rest", [b"\0" * 4096, b"\xff\xfe", b'{"game":"\xff"}'])
def test_a_last_line_that_is_no_episode_is_put_aside(run: Run, rest: bytes) -> None:
    """A file system may fill what was lost with zeros."""
    file = record(run, episode(0))
    with file.open("ab") as stream:
        stream.write(rest)
    assert list(run.episodes()) == [episode(0)]
    record(run, episode(1))
    assert list(run.episodes()) == [episode(0), episode(1)]
    assert file.with_suffix(".torn").read_bytes() == rest + b"\n"


def test_repairing_twice_keeps_both_pieces(run: Run) -> None:
    file = record(run, episode(0))
    for piece in (b'{"game"', b'{"instance'):
        with file.open("ab") as stream:
            stream.write(piece)
        record(run)
    assert file.with_suffix(".torn").read_bytes() == b'{"game"\n{"instance\n'
    assert list(run.episodes()) == [episode(0)]


@pytest.mark.parametrize("damage", [b"{}", b"", b'{"game":', b"\0\0\0", b'{"game":"\xff"}'])
def test_a_damaged_line_in_the_middle_is_refused_with_its_number(run: Run, damage: bytes) -> None:
    file = record(run, episode(0), episode(1), episode(2))
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([lines[0], damage + b"\n", *lines[2:]]))
    with pytest.raises(RunError, match=r"episodes\.jsonl, line 2: damaged"):
        list(run.episodes())
    with pytest.raises(RunError, match=r"episodes\.jsonl, line 2: damaged"):
        run.progress()


# --- one writer ----------------------------------------------------------------------------------

HOLD = """
import sys
from playpen.store import EpisodeWriter, Run
with EpisodeWriter(Run.open(sys.argv[1])):
    print("locked", flush=True)
    sys.stdin.read()
"""


def test_a_second_writer_is_refused_and_changes_nothing(run: Run) -> None:
    file = record(run, episode(0))
    with EpisodeWriter(run) as first:
        with file.open("ab") as stream:
            stream.write(b'{"half')  # as if the first were in the middle of a line
        with pytest.raises(RunError, match="another process is playing into"), EpisodeWriter(run):
            pass
        assert file.read_bytes().endswith(b'{"half')
        os.truncate(file, file.stat().st_size - len(b'{"half'))
        first.append(episode(1))
    assert list(run.episodes()) == [episode(0), episode(1)]


def test_the_lock_holds_against_another_process_and_dies_with_it(run: Run) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(run.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        with pytest.raises(RunError, match="another process is playing into"), EpisodeWriter(run):
            pass
        holder.kill()
        holder.wait()
        record(run, episode(0))
    assert list(run.episodes()) == [episode(0)]


def test_reading_needs_no_lock(run: Run) -> None:
    with EpisodeWriter(run) as writer:
        writer.append(episode(0))
        assert list(run.episodes()) == [episode(0)]
        assert len(run.progress().done) == 1


# --- scores --------------------------------------------------------------------------------------


def test_scores_are_written_beside_the_episodes_and_replaced_whole(run: Run) -> None:
    run.write_scores({"clemscore": 1.5, "much": "x" * 1000})
    file = run.write_scores({"clemscore": 29.28})
    assert file == run.path / "scores.json"
    assert msgspec.json.decode(file.read_bytes()) == {"clemscore": 29.28}
    assert not list(run.path.glob("*.part"))


def test_a_reply_with_all_its_parts_is_stored(run: Run) -> None:
    made = episode(0)
    full = Reply("x", "<think>y</think>x", "y", "length", None, 5, 6)
    made.events.append(Said("guesser", full))
    record(run, made)
    assert next(run.episodes()).replies()[-1].reply == full


# --- two processes -------------------------------------------------------------------------------

MAKER = """
import sys
from pathlib import Path
from tests.core.sample_games import guessing
from playpen.store import Run, RunConfig, RunError
folder, seed = sys.argv[1], int(sys.argv[2])
instances = [guessing(secret=seed) for _ in range(2000)]
print("ready", flush=True)
sys.stdin.readline()
try:
    Run.create(folder, RunConfig(seed=seed), instances)
except RunError as error:
    print(error)
else:
    print("made")
"""


def test_point_14_of_processes_that_make_one_directory_one_makes_it(tmp_path: Path) -> None:
    for attempt in range(3):
        folder = tmp_path / f"run-{attempt}"
        makers = [
            subprocess.Popen(
                [sys.executable, "-c", MAKER, str(folder), str(seed)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                cwd=Path(__file__).parents[2],
            )
            for seed in (1, 2, 3)
        ]  # fmt: skip
        for maker in makers:
            assert maker.stdout is not None and maker.stdout.readline() == "ready\n"
        for maker in makers:
            assert maker.stdin is not None
            maker.stdin.write("go\n")
            maker.stdin.flush()
        told = [maker.communicate(timeout=60)[0].strip() for maker in makers]
        assert told.count("made") == 1, told
        made = Run.open(folder)
        assert made.config.seed == 1 + told.index("made")
        assert {i["secret"] for i in made.instances()} == {made.config.seed}
        for text in told:
            assert text == "made" or "another process" in text or "already holds a run" in text


def test_point_14_who_makes_a_run_keeps_others_out(tmp_path: Path) -> None:
    """Between the first look for a run.json and the end of making one, another is refused."""
    half_made = tmp_path / "half"
    half_made.mkdir()
    with EpisodeWriter(Run(half_made, RunConfig())):
        with pytest.raises(RunError, match="another process is playing into"):
            Run.create(half_made, RunConfig(), INSTANCES)
        assert sorted(path.name for path in half_made.iterdir()) == ["episodes.jsonl"]
    assert Run.create(half_made, RunConfig(), INSTANCES).instances() == INSTANCES
