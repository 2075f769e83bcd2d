"""What the players of taboo have to write."""

from __future__ import annotations

from collections.abc import Callable

from playpen import Violation


def tagged(tag: str) -> Callable[[str], str]:
    """Parser: the reply must begin with the tag; it is passed on whole, tag included."""

    def parse(reply: str) -> str:
        if not reply.startswith(tag):
            raise Violation("missing_tag", f"the reply does not begin with {tag!r}")
        return reply

    return parse
