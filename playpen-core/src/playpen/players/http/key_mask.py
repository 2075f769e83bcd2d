"""A server's key is taken out of what the server says, in whatever form it comes back."""

from __future__ import annotations

import base64
import html
import re
import string
from collections.abc import Iterator

MASK = "[key]"
_SHORTEST = 8
"""Characters of a piece of the key (or of its base64) that is worth hiding."""
_TELLING = 12
"""Characters from which on a piece without a digit is no ordinary word either."""
_LAYERS = 3
"""Encodings of encodings that are looked through."""
_ESCAPE = re.compile(
    r"%([0-9a-fA-F]{2})"
    r"|&#[xX]([0-9a-fA-F]{1,6});?"
    r"|&#([0-9]{1,7});?"
    r"|&([a-zA-Z]{2,10});"
    # One backslash: others before it are gaps.
    r"|\\u([0-9a-fA-F]{4})"
    r"|\\u\{([0-9a-fA-F]{1,6})\}"
    r"|\\x([0-9a-fA-F]{2})"
    r"|\\([nrt])"
)
_GAPS = frozenset(
    string.whitespace + "\\\"'\u00a0\u0085\u2028\u2029\u00ad\u200b\u200c\u200d\u2060\ufeff"
)
"""What stands between the halves of a key that is broken over lines, and is in no key."""
_FOLD = str.maketrans(string.ascii_uppercase + "-_", string.ascii_lowercase + "+/")
"""Case does not count, and base64 for URLs is read as the ordinary one."""


class KeyMask:
    """Finds a key in texts: whole, in pieces, re-cased, over several lines, or encoded."""

    def __init__(self, key: str | None) -> None:
        """Prepare.

        Args:
            key: printable ASCII without white space; `None` masks nothing.
        """
        self._key = key
        self._pieces: frozenset[str] = frozenset()
        if key is not None:
            self._pieces = frozenset(
                form[start : start + _SHORTEST]
                for form in _forms(key)
                for start in range(len(form) - _SHORTEST + 1)
            )

    def mask(self, text: str) -> str:
        """The text with ``[key]`` in place of the key and of its pieces.

        Pieces are hidden from 8 characters on with a digit among them, or 12 without.  So a short
        key that is a word (servers of one's own often have one) is not taken out of replies.
        """
        if not self._pieces:
            return text
        parts: list[str] = []
        position = 0
        for start, end in self._found(text):
            parts += [text[position:start], MASK]
            position = end
        return "".join([*parts, text[position:]])

    def mask_all(self, text: str) -> str:
        """The same, where a short key is hidden too: for messages, whose words do not matter."""
        return self.mask(text if self._key is None else text.replace(self._key, MASK))

    def _found(self, text: str) -> list[tuple[int, int]]:
        """Where the key or a piece of it stands, in order, without overlaps."""
        found: list[tuple[int, int]] = []
        for plain, starts, ends in _readings(text):
            for first, last in self._runs(plain):
                found.append((starts[first], ends[last]))
        found.sort()
        merged: list[tuple[int, int]] = []
        for start, end in found:
            if merged and start <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((start, end))
        return merged

    def _runs(self, plain: str) -> Iterator[tuple[int, int]]:
        """First and last character of each stretch that is made of pieces."""
        first = last = -1
        for start in range(len(plain) - _SHORTEST + 1):
            if plain[start : start + _SHORTEST] not in self._pieces:
                continue
            if first >= 0 and start > last:
                if _is_telling(plain[first : last + 1]):
                    yield first, last
                first = start
            elif first < 0:
                first = start
            last = start + _SHORTEST - 1
        if first >= 0 and _is_telling(plain[first : last + 1]):
            yield first, last


def _is_telling(piece: str) -> bool:
    return len(piece) >= _TELLING or any(character.isdigit() for character in piece)


def _forms(key: str) -> Iterator[str]:
    """What a key looks like once escapes are read, in lower case."""
    for cased in {key, key.lower(), key.upper()}:
        data = cased.encode()
        yield cased.translate(_FOLD)
        yield data.hex()
        for before in range(3):  # bytes before it, which shift all of its base64
            encoded = base64.b64encode(b"\0" * before + data).decode()
            # The characters that also hold bits of a neighbour are left out.
            inner = encoded[(before * 8 + 5) // 6 : (before + len(data)) * 8 // 6]
            yield inner.translate(_FOLD)


def _readings(text: str) -> Iterator[tuple[str, list[int], list[int]]]:
    """A text without gaps, as it is and with its escapes read, layer by layer.

    Yields:
        The characters, and for each where it starts and ends in the text.
    """
    plain, starts, ends = text, list(range(len(text))), list(range(1, len(text) + 1))
    for layer in range(_LAYERS + 1):
        kept = [at for at, character in enumerate(plain) if character not in _GAPS]
        yield (
            "".join([plain[at] for at in kept]).translate(_FOLD),
            [starts[at] for at in kept],
            [ends[at] for at in kept],
        )
        if layer == _LAYERS:
            return
        read = [(match, _character(match)) for match in _ESCAPE.finditer(plain)]
        if not any(character is not None for _, character in read):
            return
        characters: list[str] = []
        new_starts: list[int] = []
        new_ends: list[int] = []
        position = 0
        for match, character in read:
            if character is None:
                continue
            until = match.start()
            characters += [plain[position:until], character]
            new_starts += [*starts[position:until], starts[until]]
            new_ends += [*ends[position:until], ends[match.end() - 1]]
            position = match.end()
        characters.append(plain[position:])
        new_starts += starts[position:]
        new_ends += ends[position:]
        plain, starts, ends = "".join(characters), new_starts, new_ends


def _character(match: re.Match[str]) -> str | None:
    """The one character that an escape stands for; `None` if it stands for none."""
    percent, hexadecimal, decimal, name, unicode, braced, byte, space = match.groups()
    if space is not None:
        return " "
    if name is not None:
        character = html.unescape(match[0])
        return character if len(character) == 1 else None
    code = percent or hexadecimal or unicode or braced or byte
    number = int(decimal) if code is None else int(code, 16)
    return chr(number) if number < 0x110000 else None
