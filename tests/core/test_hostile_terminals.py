"""What is from files, models and servers meets the terminal in two places, and is inert there."""

from __future__ import annotations

import ast
import io
import json
import os
import pty
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.text import Text
from tests.core.command_line import HERE, REPOSITORY, good, script
from tests.core.test_transcript import COLOURS, active

import playpen
import playpen.cli
from playpen.cli.messages import echo, echo_document
from playpen.terminal.console import SafeConsole

ATTACK = "\x1b[2J\u202eesrever\x9b31m\x07"
CLI = Path(playpen.cli.__file__).parent
SOURCES = sorted(Path(playpen.__file__).parent.rglob("*.py"))


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recorded run in the working directory, of which every text that can be is hostile."""
    monkeypatch.chdir(tmp_path)
    good("play", "taboo", "-p", f"{HERE}:hostile", "-n", "2", "-o", "out")
    label = json.dumps(f"{HERE}:hostile")[1:-1]
    attack = json.dumps(ATTACK)[1:-1]
    for name in ("run.json", "episodes.jsonl"):
        file = Path("out", name)
        content = file.read_text(encoding="utf-8").replace(label, f"{label}{attack}")
        documents = [content] if name == "run.json" else content.rstrip("\n").split("\n")
        written = [json.dumps(hostile(json.loads(text))) for text in documents]
        file.write_text("\n".join(written) + "\n", encoding="utf-8")
    return Path("out")


def hostile(document: dict[str, Any]) -> dict[str, Any]:
    """The document with an attack in its rules."""
    rules = document["rules"]
    if isinstance(rules, dict):
        return {**document, "rules": {game: f"{one}{ATTACK}" for game, one in rules.items()}}
    return {**document, "rules": f"{rules}{ATTACK}"}


ENVIRONMENTS: dict[str, dict[str, str]] = {
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "C": {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
    "cp1252": {"PYTHONIOENCODING": "cp1252"},
}
CALLS = [
    ["transcript", "out"],
    ["transcript", "out", "1"],
    ["score", "out"],
    ["eval", "out", "-o", "evaluated"],
    ["compare", "out", "out"],
    ["report", "out", "--format", "markdown"],
]


@pytest.mark.parametrize("call", CALLS, ids=" ".join)
def test_no_command_sends_active_characters(call: list[str], run: Path) -> None:
    result = script(*call, cwd=run.parent.absolute(), FORCE_COLOR="1", COLUMNS="300")
    shown = COLOURS.sub("", result.stdout.decode() + result.stderr.decode())
    assert "Traceback" not in shown
    assert shown.strip()
    assert active(shown) == set()


def test_the_rules_of_an_episode_are_inert(run: Path) -> None:
    text = good("transcript", str(run), "1")
    assert active(text) == set()
    assert r"\x1b[2J\u202eesrever" in text.splitlines()[0]


@pytest.mark.parametrize("call", [*CALLS, ["list"], ["show", "taboo"]], ids=" ".join)
@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_every_encoding_can_be_printed_in(call: list[str], environment: str, run: Path) -> None:
    folder = run.parent.absolute()
    result = script(*call, cwd=folder, COLUMNS="80", **ENVIRONMENTS[environment])
    assert b"Error" not in result.stderr, result.stderr
    assert b"Traceback" not in result.stderr
    assert result.stdout
    if environment != "cp1252" and call[0] != "report":  # a document is UTF-8
        assert result.stdout.isascii()


def test_what_is_printed_is_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    echo(f"a name{ATTACK}")
    echo(f"a message{ATTACK}", err=True)
    out, err = capsys.readouterr()
    assert active(out + err) == set()
    assert r"\x1b[2J\u202eesrever\x9b31m\x07" in out


def test_a_console_escapes_whatever_it_is_given() -> None:
    output = io.StringIO()
    console = SafeConsole(file=output, force_terminal=True, width=200)
    console.print(Text(f"a text{ATTACK}", style="red"), f"a string{ATTACK}")
    assert active(COLOURS.sub("", output.getvalue())) == set()
    assert output.getvalue().count(r"\u202e") == 2
    assert COLOURS.search(output.getvalue())


def test_documents_are_unchanged_in_files_and_inert_on_terminals(
    monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    content = f'{{"name": "{ATTACK}"}}\n'.encode()
    echo_document(content)
    sys.stdout.flush()
    assert capfdbinary.readouterr().out == content
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w", encoding="utf-8") as terminal:
        monkeypatch.setattr(sys, "stdout", terminal)
        echo_document(content)
        terminal.flush()
        shown = os.read(ours, 1000).decode()
    os.close(ours)
    assert active(shown.replace("\r\n", "\n")) == set()
    assert r"\u202e" in shown


def test_text_meets_the_terminal_in_two_places_only() -> None:
    """Commands print by `echo` and `open_console`; whatever goes around them would be raw."""
    around = []
    for file in [*SOURCES, *sorted((REPOSITORY / "playpen-trainers").rglob("*.py"))]:
        if file in (CLI / "messages.py",) or file.name == "console.py":
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                if called in ("click.echo", "click.secho", "print", "Console"):
                    around.append(f"{file.name}: {called}")
    # The player of a person is below the terminal's floor, and escapes what it shows.
    assert around == ["human.py: Console"]
