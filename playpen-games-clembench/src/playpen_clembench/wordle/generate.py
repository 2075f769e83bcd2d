"""Instances of the wordle family from the pack's own bank of target words and clues."""

from __future__ import annotations

import random
from typing import Any

from playpen.instance import InstanceError, split_of
from playpen_clembench.levels import chosen_levels
from playpen_clembench.wordle import material

LANGUAGE = "en"
ROUNDS = 6
RETRIES = 5
WORD_LENGTH = 5
READY_NUMBER = 30
"""Instances per level of validation and test; train gets all there are."""


def fingerprint(target: str) -> str:
    """What makes two instances the same puzzle, in whatever variant: the secret word."""
    return f"wordle:{target}"


def levels(*, has_clue: bool, has_critic: bool) -> dict[str, str]:
    """The levels of a variant: upstream's name of the experiment to the bank's difficulty."""
    suffix = f"{'clue' if has_clue else 'no_clue'}_{'with' if has_critic else 'no'}_critic"
    return {f"{name}_frequency_words_{suffix}": name for name in ("high", "medium")}


def generate(
    game: str,
    split: str,
    *,
    has_clue: bool,
    has_critic: bool,
    seed: int = 0,
    level: str | None = None,
    n: int | None = None,
) -> dict[str, Any]:
    """Make instances in the clembench form.

    The targets depend on split, seed and word frequency only: the variants get the same ones.

    Raises:
        InstanceError: unknown split or level, or `n` is not between 1 and what the bank has.
    """
    available = levels(has_clue=has_clue, has_critic=has_critic)
    names = chosen_levels(game, available, split, level)
    shared = {
        "common_config": {
            "n_turns": ROUNDS,
            "max_retry_per_error": {"NOT_VALID_WORD_FOR_GAME": RETRIES},
            "max_word_length": WORD_LENGTH,
        },
        "use_clue": has_clue,
        "use_critic": has_critic,
        # Here and not in the instances: thousands of words, hashed and made a set once.
        "lang_keywords": {"official_words_list": list(material.words(LANGUAGE))},
    }
    return {
        "experiments": [
            {"name": name, **shared, "game_instances": _instances(split, available[name], seed, n)}
            for name in names
        ]
    }


def _instances(split: str, difficulty: str, seed: int, n: int | None) -> list[dict[str, Any]]:
    bank = material.clues(LANGUAGE)[difficulty]
    targets = [word for word in bank if split_of(fingerprint(word)) == split]
    if n is None:
        n = len(targets) if split == "train" else min(READY_NUMBER, len(targets))
    if not 1 <= n <= len(targets):
        raise InstanceError(
            f"cannot make {n} instances with {difficulty}-frequency words: "
            f"the {split} split has {len(targets)} of them"
        )
    rng = random.Random(f"wordle {split} {difficulty} {seed}")
    return [
        {
            "game_id": number,
            "target_word": word,
            "target_word_clue": bank[word],
            "target_word_difficulty": f"{difficulty}_frequency",
        }
        for number, word in enumerate(rng.sample(targets, n), start=1)
    ]
