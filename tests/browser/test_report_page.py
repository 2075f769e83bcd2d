"""A report in Chromium: filters, transcripts, comparison, hostile text, sizes and colours."""

from __future__ import annotations

import random
from pathlib import Path

import msgspec
import pytest
from playwright.sync_api import Page, expect
from tests.browser.conftest import Opened
from tests.core.command_line import good
from tests.core.made_runs import (
    HOSTILE_TEXT,
    MARKUP,
    episode,
    every_kind,
    instance,
    logs,
    mixed,
    write_run,
    write_training,
)

from playpen.episode import Episode, Failure, Said
from playpen.moves import Abort, Ask

pytestmark = pytest.mark.browser

DARK, LIGHT = "rgb(22, 24, 26)", "rgb(251, 251, 250)"
PHONE = {"width": 390, "height": 844}


def report(folder: Path, *runs: Path) -> str:
    good("report", *runs, "-o", folder / "report.html")
    return (folder / "report.html").as_uri()


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A report of two runs of 120 instances each, and of a training."""
    folder = tmp_path_factory.mktemp("two")
    lost = episode(119, failure=Failure("PlayerError", "the server is gone"))
    first = write_run(folder / "first", [*list(mixed(119)), lost])
    second = write_run(folder / "second", [every_kind(0), *list(mixed(120, better=True))[1:]])
    training = write_training(folder / "training", logs())
    return report(folder, first, second, training)


def titles(page: Page) -> list[str]:
    return page.locator("#list .open").all_inner_texts()


def count(page: Page) -> str:
    return page.locator("#count").inner_text()


def test_the_list_is_paged(opened: Opened, two_runs: str) -> None:
    page = opened(two_runs)
    expect(page.locator("#count")).to_have_text("240 episodes.")
    assert len(titles(page)) == 50
    expect(page.locator("#place")).to_have_text("Page 1 of 5")
    first = titles(page)
    page.get_by_role("button", name="Next").click()
    expect(page.locator("#place")).to_have_text("Page 2 of 5")
    assert not set(first) & set(titles(page))
    expect(page.locator("#before")).to_be_enabled()


def test_episodes_are_filtered_by_run_outcome_and_reason(opened: Opened, two_runs: str) -> None:
    page = opened(two_runs)
    page.locator("[name=outcome]").select_option("abort")
    expect(page.locator("#count")).to_have_text("39 of 240 episodes.")
    assert set(page.locator("#list .badge").all_inner_texts()) == {"aborted"}
    page.locator("[name=run]").select_option("1")
    expect(page.locator("#count")).to_have_text("0 of 240 episodes.")
    page.get_by_role("button", name="Clear").click()
    expect(page.locator("#count")).to_have_text("240 episodes.")
    page.locator("[name=reason]").select_option("PlayerError")
    expect(page.locator("#count")).to_have_text("1 of 240 episodes.")
    expect(page.locator("#list .badge")).to_have_text("failed")
    expect(page.locator("[name=game]").locator("option")).to_have_count(2)


def test_episodes_are_found_by_what_was_said(opened: Opened, two_runs: str) -> None:
    page = opened(two_runs)
    page.get_by_label("Text").fill("LONG thoughts")
    expect(page.locator("#count")).to_have_text("1 of 240 episodes.")
    page.get_by_label("Text").fill("nobody said that")
    expect(page.locator("#count")).to_have_text("0 of 240 episodes.")
    page.get_by_label("Text").fill("level/17")
    expect(page.locator("#count")).to_have_text("2 of 240 episodes.")


def test_a_view_can_be_linked(opened: Opened, two_runs: str) -> None:
    page = opened(two_runs)
    page.locator("[name=outcome]").select_option("lose")
    page.locator("[name=run]").select_option("1")
    page.get_by_role("button", name="Next").click()
    page.locator("#list .open").first.click()
    title = page.locator("#reader-title").inner_text()
    again = opened(page.url)
    expect(again.locator("#reader-title")).to_have_text(title)
    again.get_by_role("button", name="Close").click()
    expect(again.locator("#place")).to_have_text("Page 2 of 2")
    expect(again.locator("[name=outcome]")).to_have_value("lose")


def test_a_transcript_shows_every_kind_of_line(opened: Opened, two_runs: str) -> None:
    page = opened(f"{two_runs}#?run=1")
    page.locator("#list .open").first.click()
    chat = page.locator(".chat")
    expect(chat.locator(".bubble.master")).to_have_count(4)
    expect(chat.locator(".bubble.player")).to_have_count(4)
    for text in ("something told", "a fixed answer", "round 2", "guesser broke a rule",
                 "; asked again",
                 "the reply is too long", "reward of guesser: 0.5",
                 "helper, stopped: length", "game master → guesser, a side question"):  # fmt: skip
        expect(chat.get_by_text(text)).to_be_visible()
    expect(chat.get_by_text("long thoughts")).to_be_hidden()
    chat.get_by_text("Reasoning").click()
    expect(chat.get_by_text("long thoughts")).to_be_visible()
    expect(page.locator(".column > header")).to_contain_text("lost by guesser, score 25")


def test_the_same_instance_of_two_runs_side_by_side(opened: Opened, two_runs: str) -> None:
    page = opened(two_runs)
    page.get_by_label("Only where the outcomes").check()
    expect(page.locator("#count")).to_have_text("82 of 240 episodes.")
    page.locator("#list .open").nth(1).click()
    page.get_by_label("Beside it").select_option(index=1)
    columns = page.locator(".column")
    expect(columns).to_have_count(2)
    expect(columns.nth(0).locator("h3")).to_have_text("first")
    expect(columns.nth(1).locator("h3")).to_have_text("second")
    left, right = (columns.nth(n).bounding_box() for n in (0, 1))
    assert left and right and left["x"] + left["width"] <= right["x"]
    # The other run stays beside the next episode.
    title = page.locator("#reader-title").inner_text()
    page.keyboard.press("j")
    expect(page.locator("#reader-title")).not_to_have_text(title)
    expect(columns).to_have_count(2)
    expect(columns.nth(1).locator("h3")).to_have_text("second")


def test_everything_can_be_done_with_the_keyboard(opened: Opened, two_runs: str) -> None:
    page = opened(two_runs)
    expect(page.locator("#list .open").first).to_be_visible()
    page.locator("#list .open").nth(2).focus()
    key = page.evaluate("document.activeElement.dataset.key")
    page.keyboard.press("Enter")
    expect(page.locator("dialog")).to_be_visible()
    page.keyboard.press("k")
    page.keyboard.press("j")
    page.keyboard.press("Escape")
    expect(page.locator("dialog")).to_be_hidden()
    assert page.evaluate("document.activeElement.dataset.key") == key
    # Every control has a name.
    for control in page.locator("select, input, button").all():
        name = control.evaluate(
            "n => n.labels?.[0]?.innerText || n.innerText || n.getAttribute('aria-label')"
        )
        assert name or control.is_hidden()


def test_figures_take_the_colours_of_the_page(opened: Opened, two_runs: str) -> None:
    page = opened(two_runs, color_scheme="dark")
    body = "getComputedStyle(document.body).backgroundColor"
    ink = "getComputedStyle(document.querySelector('.figure text')).fill"
    assert page.evaluate(body) == DARK
    assert page.evaluate(ink) == "rgb(231, 232, 230)"
    button = page.locator("#theme")
    button.click()
    assert page.evaluate(body) == LIGHT
    assert page.evaluate(ink) == "rgb(29, 31, 33)"
    button.click()
    assert page.evaluate(body) == DARK
    assert opened(two_runs, color_scheme="light").evaluate(body) == LIGHT


def test_no_figure_is_cut_or_empty(opened: Opened, two_runs: str) -> None:
    page = opened(two_runs)
    expect(page.locator(".figure")).to_have_count(7)
    outside = page.evaluate(
        """() => [...document.querySelectorAll('.figure')].flatMap((figure) => {
            const box = figure.getBoundingClientRect();
            return [...figure.querySelectorAll('text')].filter((text) => {
                const own = text.getBoundingClientRect();
                return own.left < box.left - 1 || own.right > box.right + 1
                    || own.top < box.top - 1 || own.bottom > box.bottom + 1;
            }).map((text) => text.textContent);
        })"""
    )
    assert outside == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone(opened: Opened, two_runs: str, scheme: str) -> None:
    page = opened(two_runs, viewport=PHONE, color_scheme=scheme)
    expect(page.locator("#list .open").first).to_be_visible()
    width = "document.documentElement.scrollWidth"
    assert page.evaluate(width) == 390
    page.locator("#list .open").nth(1).click()
    page.get_by_label("Beside it").select_option(index=1)
    columns = page.locator(".column")
    expect(columns).to_have_count(2)
    upper, lower = (columns.nth(n).bounding_box() for n in (0, 1))
    assert upper and lower and upper["y"] + upper["height"] <= lower["y"]
    assert page.evaluate("document.querySelector('dialog').scrollWidth") <= 390


# --- what models say -----------------------------------------------------------------------------


def test_hostile_text_is_shown_and_does_nothing(opened: Opened, tmp_path: Path) -> None:
    said = [
        episode(0, Abort(HOSTILE_TEXT, HOSTILE_TEXT, HOSTILE_TEXT), text=HOSTILE_TEXT,
                prompt=HOSTILE_TEXT, players={HOSTILE_TEXT: HOSTILE_TEXT}),
        episode(1, failure=Failure(HOSTILE_TEXT, HOSTILE_TEXT, HOSTILE_TEXT)),
        msgspec.structs.replace(episode(2), game=HOSTILE_TEXT, experiment=HOSTILE_TEXT),
    ]  # fmt: skip
    run = write_run(tmp_path / "<script>window.stolen = 4<!--", said)
    page = opened(report(tmp_path, run))
    expect(page.locator("#list .open")).to_have_count(3)
    for number in range(3):
        page.locator("#list .open").nth(number).click()
        expect(page.locator(".column")).to_be_visible()
        page.keyboard.press("Escape")
    page.locator("#list .open", has_text="made_up/level/0").click()
    reply = page.locator(".bubble.player .text")
    expect(reply).to_contain_text(MARKUP)
    expect(reply).to_contain_text("\\u202eesrever\\u2066 \\x1b[31m \\x00 $x^2$ \\u202e")
    expect(reply.locator(".hidden-character")).to_have_count(4)
    text = page.evaluate("document.documentElement.innerText")
    assert not set(text) & set("\u202e\u2066\x1b\x00")


def test_text_that_runs_from_right_to_left_turns_nothing_else(
    opened: Opened, tmp_path: Path
) -> None:
    run = write_run(tmp_path / "run", [episode(0, text="שלום עולם\nhello")])
    page = opened(report(tmp_path, run))
    page.locator("#list .open").click()
    style = "n => [getComputedStyle(n).direction, getComputedStyle(n).unicodeBidi]"
    assert page.locator(".bubble.player .text").evaluate(style) == ["rtl", "plaintext"]
    assert page.locator(".bubble.player h4").evaluate(style)[0] == "ltr"


def test_a_reply_of_a_megabyte_is_shown_bit_by_bit(opened: Opened, tmp_path: Path) -> None:
    long = "a" * 1_000_000
    run = write_run(tmp_path / "run", [episode(0, text=long), episode(1, text="\u202e" * 100_000)])
    page = opened(report(tmp_path, run))
    page.locator("#list .open").first.click()
    text = page.locator(".bubble.player .text")
    expect(text).to_have_text("a" * 4000)
    page.get_by_role("button", name="Show 50,000 more of 996,000 characters").click()
    expect(page.get_by_role("button", name="more of 946,000 characters")).to_be_visible()
    assert text.evaluate("n => n.textContent.length") == 54_000
    page.keyboard.press("j")
    expect(page.locator("#reader-title")).to_have_text("made_up/level/1")
    page.get_by_role("button", name="more of 96,000 characters").click()
    assert "\u202e" not in str(text.evaluate("n => n.textContent"))


def test_a_long_episode_is_shown_in_parts(opened: Opened, tmp_path: Path) -> None:
    events = [event for n in range(500) for event in (Ask("guesser", f"question {n}"),
              Said("guesser", every_kind().replies()[0].reply))]  # fmt: skip
    run = write_run(tmp_path / "run", [episode(0, events=events)])
    page = opened(report(tmp_path, run))
    page.locator("#list .open").click()
    expect(page.locator(".bubble")).to_have_count(300)
    page.get_by_role("button", name="Show more (702 lines left)").click()
    expect(page.locator(".bubble")).to_have_count(600)


# --- size ----------------------------------------------------------------------------------------

WORDS = [
    "".join(random.Random(n).choices("etaoinshrdlu", k=random.Random(-n).randint(2, 9)))
    for n in range(3000)
]


def words(seed: object, length: int) -> str:
    draw = random.Random(str(seed))
    text = ""
    while len(text) < length:
        text += draw.choice(WORDS) + " "
    return text


def long_episode(number: int) -> Episode:
    """Ten replies of about 200 characters to a prompt of 2,000 and short answers."""
    one = next(iter(list(mixed(3))[number % 3 : number % 3 + 1]))
    rules = words("rules", 1900)
    one.instance_id = number
    one.instance = instance(number).hash
    one.events = [Ask("guesser", f"{rules} {words(('secret', number), 100)}")]
    for turn in range(10):
        reply = words((number, turn), 200)
        one.events.append(Said("guesser", msgspec.structs.replace(REPLY, text=reply)))
        one.events.append(Ask("guesser", words((number, turn, "answer"), 80)))
    return one


REPLY = episode(0).replies()[0].reply


def test_five_thousand_episodes_are_one_page(opened: Opened, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", map(long_episode, range(5000)))
    address = report(tmp_path, run)
    assert (tmp_path / "report.html").stat().st_size < 30_000_000
    page = opened(address)
    expect(page.locator("#count")).to_have_text("5000 episodes.")
    page.locator("#list .open").nth(7).click()
    expect(page.locator(".bubble.player")).to_have_count(10)
    page.keyboard.press("Escape")
    page.get_by_label("Text").fill(words((4321, 3), 200)[:60])
    expect(page.locator("#count")).to_have_text("1 of 5000 episodes.", timeout=60_000)
