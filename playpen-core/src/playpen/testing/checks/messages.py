"""What the game master says: complete, not empty, and nobody else's secret."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

import pytest

from playpen.episode import Episode, Said
from playpen.moves import Ask, Exchange, Tell
from playpen.testing.checks.secrecy import find_leak
from playpen.testing.findings import fault, place, quoted
from playpen.testing.game_under_test import GameUnderTest

_PLACEHOLDER = re.compile(r"\$[A-Z][A-Z0-9_]*\$")


class MessageChecks:
    """Messages to the roles."""

    def test_messages_have_no_unfilled_placeholders(self, subject: GameUnderTest) -> None:
        """No message holds a ``$NAME$``, unless somebody said it."""
        for played in [*subject.oracle_plays, *subject.strange_plays]:
            for role, text, said in _messages(played.episode):
                for match in _PLACEHOLDER.finditer(text):
                    if match[0] not in said:
                        around = text[max(0, match.start() - 40) : match.end() + 40]
                        fault(
                            f"{place(subject.game, played.instance)}, message to {role!r}",
                            f"the placeholder {match[0]} is not filled: {quoted(around, 120)}",
                            f"give self.prompt(...) a value {match[0].strip('$')}=...; it is "
                            "misspelt, or the instance brings a prompt that the rules do not know.",
                        )

    def test_no_message_is_empty(self, subject: GameUnderTest) -> None:
        """While the oracles play, every message says something."""
        for played in subject.oracle_plays:
            for role, text, _ in _messages(played.episode):
                if not text.strip():
                    fault(
                        f"{place(subject.game, played.instance)}, message to {role!r}",
                        f"the message is {text!r} {played.after()}",
                        "say something, or do not ask.",
                    )

    def test_secrets_stay_with_their_role(self, subject: GameUnderTest) -> None:
        """A field of the instance is shown to one role only, or declared in `shared_fields`."""
        if len(subject.game.roles) < 2:
            pytest.skip("a game for one role has nothing to hide from another")
        for instances in subject.levels.values():
            for original, donor in itertools.pairwise(instances):
                leak = find_leak(subject, original, donor)
                if leak is None:
                    continue
                shown = "\n".join(f"    to {role}: {text}" for role, text in leak.shown.items())
                cls = type(subject.game).__name__
                fault(
                    place(subject.game, donor),
                    f"{quoted(leak.token)}, from the field {leak.field!r}, is shown to "
                    f"{' and '.join(leak.shown)}, and nobody had said it:\n{shown}",
                    f"keep it out of the messages to one of them; if all of them may see the "
                    f'field, declare it on {cls}: shared_fields = frozenset({{"{leak.field}"}}).',
                )


def _messages(episode: Episode) -> Iterator[tuple[str, str, str]]:
    """Role, text, and all that was said before, for each text that the game master shows."""
    said = ""
    for event in episode.events:
        match event:
            case Said(_, reply):
                said = f"{said}\n{reply.text}"
            case Ask(role, text) | Tell(role, text):
                yield role, text, said
            case Exchange(role, text, reply):
                yield role, text, said
                yield role, reply, said
