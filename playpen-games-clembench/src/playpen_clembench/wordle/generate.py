"""Instances of the wordle family from the pack's own bank of target words and clues."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from playpen.instance import InstanceError, split_of
from playpen_clembench.levels import chosen_levels
from playpen_clembench.wordle import material
from playpen_clembench.wordle.fingerprint import fingerprint

LANGUAGE = "en"
ROUNDS = 6
RETRIES = 5
WORD_LENGTH = 5
READY_NUMBER = 30
"""Instances per level of validation and test; train gets all there are."""


@dataclass(frozen=True)
class Variant:
    """The generator of one game of the family.

    Attributes:
        game: its name.
        has_clue: whether the guesser is given a clue.
        has_critic: whether there is a critic.
    """

    game: str
    has_clue: bool = False
    has_critic: bool = False

    def levels(self) -> tuple[str, ...]:
        """The two word frequencies, under upstream's names."""
        return tuple(self._difficulties())

    def generate(
        self, split: str, *, seed: int, level: str | None, n: int | None
    ) -> dict[str, Any]:
        """Make instances from the pack's word bank; see `playpen.Game.generate`.

        The targets depend on split, seed and word frequency only: the variants get the same ones.

        Raises:
            InstanceError: unknown split or level, or `n` is not between 1 and what the bank has.
        """
        difficulties = self._difficulties()
        names = chosen_levels(self.game, difficulties, split, level)
        shared = {
            "common_config": {
                "n_turns": ROUNDS,
                "max_retry_per_error": {"NOT_VALID_WORD_FOR_GAME": RETRIES},
                "max_word_length": WORD_LENGTH,
            },
            "use_clue": self.has_clue,
            "use_critic": self.has_critic,
            # Here and not in the instances: thousands of words, hashed and made a set once.
            "lang_keywords": {"official_words_list": list(material.words(LANGUAGE))},
        }
        return {
            "experiments": [
                {
                    "name": name,
                    **shared,
                    "game_instances": _instances(split, difficulties[name], seed, n),
                }
                for name in names
            ]
        }

    def _difficulties(self) -> dict[str, str]:
        """The levels: upstream's name of the experiment to the bank's difficulty."""
        clue = "clue" if self.has_clue else "no_clue"
        critic = "with_critic" if self.has_critic else "no_critic"
        return {f"{name}_frequency_words_{clue}_{critic}": name for name in ("high", "medium")}


PLAIN = Variant("wordle")
WITH_CLUE = Variant("wordle_withclue", has_clue=True)
WITH_CRITIC = Variant("wordle_withcritic", has_clue=True, has_critic=True)


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
