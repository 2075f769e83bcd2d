"""Text of models, servers and files, made safe to show in a terminal."""

from __future__ import annotations

import re

_ACTIVE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters but tab and line feed: escape sequences
    "\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"  # what turns the direction of writing
    "\ud800-\udfff]"  # lone surrogates, which no terminal can be sent
)
_ACTIVE_OR_BREAK = re.compile(f"{_ACTIVE.pattern}|[\t\n]")


def escape(text: str, *, one_line: bool = False) -> str:
    r"""The text with every character that would act on the terminal written as ``\x1b``.

    Args:
        text: what somebody else wrote.
        one_line: write line breaks and tabs in this way, too.
    """
    return (_ACTIVE_OR_BREAK if one_line else _ACTIVE).sub(_written_out, text)


def _written_out(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode()
