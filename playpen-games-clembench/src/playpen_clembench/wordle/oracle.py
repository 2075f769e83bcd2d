"""Programs that play the wordle family: a guesser that keeps to all feedback, and a critic.

Both read their own role's conversation and nothing else.  They know the pack's word bank but not
the secret: they look a clue up among those of the bank.  They go by the English tags at the
beginning of lines, so any prompts will do.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from typing import Literal, NamedTuple, TypeAlias

from playpen.conversation import Conversation
from playpen_clembench.wordle import feedback, material

LANGUAGE = "en"

OPENERS = ("crate", "raise", "alert", "crane", "trade", "trail")
"""First guesses: of the bank's words, those that leave few targets (17 to 21 of 700 on average)."""

_COMPARED = 40
"""How many of the words that fit are compared as the next guess."""

_VARIANTS = 16
"""In how many ways the same situation is answered."""

_REMEMBERED = 20_000
"""How many histories keep their lists of words; enough for every episode on the bank."""

History: TypeAlias = tuple[str, ...]
"""The feedback on the committed guesses, in order, each as the guesser reads it."""


class _Situation(NamedTuple):
    """What the guesser knows.

    Attributes:
        history: the feedback so far.
        refused: words that the game does not accept.
        clue: the clue, "" if there is none.
        proposed: the tentative guess that the critic has commented on in this round.
        agreed: whether the critic agreed with it.
        refused_now: the word that was refused just now.
    """

    history: History
    refused: frozenset[str]
    clue: str
    proposed: str | None
    agreed: bool
    refused_now: str | None


# --- the two players -----------------------------------------------------------------------------


def guesser(conversation: Conversation) -> str:
    """Guess a word that fits everything known; the clue's word first, then what splits best."""
    return _answer(_situation(conversation), conversation.seed % _VARIANTS)


@lru_cache(maxsize=_REMEMBERED)
def _answer(known: _Situation, variant: int) -> str:
    """What the guesser says; each variant has its own random choices."""
    rng = random.Random(variant)
    solution = _solutions().get(known.clue)
    avoid = {*known.refused, *(_guess_of(line) for line in known.history)}
    if known.proposed is not None:
        avoid.add(known.proposed)
        rivals = [word for word in _ranking(known.history) if word not in avoid]
        sure = known.agreed or known.proposed == solution or not rivals
        if sure and _fits(known.proposed, known.history):
            return _reply(_kept(rng, known.proposed, known.agreed), "guess:", known.proposed)
    if solution is not None and solution not in avoid and _fits(solution, known.history):
        return _reply(_from_clue(rng, solution, known), "guess:", solution)
    word = next(word for word in _by_preference(known.history, rng) if word not in avoid)
    return _reply(_from_feedback(rng, word, known), "guess:", word)


def critic(conversation: Conversation) -> str:
    """Agree if the word is the bank's answer to the clue, or if the bank does not know the clue."""
    rng = random.Random(conversation.seed)
    clue, guess = _field("clue:", conversation.last), _field("guess:", conversation.last)
    solution = _solutions().get(clue)
    if solution is None:
        reasons: tuple[str, ...] = (
            f"I see nothing in the clue that rules out {guess}.",
            f"The clue is open to interpretation, and {guess} is possible.",
        )
    elif guess == solution:
        reasons = (
            f'"{clue}" is a good description of {guess}.',
            f'The word {guess} is just what "{clue}" makes me think of.',
            f'{guess} and "{clue}" go together well.',
        )
    else:
        reasons = (
            f'I am afraid I do not see how "{clue}" describes {guess}.',
            f'The clue "{clue}" seems to ask for something other than {guess}.',
            f'{guess} does not quite match "{clue}", as far as I can see.',
        )
    verdict = "yes" if solution in (None, guess) else "no"
    return _reply(rng.choice(reasons), "agreement:", verdict)


def _reply(reason: str, tag: str, content: str) -> str:
    return f"explanation: {reason}\n{tag} {content}"


# --- what a conversation tells -------------------------------------------------------------------


def _situation(conversation: Conversation) -> _Situation:
    opening, *messages = (m.content for m in conversation.messages if m.role == "user")
    answers = (m.content for m in conversation.messages if m.role == "assistant")
    history: list[str] = []
    refused: set[str] = set()
    proposed: str | None = None
    refused_now: str | None = None
    agreed = False
    for answer, message in zip(answers, messages, strict=False):
        guess = answer.lower().rpartition("guess:")[2].partition("\n")[0].strip()
        refused_now = None
        if message.startswith("guess_feedback:"):
            history.append(message.partition("\n")[0])
            proposed = None
        elif message.startswith("clue:"):
            proposed = guess
            agreed = _field("guess_agreement:", message) == "yes"
        else:
            refused_now = guess
            refused.add(guess)
    return _Situation(
        tuple(history), frozenset(refused), _field("clue:", opening), proposed, agreed, refused_now
    )


def _field(tag: str, text: str) -> str:
    """The rest of the last line that begins with a tag, "" if there is none."""
    start = f"\n{text}".rfind(f"\n{tag}")
    return text[start + len(tag) :].partition("\n")[0].strip() if start >= 0 else ""


# --- which words fit -----------------------------------------------------------------------------


