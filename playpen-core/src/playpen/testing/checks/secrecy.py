"""Whether something that is in one field of an instance is shown to two roles.

The kit cannot know what is secret, but it can see what is shown to whom.  It takes two instances
of a level, gives the first one a field of the second, and plays.  What is new in the field's texts
(a word, or the whole text) can have come from nowhere else.  If it turns up in the messages to two
roles before anybody said it, they share the field: a leak, unless the game declares it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence

import msgspec

from playpen.episode import Episode, Said
from playpen.instance import Instance
from playpen.moves import Ask, Exchange, Tell
from playpen.testing.checks.declaration import shared_fields
from playpen.testing.driver import PlayedEpisode, reciter
from playpen.testing.game_under_test import GameUnderTest

SHORTEST = 4
"""Shorter words and texts turn up by chance."""

_WORD = re.compile(r"\w+")


class Leak(msgspec.Struct, frozen=True):
    """A text of a field, and where in the first message to each role it is shown."""

    token: str
    field: str
    shown: dict[str, str]


def find_leak(subject: GameUnderTest, original: Instance, donor: Instance) -> Leak | None:
    """A leak that shows when fields of one instance are put into another one of its level."""
    normal = subject.play(original, subject.consult)
    known = _known(original, normal.episode)
    shared = shared_fields(subject.game)
    holders = _holders(donor, known)
    fields = [
        name
        for name in {field: None for fields in holders.values() for field in fields}
        if name not in shared and original.data.get(name) != donor.data[name]
    ]
    together = []
    for name in fields:
        tokens = {token: name for token, names in holders.items() if name in names}
        plays = _plays(subject, _exchanged(original, donor, [name]), normal)
        if plays is None:
            together.append(name)
        elif leak := _leak(plays, tokens):
            return leak
    if not together:
        return None
    # Fields that make sense together only; here a text counts if it stands in one field alone.
    tokens = {
        token: names[0]
        for token, names in holders.items()
        if len(names) == 1 and names[0] in together
    }
    plays = _plays(subject, _exchanged(original, donor, together), normal)
    if plays is None:
        plays = _plays(subject, donor, normal)
    return None if plays is None else _leak(plays, tokens)


def _exchanged(original: Instance, donor: Instance, fields: Collection[str]) -> Instance:
    """The original with some fields of the donor."""
    data = {**original.data, **{name: donor.data[name] for name in fields}}
    return Instance(original.game, original.experiment, data, original.split)


def _plays(
    subject: GameUnderTest, instance: Instance, normal: PlayedEpisode
) -> list[PlayedEpisode] | None:
    """The instance with the replies of a normal play, and with the oracles.

    `None` if it cannot be played, or not as far as to address everybody: the fields do not fit.
    """
    if subject.checker.errors("instance", instance.data):
        return None
    script = reciter(normal.episode.replies())
    plays = [
        subject.play(instance, lambda conversation, _: script(conversation)),
        subject.play(instance, subject.consult),
    ]
    if any(played.trouble() for played in plays):
        return None
    addressed = {role for played in plays for role, _ in _texts(played.episode)}
    return plays if addressed >= {role for role, _ in _texts(normal.episode)} else None


def _leak(plays: Sequence[PlayedEpisode], tokens: Mapping[str, str]) -> Leak | None:
    """The first token that was shown to two roles before anybody said it."""
    for played in plays:
        shown: dict[str, dict[str, str]] = {}
        said = ""
        for event in played.episode.events:
            if isinstance(event, Said):
                said += _normal(event.reply.text) + "\n"
            for role, text in _shown(event):
                message = _normal(text)
                for token in tokens:
                    if _holds(message, token) and not _holds(said, token):
                        shown.setdefault(token, {}).setdefault(role, _around(message, token))
        for token, texts in shown.items():
            if len(texts) > 1:
                return Leak(token, tokens[token], texts)
    return None


# --- texts ---------------------------------------------------------------------------------------


def _holders(donor: Instance, known: str) -> dict[str, list[str]]:
    """Each telling text that is new, and the fields that hold it; whole texts before words."""
    holders: dict[str, list[str]] = {}
    for name, value in donor.data.items():
        for token in _tokens(value):
            if not _holds(known, token):
                holders.setdefault(token, []).append(name)
    return dict(sorted(holders.items(), key=lambda item: -len(item[0])))


def _tokens(value: object) -> set[str]:
    """The texts in a JSON value, and the words in them, that are long enough to be telling."""
    match value:
        case str():
            text = _normal(value)
            tokens = {text, *_WORD.findall(text)}
            return {token for token in tokens if len(token.replace(" ", "")) >= SHORTEST}
        case list():
            return {token for item in value for token in _tokens(item)}
        case dict():
            return {token for item in value.values() for token in _tokens(item)}
    return set()


def _known(original: Instance, episode: Episode) -> str:
    """All that the original instance and a play of it say, the game's own words included."""
    texts = [text for _, text in _texts(episode)]
    said = [entry.reply.text for entry in episode.replies()]
    return "\n".join(map(_normal, [*_strings(dict(original.data)), *texts, *said]))


def _strings(value: object) -> Iterator[str]:
    match value:
        case str():
            yield value
        case list():
            for item in value:
                yield from _strings(item)
        case dict():
            for item in value.values():
                yield from _strings(item)


def _texts(episode: Episode) -> Iterator[tuple[str, str]]:
    """Role and text of everything that the game master shows."""
    for event in episode.events:
        yield from _shown(event)


def _shown(event: object) -> Iterator[tuple[str, str]]:
    match event:
        case Ask(role, text) | Tell(role, text):
            yield role, text
        case Exchange(role, text, reply):
            yield role, f"{text}\n{reply}"


def _around(message: str, token: str) -> str:
    """The part of a message that shows a token."""
    begin = message.index(token)
    return f"...{message[max(0, begin - 40) : begin + len(token[:120]) + 40]}..."


def _normal(text: str) -> str:
    return " ".join(text.casefold().split())


def _holds(text: str, token: str) -> bool:
    """Whether a text holds a token as a whole."""
    if token not in text:
        return False
    return re.search(rf"(?<!\w){re.escape(token)}(?!\w)", text) is not None
