"""``playpen view`` without a browser: reading on while a run is played, and answering requests."""

from __future__ import annotations

import http.client
import json
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.core.command_line import refused, started
from tests.core.made_runs import (
    GAME,
    append,
    episode,
    every_kind,
    logs,
    mixed,
    write_run,
    write_training,
)

from playpen.episode import Failure
from playpen.report.live import Library, LiveRun
from playpen.report.viewer import AT_ONCE, Viewer

# --- reading on ----------------------------------------------------------------------------------


def test_episodes_are_read_once_each_as_they_are_written(tmp_path: Path) -> None:
    path = write_run(tmp_path / "run", mixed(3), planned=6)
    run = LiveRun(path, "run")
    run.refresh()
    assert [row.instance_id for row in run.rows] == [0, 1, 2]
    append(path, [episode(3), episode(4, failure=Failure("PlayerError", "gone"))])
    run.refresh()
    assert [row.instance_id for row in run.rows] == [0, 1, 2, 3, 4]
    total = run.total()
    assert (total.planned, total.finished, total.failed) == (6, 4, 1)
    assert (total.success, total.lose, total.abort) == (2, 1, 1)
    assert total.mean == (80 + 100) / 4
    append(path, [episode(4, attempts=2)])
    run.refresh()
    assert (run.total().finished, run.total().failed) == (5, 0)
    assert run.games()[GAME] == run.total()
    assert run.transcript(3).name == f"{GAME}/level/3"


def test_a_line_that_is_being_written_is_waited_for(tmp_path: Path) -> None:
    path = write_run(tmp_path / "run", mixed(2), planned=3)
    file = path / "episodes.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(lines[0] + lines[1][:40])
    run = LiveRun(path, "run")
    run.refresh()
    assert (len(run.rows), run.problem) == (1, "")
    with file.open("ab") as out:
        out.write(lines[1][40:])
    run.refresh()
    assert (len(run.rows), run.problem) == (2, "")
    assert run.transcript(1).name == f"{GAME}/level/1"


def test_a_damaged_line_is_named_and_the_others_are_shown(tmp_path: Path) -> None:
    path = write_run(tmp_path / "run", mixed(3))
    file = path / "episodes.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(lines[0] + b"nonsense\n" + lines[2])
    run = LiveRun(path, "run")
    run.refresh()
    assert "episodes.jsonl, line 2: damaged" in run.problem
    assert [row.instance_id for row in run.rows] == [0, 2]
    assert run.transcript(1).name == f"{GAME}/level/2"


def test_a_problem_that_was_mended_is_forgotten(tmp_path: Path) -> None:
    path = write_run(tmp_path / "run", mixed(3))
    content = (path / "run.json").read_bytes()
    (path / "run.json").write_bytes(b"{")
    run = LiveRun(path, "run")
    run.refresh()
    assert "run.json: damaged" in run.problem
    (path / "run.json").write_bytes(content)
    run.refresh()
    assert (run.problem, len(run.rows)) == ("", 3)


def test_another_file_in_its_place_is_read_from_the_start(tmp_path: Path) -> None:
    path = write_run(tmp_path / "run", mixed(3))
    run = LiveRun(path, "run")
    run.refresh()
    file = path / "episodes.jsonl"
    other = tmp_path / "other"
    other.write_bytes(file.read_bytes().splitlines(keepends=True)[0])
    other.replace(file)
    run.refresh()
    assert run.generation == 1
    assert len(run.rows) == run.total().finished == 1


