"""Calling the command line from tests, and programs that play in what it is called with."""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from unittest import mock

import msgspec

from playpen.cli import main
from playpen.conversation import Conversation

REPOSITORY = Path(__file__).parents[2]
SCRIPT = Path(sysconfig.get_path("scripts")) / "playpen"
HERE = "program:tests.core.command_line"
"""Spec of the programs below, without their name."""

HOSTILE = (
    "[red]markup[/red] [/] [link=http://x]y[/link] \x1b[31mred\x1b[0m \x1b]0;title\x07 \x1b[2J"
    " \u202eesrever\u2066 \x9b31m \x00 \x08\x08 \rover \x7f \u2028 \ttab"
)
"""Text that would do something to a terminal, to rich, or to the direction of writing."""


class Result(msgspec.Struct):
    """What a call left behind: exit code, standard output, standard error."""

    code: int
    out: str
    err: str


def playpen(*args: str | Path) -> Result:
    """Call ``playpen`` with arguments in this process, as its script does."""
    out, err = io.StringIO(), io.StringIO()
    code: object = None
    with (
        mock.patch.object(sys, "argv", ["playpen", *map(str, args)]),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as exit_:
            code = exit_.code
    assert isinstance(code, int), f"main() must exit with a number, not {code!r}"
    return Result(code, out.getvalue(), err.getvalue())


def good(*args: str | Path) -> str:
    """What a call that must succeed prints."""
    result = playpen(*args)
    assert result.code == 0, result
    return result.out


def refused(*args: str | Path) -> str:
    """The message of a call that must be refused: one line, exit code 2, nothing else printed."""
    result = playpen(*args)
    assert (result.code, result.out) == (2, ""), result
    assert result.err.startswith("Error: "), result
    assert result.err.count("\n") == 1 and result.err.endswith("\n"), result
    assert "Traceback" not in result.err
    return result.err.removeprefix("Error: ").rstrip("\n")


def script(
    *args: str | Path, cwd: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[bytes]:
    """Call the installed script in a process of its own."""
    return subprocess.run(
        [SCRIPT, *map(str, args)],
        cwd=cwd,
        env={**_environment(), **environment},
        capture_output=True,
        timeout=60,
        check=False,
    )


@contextmanager
def started(*args: str | Path, cwd: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start the installed script; interrupts reach it even if this process ignores them."""
    process = subprocess.Popen(
        [SCRIPT, *map(str, args)],
        cwd=cwd,
        env=_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _environment() -> dict[str, str]:
    """This process's environment, with the programs below on the import path."""
    inherited = os.environ.get("PYTHONPATH")
    path = os.pathsep.join([*([inherited] if inherited else []), str(REPOSITORY)])
    return {**os.environ, "PYTHONPATH": path}


# --- programs ------------------------------------------------------------------------------------


def _tag(conversation: Conversation) -> str:
    return "CLUE:" if conversation.role == "describer" else "GUESS:"


def wrong(conversation: Conversation) -> str:
    """Keep to the form of taboo and never win."""
    return f"{_tag(conversation)} wrong"


def slow(conversation: Conversation) -> str:
    """As `wrong`, but slowly enough to be interrupted."""
    time.sleep(0.01)
    return wrong(conversation)


_replies = itertools.count()


def stuck(conversation: Conversation) -> str:
    """As `wrong` for some episodes; then block for ever, whatever is raised meanwhile."""
    if next(_replies) < 20:
        return wrong(conversation)
    Path("stuck").touch()
    while True:
        with contextlib.suppress(BaseException):
            time.sleep(60)


def untagged(conversation: Conversation) -> str:
    """Break the form of taboo."""
    return "sorry"


def hostile(conversation: Conversation) -> str:
    """Keep to the form and attack whoever looks at it."""
    return f"{_tag(conversation)} {HOSTILE}"


def hostile_failure(conversation: Conversation) -> str:
    """Fail with a message that attacks whoever looks at it."""
    raise RuntimeError(f"{HOSTILE}\nsecond line")


def surrogate(conversation: Conversation) -> str:
    """Say half a character, as a JSON answer of a server can."""
    return f"{_tag(conversation)} \ud83d"


def number(conversation: Conversation) -> int:
    """Return something else than a text."""
    return 5
