"""A browser, and pages in it that must not complain."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
]  # fmt: skip

Opened = Callable[..., Page]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Debian's Chromium without a window."""
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield started
        started.close()


@pytest.fixture
def opened(browser: Browser) -> Iterator[Opened]:
    """Opens an address in a page; what it writes to the console fails the test.

    So does every request to somewhere else.
    """
    complaints: list[str] = []
    pages: list[Page] = []

    def open_page(address: str, **options: Any) -> Page:
        page = browser.new_page(**{"viewport": {"width": 1280, "height": 900}, **options})
        pages.append(page)
        home = address.split("/", 3)[2]

        def requested(request: Any) -> None:
            if not request.url.startswith(("data:", "file:", "blob:", f"http://{home}/")):
                complaints.append(f"request to {request.url}")

        page.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", requested)
        page.goto(address)
        return page

    yield open_page
    for page in pages:
        assert page.evaluate("window.stolen") is None
        page.close()
    assert complaints == []
