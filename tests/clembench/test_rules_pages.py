"""The pages of docs/rules: what cites them is true to them, and every game has one."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from playpen_clembench.plugin import playpen_games

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "rules"
SECTIONS = [
    *("What it is", "Roles", "Instances", "Flow", "Reply format", "Violations", "Ends", "Scores"),
    *("Reproduced on purpose", "Our own part"),
]
"""The sections of a page about games, in their order."""

_SEARCHED = (
    *("playpen-core", "playpen-games-clembench", "playpen-trainers"),
    *("tests", "docs", "README.md", "CHANGELOG.md"),
)
_NAMES = r'"[^"]+"(?:(?:, | and )"[^"]+")*'
_CITATION = re.compile(rf"docs/rules/(?P<page>[\w-]+\.md)(?:, (?P<sections>{_NAMES}))?")
_CONTINUED = re.compile(r"\s*\n\s*(?:# )?")
_INDEXED = re.compile(r"^\| \[[^]]+\]\((?P<page>[\w-]+\.md)\) \| (?P<games>.+) \|$", re.MULTILINE)
_OLD_CITATION = re.compile(r"specs/[a-z_]+\.md|specification,\s+section")


class Citation(NamedTuple):
    """A place that names a page, and perhaps sections of it."""

    place: str
    page: str
    sections: tuple[str, ...]


@cache
def texts() -> dict[str, str]:
    """All source, tests and pages, by their path from the root."""
    found: dict[str, str] = {}
    for name in _SEARCHED:
        top = ROOT / name
        for path in [top] if top.is_file() else sorted(top.rglob("*")):
            if path.suffix in (".py", ".md") and path.is_file():
                found[path.relative_to(ROOT).as_posix()] = path.read_text(encoding="utf-8")
    return found


def citations(place: str, text: str) -> list[Citation]:
    """The citations of a text; one may go on in the next line of a docstring or comment."""
    return [
        Citation(place, match["page"], tuple(re.findall(r'"([^"]+)"', match["sections"] or "")))
        for match in _CITATION.finditer(_CONTINUED.sub(" ", text))
    ]


def headings(page: Path, level: str = "#+") -> list[str]:
    """The headings of a page, outside of code blocks."""
    prose = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    return re.findall(rf"^{level} (.+)$", prose, re.MULTILINE)


def covered() -> dict[str, set[str]]:
    """Page to the games that the index says it covers."""
    index = (PAGES / "README.md").read_text(encoding="utf-8")
    return {
        row["page"]: set(re.findall(r"`(\w+)`", row["games"]))
        for row in _INDEXED.finditer(index)
        if re.fullmatch(r"`\w+`(?:, `\w+`)*", row["games"])
    }


def test_every_citation_names_a_page_and_its_sections() -> None:
    found = [c for place, text in texts().items() for c in citations(place, text)]
    assert sum(bool(citation.sections) for citation in found) > 80
    wrong = [
        f"{citation.place}: {citation.page} {name}"
        for citation in found
        for name in citation.sections or ("",)
        if not (PAGES / citation.page).is_file()
        or (name and name not in headings(PAGES / citation.page))
    ]
    assert wrong == []


def test_a_citation_is_read_over_the_end_of_a_line() -> None:
    page = "/".join(("docs", "rules", "taboo.md"))
    comment = f'# See {page},\n    # "Reply format", "Our\n    # own part" and "Ends" "here".'
    assert citations("x", comment) == [
        Citation("x", "taboo.md", ("Reply format", "Our own part", "Ends"))
    ]
    assert citations("x", f'"""The rules ({page})."""') == [Citation("x", "taboo.md", ())]


def test_nothing_cites_what_is_not_in_the_repository() -> None:
    assert [place for place, text in texts().items() if _OLD_CITATION.search(text)] == []


def test_every_game_has_one_page_in_the_index() -> None:
    games = sorted(game for names in covered().values() for game in names)
    assert games == sorted(spec.name for spec in playpen_games())


def test_the_index_names_every_page() -> None:
    index = (PAGES / "README.md").read_text(encoding="utf-8")
    named = {row["page"] for row in _INDEXED.finditer(index)}
    assert named == {page.name for page in PAGES.glob("*.md")} - {"README.md"}


@pytest.mark.parametrize("page", sorted(covered()))
def test_pages_of_games_have_the_same_sections(page: str) -> None:
    assert headings(PAGES / page, "##") == SECTIONS


@pytest.mark.parametrize("page", sorted(page.name for page in PAGES.glob("*.md")))
def test_links_of_the_pages_lead_somewhere(page: str) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", (PAGES / page).read_text(encoding="utf-8"))
    assert [link for link in links if not (PAGES / link).is_file()] == []


def test_a_game_reads_like_its_rule_book() -> None:
    """At most 150 lines; a game that needs more would be listed here, with the reason."""
    source = ROOT / "playpen-games-clembench" / "src" / "playpen_clembench"
    files = sorted(source.glob("*/game.py"))
    assert len(files) == 10
    lengths = {file.parent.name: len(file.read_text("utf-8").splitlines()) for file in files}
    assert {name: length for name, length in lengths.items() if length > 150} == {}
