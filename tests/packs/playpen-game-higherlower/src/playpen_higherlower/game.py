"""The rules of higherlower."""

from __future__ import annotations

import re
from typing import Any

from playpen import Game, Instance, Lose, Play, Program, Role, Success, Violation, ask
from playpen_higherlower import generate, oracle


class HigherLower(Game):
    """Find a secret number; the game master answers higher or lower."""

    name = "higherlower"
    roles = (Role("guesser", "looks for the secret number"),)

    def play(self, instance: Instance) -> Play:
        """The rules: yield moves, return the outcome."""
        secret, limit, tries = instance["secret"], instance["limit"], instance["tries"]
        message = self.prompt("guesser", instance, LIMIT=limit, TRIES=tries)
        for attempt in range(1, tries + 1):
            guess = yield from ask("guesser", message, parse=one_number, retries=1)
            if guess == secret:
                return Success(100 / attempt)
            word = "higher" if secret > guess else "lower"
            message = f"My number is {word} than {guess}."
        return Lose(fault="guesser")

    def levels(self) -> tuple[str, ...]:
        """The names of the difficulty levels."""
        return tuple(generate.LEVELS)

    def generate(
        self, split: str, *, seed: int = 0, level: str | None = None, n: int | None = None
    ) -> dict[str, Any]:
        """Instances of one level, or of all."""
        levels = self.levels() if level is None else (level,)
        return {"experiments": [generate.experiment(x, split, seed, n) for x in levels]}

    def fingerprint(self, instance: Instance) -> str:
        """What makes two instances the same puzzle."""
        return generate.fingerprint(instance["limit"], instance["secret"])

    def oracle(self, role: str) -> Program:
        """The program that plays a role perfectly; there is only the guesser."""
        return oracle.guesser


def one_number(reply: str) -> int:
    """Read a reply that holds exactly one whole number, of at most six digits."""
    match = re.fullmatch(r"\D*(\d{1,6})\D*", reply)
    if match is None:
        raise Violation(
            "not_one_number",
            "the reply does not hold exactly one number",
            retry="I need exactly one whole number. Please reply with your guess and nothing else.",
        )
    return int(match[1])
