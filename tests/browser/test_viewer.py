"""``playpen view`` in Chromium, while a run is being played."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect
from tests.browser.conftest import Opened
from tests.core.made_runs import (
    HOSTILE_TEXT,
    append,
    episode,
    every_kind,
    logs,
    mixed,
    write_run,
    write_training,
)

from playpen.episode import Failure
from playpen.moves import Abort
from playpen.report.viewer import Viewer

pytestmark = pytest.mark.browser


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run that is half played, one that is whole, a damaged one, and a training."""
    runs = tmp_path / "runs"
    write_run(runs / "going", list(mixed(6)), planned=12)
    write_run(runs / "whole", [every_kind(0), *list(mixed(12, better=True))[1:]])
    write_run(runs / "broken", mixed(2))
    (runs / "broken" / "run.json").write_text("{", encoding="utf-8")
    write_training(runs / "training", logs())
    return runs


@pytest.fixture
def address(folder: Path) -> Iterator[str]:
    """A viewer's address."""
    server = Viewer(folder, "127.0.0.1", 0)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server.address
    server.shutdown()
    server.server_close()
    thread.join()


def test_the_runs_are_listed_with_their_progress(
    opened: Opened, address: str, folder: Path
) -> None:
    page = opened(address)
    rows = page.locator("#index tbody tr")
    expect(rows).to_have_count(3)
    expect(rows.filter(has_text="going")).to_contain_text("6 of 12")
    expect(rows.filter(has_text="whole")).to_contain_text("complete")
    expect(rows.filter(has_text="broken")).to_contain_text("run.json: damaged")
    expect(page.locator("#training-list")).to_contain_text("eval/success 1.00")
    append(folder / "going", list(mixed(9))[6:])
    expect(rows.filter(has_text="going")).to_contain_text("9 of 12", timeout=20_000)
    write_run(folder / "fresh", [], planned=5)
    expect(rows.filter(has_text="fresh")).to_contain_text("0 of 5", timeout=20_000)


def test_new_episodes_appear_while_a_run_is_played(
    opened: Opened, address: str, folder: Path
) -> None:
    page = opened(address)
    page.get_by_role("link", name="going").click()
    expect(page.locator("#count")).to_have_text("6 episodes.")
    expect(page.locator(".state")).to_have_text("6 of 12 played")
    page.locator("[name=outcome]").select_option("abort")
    expect(page.locator("#count")).to_have_text("2 of 6 episodes.")
    append(
        folder / "going",
        [episode(6, failure=Failure("PlayerError", "gone")), episode(7, Abort("new", "words"))],
    )
    expect(page.locator("#count")).to_have_text("3 of 8 episodes.", timeout=20_000)
    expect(page.locator("#list .why").first).to_have_text("new")
    append(folder / "going", [episode(6, attempts=2), *(episode(n) for n in range(8, 12))])
    expect(page.locator(".state")).to_have_text("complete", timeout=20_000)
    page.get_by_role("button", name="Clear").click()
    expect(page.locator("#count")).to_have_text("12 episodes.")
    page.locator("#list .open", has_text="level/6").click()
    expect(page.locator(".column")).to_contain_text("attempt 2")


def test_two_runs_are_shown_side_by_side(opened: Opened, address: str) -> None:
    page = opened(address)
    page.get_by_label("choose whole").check()
    page.get_by_label("choose going").check()
    page.get_by_role("button", name="Show the chosen runs").click()
    expect(page.locator("#count")).to_have_text("18 episodes.")
    page.get_by_label("Text").fill("long thoughts")
    expect(page.locator("#count")).to_have_text("1 of 18 episodes.")
    page.locator("#list .open").click()
    page.get_by_label("Beside it").select_option(index=1)
    expect(page.locator(".column h3")).to_have_text(["whole", "going"])


def test_hostile_text_does_nothing(opened: Opened, address: str, folder: Path) -> None:
    write_run(
        folder / "<script>window.stolen = 5<!--",
        [episode(0, Abort(HOSTILE_TEXT, HOSTILE_TEXT, HOSTILE_TEXT), text=HOSTILE_TEXT)],
    )
    page = opened(address)
    page.get_by_role("link", name="<script>").click()
    page.locator("#list .open").click()
    expect(page.locator(".bubble.player .text")).to_contain_text("window.stolen = 1")
    expect(page.locator(".hidden-character").first).to_be_visible()


def test_the_curves_of_a_training(opened: Opened, address: str) -> None:
    page = opened(address)
    page.get_by_role("link", name="training").click()
    expect(page.locator(".figure")).to_have_count(4)


def test_it_fits_a_phone(opened: Opened, address: str) -> None:
    page = opened(address, viewport={"width": 390, "height": 844}, color_scheme="dark")
    expect(page.locator("#index tbody tr")).to_have_count(3)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.get_by_role("link", name="going").click()
    expect(page.locator("#list .open")).to_have_count(6)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
