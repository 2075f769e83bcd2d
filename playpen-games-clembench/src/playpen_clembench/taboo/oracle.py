"""Programs that play taboo well, each from its own conversation alone.

The describer gives the card's own clue if it knows the card, and otherwise spells the word
backwards.  The guesser knows the same cards.
"""

from __future__ import annotations

import random
import re
from functools import cache

from playpen.conversation import Conversation
from playpen_clembench.taboo.cards import cards, mini_world
from playpen_clembench.taboo.words import forbidden_use, without_tag

_LISTED = re.compile(r"^- (.+)$", re.MULTILINE)
_MINI_PROMPT = re.compile(r"describe (\S+) avoid\n")
_ONE_WORD = re.compile(r"[\w'-]+")
_SPELLED = re.compile(r"(?:^|backwards as )((?:\S )*\S)$")


def describe(conversation: Conversation) -> str:
    """The describer's next clue."""
    prompt = conversation.messages[0].content
    said = [m.content.removeprefix("CLUE: ") for m in conversation.messages[1::2]]
    related = _LISTED.findall(prompt)
    mini = _MINI_PROMPT.match(prompt)
    if mini and mini[1] in mini_world().words:
        return _mini_clue(conversation, mini[1], related, said)
    target = _secret_word(prompt)
    letters = " ".join(reversed(target.upper()))
    clues = [f"it is spelled backwards as {letters}", letters]
    if target in _hints() and not said:
        clues.insert(0, _hints()[target])
    legal = (c for c in clues if not forbidden_use(without_tag(c, "CLUE:"), target, related))
    return "CLUE: " + next(legal, letters)


def guess(conversation: Conversation) -> str:
    """The guesser's next guess."""
    clues = [m.content.rpartition("CLUE:")[2].strip() for m in conversation.messages[::2]]
    guessed = [m.content.removeprefix("GUESS: ") for m in conversation.messages[1::2]]
    if all(clue in mini_world().clues for clue in clues):
        return _mini_guess(conversation, clues, guessed)
    known = _words_by_hint().get(clues[-1])
    if known:
        return f"GUESS: {known}"
    spelled = _SPELLED.search(clues[-1])
    if spelled:
        return "GUESS: " + spelled[1].replace(" ", "")[::-1].lower()
    rng = random.Random(conversation.seed)
    return "GUESS: " + rng.choice(sorted(_hints().keys() - set(guessed)))


def _secret_word(prompt: str) -> str:
    """The last line before the list of forbidden words that is a single word."""
    before = prompt.partition("\n- ")[0]
    words = [line.strip() for line in before.splitlines() if _ONE_WORD.fullmatch(line.strip())]
    return words[-1] if words else ""


@cache
def _hints() -> dict[str, str]:
    return {card.target: card.hint for band in cards().values() for card in band}


@cache
def _words_by_hint() -> dict[str, str]:
    return {hint: word for word, hint in _hints().items()}


@cache
def _fitting(clues: frozenset[str]) -> tuple[str, ...]:
    return tuple(word for word, fit in mini_world().words.items() if clues <= set(fit))


def _mini_clue(conversation: Conversation, target: str, related: list[str], said: list[str]) -> str:
    """A clue that leaves the fewest words to choose from."""
    guessed = {m.content.removeprefix("GUESS: ") for m in conversation.messages[2::2]}
    allowed = [c for c in mini_world().words[target] if c not in related and c not in said]

    def left(clue: str) -> int:
        return sum(word not in guessed for word in _fitting(frozenset([*said, clue])))

    fewest = min(map(left, allowed))
    best = [clue for clue in allowed if left(clue) == fewest]
    return "CLUE: " + random.Random(conversation.seed).choice(best)


def _mini_guess(conversation: Conversation, clues: list[str], guessed: list[str]) -> str:
    """Any word that fits all clues and was not guessed yet."""
    fitting = [word for word in _fitting(frozenset(clues)) if word not in guessed]
    return "GUESS: " + random.Random(conversation.seed).choice(fitting or list(mini_world().words))