def test_runs_and_trainings_are_found_wherever_they_are(tmp_path: Path) -> None:
    write_run(tmp_path / "a", mixed(1))
    write_run(tmp_path / "deep" / "er" / "b", mixed(1))
    write_run(tmp_path / ".hidden" / "c", mixed(1))
    write_run(tmp_path / "training" / "demonstrations", mixed(1))
    write_training(tmp_path / "other" / "training", logs())
    (tmp_path / "link").symlink_to(tmp_path / "a")
    library = Library(tmp_path)
    library.scan()
    assert sorted(run.name for run in library.runs.values()) == [
        "a", "deep/er/b", "training/demonstrations",
    ]  # fmt: skip
    assert [training.name for training in library.trainings.values()] == ["other/training"]
    before = dict(library.runs)
    library.scan()
    assert library.runs == before  # what was read of them is kept


# --- answering -----------------------------------------------------------------------------------


@pytest.fixture
def viewer(tmp_path: Path) -> Iterator[Viewer]:
    """A viewer of a folder with a run, a damaged run and a training."""
    folder = tmp_path / "runs"
    write_run(folder / "one", [every_kind(0), *mixed(4)][:4], planned=9)
    write_run(folder / "broken", [])
    (folder / "broken" / "run.json").write_text("{", encoding="utf-8")
    write_training(folder / "training", logs())
    (tmp_path / "secret.txt").write_text("a secret", encoding="utf-8")
    server = Viewer(folder, "127.0.0.1", 0)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def asked(viewer: Viewer, path: str, **headers: str) -> tuple[http.client.HTTPResponse, str]:
    connection = http.client.HTTPConnection("127.0.0.1", viewer.server_port, timeout=20)
    try:
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        return response, response.read().decode("utf-8")
    finally:
        connection.close()


def data(viewer: Viewer, path: str) -> Any:
    response, text = asked(viewer, path)
    assert response.status == 200, text
    return json.loads(text)


def test_the_runs_are_listed_damaged_ones_too(viewer: Viewer) -> None:
    told = data(viewer, "/api/runs")
    by_name = {run["name"]: run for run in told["runs"]}
    assert set(by_name) == {"one", "broken"}
    assert (by_name["one"]["total"]["finished"], by_name["one"]["total"]["planned"]) == (4, 9)
    assert by_name["one"]["problem"] == ""
    assert "run.json: damaged" in by_name["broken"]["problem"]
    [training] = told["trainings"]
    assert (training["name"], training["steps"]) == ("training", 20)
    assert training["last"]["eval/success"] == 1.0


def test_a_name_that_is_no_text_is_shown_all_the_same(viewer: Viewer) -> None:
    for name in (b"x\xff", b"x\xfe"):
        made = write_run(viewer.library.folder / "new", mixed(2))
        made.rename(viewer.library.folder / os.fsdecode(name))
    runs = [run for run in data(viewer, "/api/runs")["runs"] if run["name"] == "x\ufffd"]
    assert len(runs) == 2
    assert asked(viewer, f"/runs?r={runs[0]['id']}&r={runs[1]['id']}")[0].status == 200


def test_rows_and_transcripts_are_given_one_by_one(viewer: Viewer) -> None:
    run = next(run["id"] for run in data(viewer, "/api/runs")["runs"] if run["name"] == "one")
    told = data(viewer, f"/api/rows?run={run}&from=1")
    assert (len(told["rows"]), told["total"]) == (3, 4)
    assert told["rows"][0][3] == 0
    found = data(viewer, f"/api/episode?run={run}&number=0")
    assert [line["k"] for line in found["lines"]][:3] == ["ask", "reply", "tell"]
    assert data(viewer, f"/api/search?run={run}&text=LONG+Thoughts") == {"numbers": [0]}
    append(viewer.library.folder / "one", [episode(7)])
    assert data(viewer, f"/api/rows?run={run}&from=4")["rows"][0][3] == 7
    page = asked(viewer, f"/runs?r={run}")[1]
    assert "something told" not in page


