"""What the answerer has to write (docs/rules/privateshared.md, "Reply format").

Tags are case-sensitive and stand at the very beginning.  A reply is one line: line feeds may
surround it, but none may be inside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from playpen import Violation
from playpen_clembench.privateshared.texts import Words


def answer_reader(words: Words) -> Callable[[str], str]:
    """Parser of an answer to the questioner: gives its text without the tag."""

    def read(reply: str) -> str:
        return _tagged_line(reply, words.answer.strip())

    return read


def aside_reader(words: Words, again: Iterator[str]) -> Callable[[str], bool]:
    """Parser of a reply to the game master: gives whether it says yes.

    The first letters decide, so that "Not yet" is a no.

    Args:
        words: the tags, and what yes and no are.
        again: the texts with which a reply that cannot be read is asked for once more.
    """

    def read(reply: str) -> bool:
        try:
            text = _tagged_line(reply, words.aside.strip()).lower()
            if not text.startswith((words.yes, words.no)):
                raise Violation("no_yes_or_no", f"neither {words.yes!r} nor {words.no!r}")
        except Violation as violation:
            violation.retry = next(again, None)
            raise
        return text.startswith(words.yes)

    return read


def _tagged_line(reply: str, tag: str) -> str:
    if not reply.startswith(tag):
        raise Violation("missing_tag", f"the reply does not begin with {tag!r}")
    if "\n" in reply.strip("\n"):
        raise Violation("more_lines", "the reply goes on after its line")
    return reply.replace(tag, "").strip()
