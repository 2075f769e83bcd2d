"""The level `mini`: lists of animals, and questions of one word.

The animals and what is true of them are those of taboo's level of the same name.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any

from playpen.conversation import derive_seed
from playpen.instance import split_of
from playpen_clembench.guesswhat.fingerprint import mini_fingerprint
from playpen_clembench.guesswhat.replies import own_form
from playpen_clembench.mini import MINI
from playpen_clembench.taboo.cards import mini_world

MAX_TURNS = 8
LIST_LENGTH = 8
GUESSER_PROMPT = "guess one of $LIST$"
ANSWERER_PROMPT = "word: $TARGET WORD$"


def experiment(split: str, seed: int, number: int) -> dict[str, Any]:
    """The level with its instances."""
    puzzles = _puzzles(split, random.Random(derive_seed("guesswhat", seed, MINI, split)))
    return {
        "name": MINI,
        "max_turns": MAX_TURNS,
        "guesser_initial_prompt": GUESSER_PROMPT,
        "answerer_initial_prompt": ANSWERER_PROMPT,
        **own_form("en"),
        "game_instances": [
            {"game_id": game_id, "target_word": target, "candidate_list": words}
            for game_id, (target, words) in zip(range(number), puzzles, strict=False)
        ],
    }


def _puzzles(split: str, rng: random.Random) -> Iterator[tuple[str, list[str]]]:
    """Endless different puzzles (there are tens of millions)."""
    animals = list(mini_world().words)
    seen: set[str] = set()
    while True:
        candidates = rng.sample(animals, LIST_LENGTH)
        target = rng.choice(candidates)
        mark = mini_fingerprint(target, candidates)
        if mark not in seen and split_of(mark) == split:
            seen.add(mark)
            yield target, candidates


def dividing_clue(words: Sequence[str]) -> str | None:
    """A clue that is true of some of the words; `None` if no clue tells them apart.

    It is the most general one that is true of a third of them at least and two thirds at most, or
    else the one that comes nearest to half.  So the first questions are nearly always the same,
    which is easier to imitate than always asking what divides best.
    """
    excess = {clue: abs(2 * _count(clue, words) - len(words)) for clue in general_clues()}
    best = min(excess, key=excess.__getitem__)
    chosen = next((clue for clue in excess if 3 * excess[clue] <= len(words)), best)
    return chosen if excess[chosen] < len(words) else None


@cache
def general_clues() -> tuple[str, ...]:
    """All clues; those that are true of about half of the animals come first."""
    world = mini_world()
    half = len(world.words) / 2
    return tuple(sorted(world.clues, key=lambda clue: abs(_count(clue, world.words) - half)))


def _count(clue: str, words: Iterable[str]) -> int:
    return sum(holds(clue, word) for word in words)


def knows(clue: str, word: str) -> bool:
    """Whether the world of the level has the clue and the word."""
    return clue in mini_world().clues and word in mini_world().words


def holds(clue: str, word: str) -> bool:
    """Whether a clue is true of a word; not of words that the world does not have."""
    return clue in mini_world().words.get(word, ())