def test_many_rows_come_in_several_answers(viewer: Viewer) -> None:
    folder = viewer.library.folder / "many"
    write_run(folder, (episode(n % 5, repeat=n) for n in range(AT_ONCE + 10)), planned=5000)
    run = next(run["id"] for run in data(viewer, "/api/runs")["runs"] if run["name"] == "many")
    assert len(data(viewer, f"/api/rows?run={run}&from=0")["rows"]) == AT_ONCE
    assert len(data(viewer, f"/api/rows?run={run}&from={AT_ONCE}")["rows"]) == 10


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8787", "localhost.evil.example", "", "[", "127.0.0.1.x"]
)
def test_a_name_of_somebody_else_is_refused(viewer: Viewer, host: str) -> None:
    response, text = asked(viewer, "/api/runs", Host=host)
    assert (response.status, text) == (403, "This viewer does not serve that host.")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:80", "127.0.0.1:1", "[::1]:8787"])
def test_this_machine_may_be_called_by_its_names(viewer: Viewer, host: str) -> None:
    assert asked(viewer, "/", Host=host)[0].status == 200


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.txt", "/%2e%2e/secret.txt", "/secret.txt", "/one/episodes.jsonl",
        "/runs", "/runs?r=one", "/runs?r=../one", "/training?t=../../secret.txt", "/training",
        "/api/rows?run=one&from=0", "/api/episode?run=../one&number=0", "/app.js/../../x",
        "/report.html",
    ],
)  # fmt: skip
def test_nothing_is_served_by_its_path(viewer: Viewer, path: str) -> None:
    response, text = asked(viewer, path)
    assert response.status == 404
    assert "secret" not in text


@pytest.mark.parametrize("number", ["99", "-1", "x", "", "1e3", "9" * 40])
def test_an_episode_that_is_not_there(viewer: Viewer, number: str) -> None:
    run = next(run["id"] for run in data(viewer, "/api/runs")["runs"] if run["name"] == "one")
    assert asked(viewer, f"/api/episode?run={run}&number={number}")[0].status == 404


def test_every_answer_forbids_what_it_does_not_need(viewer: Viewer) -> None:
    [training] = data(viewer, "/api/runs")["trainings"]
    for path in ("/", "/api/runs", "/nothing", "/app.js", f"/training?t={training['id']}"):
        response, _ = asked(viewer, path)
        policy = response.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; ")
        assert "frame-ancestors 'none'" in policy
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Access-Control-Allow-Origin"] is None


def test_the_curves_of_a_training_are_shown(viewer: Viewer) -> None:
    [training] = data(viewer, "/api/runs")["trainings"]
    response, page = asked(viewer, f"/training?t={training['id']}")
    assert response.status == 200
    assert page.count('role="img"') == 4


def test_nothing_can_be_changed(viewer: Viewer) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", viewer.server_port, timeout=20)
    for method in ("POST", "PUT", "DELETE"):
        connection.request(method, "/api/runs", body=b"x")
        response = connection.getresponse()
        response.read()
        assert response.status == 501
        connection.close()


# --- the command ---------------------------------------------------------------------------------


def test_the_command_tells_its_address_and_ends_cleanly(tmp_path: Path) -> None:
    write_run(tmp_path / "runs" / "one", mixed(2))
    with started("view", "--port", "0", cwd=tmp_path) as process:
        assert process.stdout is not None
        line = process.stdout.readline().decode()
        assert line.startswith("The runs below runs are at http://127.0.0.1:")
        port = int(line.split("127.0.0.1:")[1].split("/")[0])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("GET", "/api/runs")
        assert json.loads(connection.getresponse().read())["runs"][0]["name"] == "one"
        connection.close()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
        assert process.returncode == 0
        assert (out.strip(), err) == (b"", b"")


def test_an_address_that_is_taken_is_told(viewer: Viewer, tmp_path: Path) -> None:
    port = str(viewer.server_port)
    assert f"port {port}: " in refused("view", tmp_path, "--port", port)
    assert "does not exist" in refused("view", tmp_path / "nowhere")
    assert "--host" in refused("view", tmp_path, "--host", "no.such.host.invalid")
