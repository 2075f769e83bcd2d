"""Programs that play badly, and differently for every seed."""

from __future__ import annotations

import os
import random
import time

from playpen import Conversation

SLOW = "PLAYPEN_TEST_SLOW"
"""Set in the environment: `careless` takes some time, and its server is down now and then."""


def careless(conversation: Conversation) -> str:
    """Say something that fits the game, and break its form now and then."""
    chance = random.Random(conversation.seed)
    if SLOW in os.environ:
        time.sleep(0.05)
        if chance.random() < 0.1:
            raise ConnectionError("the server hung up")
    chance.seed(conversation.seed)
    if chance.random() < 0.15:
        return "I would rather not say."
    return _fitting(conversation, chance)


def _fitting(conversation: Conversation, chance: random.Random) -> str:
    question = conversation.messages[-1].content
    match conversation.game, conversation.role:
        case "taboo", "describer":
            return f"CLUE: a thing with {chance.randint(2, 9)} letters"
        case "taboo", "guesser":
            return f"GUESS: {chance.choice(['sea', 'sun', 'cinnamon', 'hummingbird'])}"
        case "codenames", "guesser":
            board = question.rpartition("Board: ")[2].split("\n")[0].split(", ")
            return f"GUESS: {chance.choice(board)}"
        case "referencegame", "giver":
            return f"Expression: the grid with {chance.randint(3, 20)} filled cells"
        case "referencegame", "follower":
            return f"Answer: {chance.choice(['first', 'second', 'third'])}"
        case "mmlu_pro", "answerer":
            return f"The answer is ({chance.choice('ABCDEFGHIJ')})"
    raise LookupError(f"careless does not know {conversation.game!r}")