@cache
def _solutions() -> dict[str, str]:
    """The bank's clues, each with its word."""
    bank = material.clues(LANGUAGE)
    return {clue: word for group in bank.values() for word, clue in group.items()}


def _by_preference(history: History, rng: random.Random) -> Iterator[str]:
    """Words to guess: those that fit, likely targets first, and at last all others."""
    if not history:
        yield from rng.sample(OPENERS, len(OPENERS))
    yield from _ranking(history)
    yield from _fitting(history, "words")
    yield from material.words(LANGUAGE)


@lru_cache(maxsize=_REMEMBERED)
def _ranking(history: History) -> Sequence[str]:
    """The words that fit, those first that will leave the fewest of them on average."""
    fitting = _fitting(history, "targets") or _fitting(history, "words")
    if len(fitting) < 3:
        return fitting

    def left_over(guess: str) -> int:
        groups = Counter(feedback.colours(guess, word) for word in fitting)
        return sum(size * size for size in groups.values())

    return (*sorted(fitting[:_COMPARED], key=left_over), *fitting[_COMPARED:])


@lru_cache(maxsize=_REMEMBERED)
def _fitting(history: History, pool: Literal["targets", "words"]) -> Sequence[str]:
    """The words of the bank, or of all accepted words, that agree with all feedback."""
    if not history:
        return material.words(LANGUAGE) if pool == "words" else tuple(_solutions().values())
    latest = history[-1:]
    return tuple(word for word in _fitting(history[:-1], pool) if _fits(word, latest))


def _fits(word: str, history: History) -> bool:
    for line in history:
        guess, marks = _marks(line)
        if feedback.colours(guess, word) != marks:
            return False
    return True


@lru_cache(maxsize=_REMEMBERED)
def _marks(line: str) -> tuple[str, tuple[feedback.Colour, ...]]:
    marked = feedback.read(line)
    return "".join(letter for letter, _ in marked), tuple(colour for _, colour in marked)


def _guess_of(line: str) -> str:
    return _marks(line)[0]


# --- how a guess is explained --------------------------------------------------------------------


def _kept(rng: random.Random, word: str, agreed: bool) -> str:
    if agreed:
        return rng.choice(
            (
                f"The critic agrees, and nothing speaks against {word}, so I keep it.",
                f"The critic's opinion confirms mine, so I stay with {word}.",
                f"The critic and I both think that {word} is a good answer.",
            )
        )
    return rng.choice(
        (
            f"I have thought about the objection, but {word} still seems the best answer to me.",
            f"I see the critic's point, but I know of no better word than {word}.",
        )
    )


def _from_clue(rng: random.Random, word: str, known: _Situation) -> str:
    reason = rng.choice(
        (
            f'The clue "{known.clue}" makes me think of {word}, which has five letters.',
            f'A five-letter word for "{known.clue}" is {word}.',
            f'"{known.clue}" describes {word} well.',
        )
    )
    return f"{reason} It also fits the colors so far." if known.history else reason


def _from_feedback(rng: random.Random, word: str, known: _Situation) -> str:
    if known.refused_now is not None:
        start = f"{known.refused_now.capitalize()} is not accepted. "
    elif known.proposed is not None and not known.agreed:
        start = f"The critic doubts {known.proposed}, so I look for another word. "
    else:
        start = ""
    if not known.history:
        return start + rng.choice(
            (
                f"I know no letter yet, and {word} tests several frequent ones.",
                f"The frequent letters of {word} will tell me much about the secret word.",
                f"A word like {word}, with vowels and common consonants, is a good try.",
            )
        )
    facts = "; ".join(_facts(rng, known.history))
    if not _fits(word, known.history):
        return f"{start}I know this: {facts}. No word that I know fits, so I try {word}."
    return start + rng.choice(
        (
            f"I know this: {facts}. The word {word} fits all of it.",
            f"From the colors I learn that {facts}. This leads me to {word}.",
            f"So far {facts}. I can make {word} of that.",
        )
    )


def _facts(rng: random.Random, history: History) -> Iterator[str]:
    """What the colours say, in clauses without a full stop."""
    placed: dict[int, str] = {}
    letters: dict[feedback.Colour, list[str]] = {"green": [], "yellow": [], "red": []}
    for line in history:
        for place, (letter, colour) in enumerate(zip(*_marks(line), strict=True)):
            if letter not in letters[colour]:
                letters[colour].append(letter)
            if colour == "green":
                placed[place] = letter
    length = len(_guess_of(history[-1]))
    moved = [x for x in letters["yellow"] if x not in letters["green"]]
    absent = [x for x in letters["red"] if x not in letters["green"] + letters["yellow"]]
    if placed:
        pattern = "".join(placed.get(place, "_") for place in range(length))
        yield rng.choice((f"the green letters give {pattern}", f"the pattern is {pattern}"))
    if moved:
        verb = "belongs" if len(moved) == 1 else "belong"
        yield rng.choice(
            (f"{_listed(moved, 'and')} {verb} elsewhere", f"I must move {_listed(moved, 'and')}")
        )
    if absent:
        yield rng.choice(
            (f"there is no {_listed(absent, 'or')}", f"I can rule out {_listed(absent, 'and')}")
        )


def _listed(letters: Sequence[str], conjunction: str) -> str:
    *others, last = letters
    return f"{', '.join(others)} {conjunction} {last}" if others else last
