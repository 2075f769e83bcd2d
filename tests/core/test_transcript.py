"""Transcripts: everything is shown, and nothing that is shown acts on the terminal."""

from __future__ import annotations

import io
import json
import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from tests.core.command_line import HERE, HOSTILE, good, playpen, refused, script
from tests.core.conftest import PackFolder
from tests.core.sample_games import GuessingGame, RelayGame, drive, game_of, guessing, relay

from playpen.conversation import Reply
from playpen.episode import Episode, Failure
from playpen.escape import escape
from playpen.instance import Experiment, Instance
from playpen.moves import (
    Abort,
    Ask,
    Lose,
    Note,
    Outcome,
    Play,
    Reward,
    Round,
    Success,
    Violation,
    ask,
)
from playpen.referee import Referee
from playpen.terminal.transcript import outcome_text, transcript

COLOURS = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory and a wide terminal."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")
    return tmp_path


def shown(episode: Episode, *, width: int = 100, colour: bool = False) -> str:
    """The transcript as text."""
    output = io.StringIO()
    Console(
        file=output,
        width=width,
        force_terminal=colour,
        color_system="truecolor" if colour else None,
    ).print(transcript(episode))
    return output.getvalue()


def active(text: str) -> set[str]:
    """Characters of a text that would act on a terminal."""
    return {
        character
        for character in text
        if (character != "\n" and unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp"))
        or unicodedata.bidirectional(character)
        in ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
        or character in "\u200e\u200f\u061c"
    }


# --- what is shown -------------------------------------------------------------------------------


def test_every_kind_of_move_is_shown_in_order() -> None:
    def finder(text: str) -> str:
        return "no idea" if text == "Sure?" else "wrong"

    episode, _ = drive(
        RelayGame(),
        relay(rounds=2),
        lambda c: "a hint" if c.role == "giver" else finder(c.last),
    )
    text = shown(episode)
    for part in (
        episode.name,
        "rules 0.9",
        "drawn: [",
        "secret: {",
        "game master → finder (fixed)",
        "What do you do?",
        "finder (fixed)",
        "I look for a word.",
        "game master → giver (with the next question)",
        "game master → giver ",
        "Give a hint.",
        "a hint",
        "game master → finder (side question)",
        "no idea",
        "Which word is it?",
        "reward of finder: 0",
        "── round 2 ──",
        "Outcome  lose, score 0",
    ):
        assert part in text, part
    assert text.index("Give a hint.") < text.index("a hint") < text.index("round 2")
    assert text.count("── round") == 1


def test_violations_say_whether_the_role_was_asked_again() -> None:
    episode, _ = drive(GuessingGame(), guessing(), {"guesser": ["seven", "no", "never asked"]})
    text = shown(episode)
    again = "guesser broke a rule: expected a whole number"
    assert text.count(again) == 2
    assert text.count(f"{again}; asked again") == 1
    assert "aborted by guesser: expected a whole number (not_a_number)" in text


def test_reasoning_stops_and_empty_replies_are_shown() -> None:
    def rules(instance: Instance) -> Play:
        yield Ask("a", "")
        yield Ask("b", "Well?")
        return Success()

    referee = Referee(game_of(rules), Instance("inline", Experiment("x", {}), {}))
    referee.advance()
    referee.advance(Reply("", raw="<think>hm</think>", reasoning="I had better say nothing"))
    referee.advance(Reply("and so on and", stop_reason="length"))
    text = shown(referee.episode)
    assert text.count("(empty)") == 2
    assert "a thinks" in text
    assert "I had better say nothing" in text
    assert "b (stopped: length)" in text


@pytest.mark.parametrize(
    ("outcome", "line"),
    [
        (Success(), "success, score 100"),
        (Success(33.333333333), "success, score 33.3333"),
        (Success(None), "success"),
        (Lose(), "lose, score 0"),
        (Lose(-2.5), "lose, score -2.5"),
        (
            Abort("no_tag", "the tag is missing", "giver"),
            "aborted by giver: the tag is missing (no_tag)",
        ),
        (Abort("reply_limit", "too long"), "aborted: too long (reply_limit)"),
    ],
)
def test_the_outcome_in_a_line(outcome: Outcome, line: str) -> None:
    assert outcome_text(Episode("g", "h", {}, outcome=outcome)).plain == line


def test_a_failure_in_a_line() -> None:
    episode = Episode("g", "h", {}, failure=Failure("player", "the server\nis down", "giver"))
    assert outcome_text(episode).plain == r"failed: the server\nis down"
    assert r"Outcome  failed: the server\nis down" in shown(episode)


def test_a_transcript_fits_the_terminal() -> None:
    episode, _ = drive(RelayGame(), relay(), lambda c: "long " * 100 + "x" * 300)
    for width in (40, 80, 120):
        assert max(map(len, shown(episode, width=width).splitlines())) <= width


# --- hostile text --------------------------------------------------------------------------------

EVERYWHERE = f"{HOSTILE}\nnext line"


def attacked() -> Episode:
    """An episode with hostile text wherever somebody else's text can stand."""

    def rules(instance: Instance) -> Play:
        yield Note(f"kind {EVERYWHERE}", EVERYWHERE)
        yield Note("data", {"deep": [EVERYWHERE]})
        yield Ask("a", EVERYWHERE)
        yield Reward("a", 1)
        yield Round()
        try:
            yield from ask("b", "b?", _refuse)
        except Violation:
            return Abort(f"code {EVERYWHERE}", EVERYWHERE, "b")
        raise AssertionError

    def _refuse(text: str) -> str:
        raise Violation("refused", EVERYWHERE)

    experiment = Experiment(f"experiment {EVERYWHERE}", {})
    referee = Referee(
        game_of(rules), Instance("inline", experiment, {"game_id": f"id {EVERYWHERE}"})
    )
    referee.advance()
    referee.advance(Reply(EVERYWHERE, raw="x", reasoning=EVERYWHERE))
    referee.advance(Reply(EVERYWHERE))
    referee.episode.players = {"a": f"program:{EVERYWHERE}", "b": EVERYWHERE}
    return referee.episode


def test_nothing_that_was_said_acts_on_the_terminal() -> None:
    text = shown(attacked(), width=2000)
    assert active(text) == set()
    # Yet it is all there to be read, markup included.
    for part in (
        "[red]markup[/red] [/]",
        r"\x1b[2J",
        r"\u202eesrever\u2066",
        r"\x00",
        r"\x9b31m",
        r"\rover",
    ):
        assert text.count(part) >= 10, part


def test_colours_are_the_only_escape_sequences() -> None:
    text = shown(attacked(), width=2000, colour=True)
    assert COLOURS.search(text)
    assert active(COLOURS.sub("", text)) == set()


def test_lists_and_lines_stay_lines() -> None:
    episode = attacked()
    assert "\n" not in outcome_text(episode).plain
    assert active(outcome_text(episode).plain) == set()


@pytest.mark.parametrize("form", ["", "1"])
def test_the_command_shows_hostile_episodes_inert(form: str, folder: Path) -> None:
    name = f"level {HOSTILE}"
    item = {"game_id": 0, "target_word": f"winter{HOSTILE}", "related_word": [HOSTILE]}
    document = {"experiments": [{"name": name, "max_turns": 3, "game_instances": [item]}]}
    Path("x.json").write_text(json.dumps(document), encoding="utf-8")
    good("play", "taboo", "-p", f"{HERE}:hostile", "--instances", "x.json", "-o", "out")
    arguments = ("transcript", "out", *form)
    assert active(good(*arguments)) == set()
    # On a terminal, too, where colours are not taken out again.
    result = script(*arguments, cwd=folder, FORCE_COLOR="1", COLUMNS="300")
    assert result.returncode == 0
    text = result.stdout.decode()
    assert COLOURS.search(text)
    assert active(COLOURS.sub("", text)) == set()
    assert r"\x1b[2J" in text


def test_the_messages_of_failures_are_inert(folder: Path) -> None:
    result = playpen("play", "taboo", "-p", f"{HERE}:hostile_failure", "-n", "1", "-o", "out")
    assert active(result.err.replace("\n", "")) == set()
    assert r"\x1b[2J" in result.err
    listed = good("transcript", "out")
    assert active(listed) == set()
    assert r"second line" in listed


@given(st.text(st.characters()), st.booleans())
def test_inert_text_has_no_active_characters(text: str, one_line: bool) -> None:
    safe = escape(text, one_line=one_line)
    assert active(safe.replace("\t", "")) == set()
    if one_line:
        assert not {"\n", "\t"} & set(safe)
        assert len(safe.splitlines()) <= 1
    else:
        assert safe.count("\n") == text.count("\n")
    assert escape(safe, one_line=one_line) == safe
    safe.encode()


@given(st.text(st.characters(categories=["L", "M", "N", "P", "S", "Zs"])))
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert escape(text, one_line=True) == text


@pytest.mark.parametrize(
    "text",
    [
        "naïve Straße 北京 שלום مرحبا",
        "👩\u200d🚀 🏳️\u200d🌈",
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
        "\\x1b [b]",
        "a\n\tb\n",
    ],
)
def test_scripts_and_signs_stay_as_they_are(text: str) -> None:
    assert escape(text) == text


# --- the command ---------------------------------------------------------------------------------


def test_episodes_are_listed_and_shown_by_number_and_by_name() -> None:
    good("play", "taboo", "-p", "program:oracle", "-n", "3", "-o", "out")
    table = [re.split(r"\s{2,}", row.strip()) for row in good("transcript", "out").splitlines()]
    assert table[0] == ["number", "episode", "outcome"]
    assert [row[0] for row in table[2:]] == ["1", "2", "3"]
    assert {row[2] for row in table[2:]} == {"success, score 100"}
    texts = [good("transcript", "out", number) for number in "123"]
    assert len(set(texts)) == 3
    for row, text in zip(table[2:], texts, strict=True):
        assert text.startswith(f"{row[1]}  rules 2.0")
        assert good("transcript", "out", row[1]) == text
        assert text.index("game master → describer") < text.index("game master → guesser")
        assert "correct guess: " in text
        assert text.endswith("Outcome  success, score 100\n")


@pytest.mark.parametrize("name", ["0", "4", "-1", "taboo", "taboo/high_en/9", "[red]", ""])
def test_an_unknown_episode_is_refused(name: str) -> None:
    good("play", "taboo", "-p", "program:oracle", "-n", "3", "-o", "out")
    message = refused("transcript", "out", "--", name)
    assert message == f"out has no episode {name!r}; `playpen transcript out` lists them"


def test_failed_attempts_can_be_looked_at(installed: PackFolder) -> None:
    playpen("play", "taboo", "-p", "flaky:", "-n", "2", "-o", "out")
    good("resume", "out")
    table = good("transcript", "out").splitlines()[2:]
    assert len(table) == 4
    assert sum("failed: the server of taboo/high_en/" in row for row in table) == 2
    assert "Outcome  failed: the server of taboo/high_en/" in good("transcript", "out", "1")
