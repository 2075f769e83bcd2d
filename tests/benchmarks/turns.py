"""Conversations of eight turns with and without kept keys and values, side by side.

Sampled tokens per CPU second, and how many ids the model read; the two alternate.  Once every
conversation begins with its own long prompt, and once all begin with the same one (a group of
GRPO, or one instance that is played many times).

``python tests/benchmarks/turns.py [tiny|smollm]``
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
import transformers
from rich.console import Console

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.core.tiny_model import tiny_model, tiny_tokenizer
from tests.smollm import fetch_smollm

from playpen import Ask, Game, Instance, Role, Success, play
from playpen.instance import Experiment
from playpen.players.hf import HuggingFaceOptions, HuggingFacePlayer
from playpen.terminal.plain_table import PlainTable

TURNS = 8
INSTRUCTIONS = (
    "You take part in a guessing game. Another player thinks of a secret word and describes it "
    "to you, without using the word itself or any word that is derived from it. After each "
    "description you answer with one guess. Then you learn whether your guess was correct. "
    "You lose if you have not found the word after eight guesses. "
)


class EightTurns(Game):
    """One role is asked eight times in one conversation, whatever it says."""

    name = "eight-turns"
    roles = (Role("guesser"),)

    def play(self, instance: Instance) -> Iterator[Ask]:
        """Instructions first, then a short message for each reply."""
        yield Ask("guesser", instance["prompt"])
        for number in range(2, TURNS + 1):
            yield Ask("guesser", f"That is not the word. What is your guess number {number}?")
        return Success()


class Setting(NamedTuple):
    """A model and how much is played with it."""

    name: str
    model: Any
    tokenizer: Any
    conversations: int
    new_tokens: int
    rounds: int


class Played(NamedTuple):
    """What came of some conversations."""

    seconds: float
    sampled: int
    read: int


@contextmanager
def counted(model: Any) -> Iterator[list[int]]:
    """How many ids each pass reads, padding included."""
    read: list[int] = []
    handle = model.register_forward_pre_hook(
        lambda module, args, named: read.append(named["input_ids"].numel()), with_kwargs=True
    )
    try:
        yield read
    finally:
        handle.remove()


def instances(number: int, *, same: bool) -> list[Instance]:
    """Instances whose prompts are all different from the first word on, or all the same."""
    prompts = [INSTRUCTIONS if same else f"{i}. game. {INSTRUCTIONS}" for i in range(number)]
    return [
        Instance("eight-turns", Experiment("all", {}), {"game_id": i, "prompt": prompt})
        for i, prompt in enumerate(prompts)
    ]


def converse(setting: Setting, *, same: bool, kept_tokens: int, seed: int) -> Played:
    """Play all conversations of a setting at once."""
    options = HuggingFaceOptions(
        temperature=1.0, max_new_tokens=setting.new_tokens, kept_tokens=kept_tokens
    )
    player = HuggingFacePlayer.over(setting.model, setting.tokenizer, options)
    ready = instances(setting.conversations, same=same)
    with counted(setting.model) as read:
        begin = time.process_time()
        episodes = play(EightTurns(), player, ready, seed=seed)
        seconds = time.process_time() - begin
    replies = [event.reply for episode in episodes for event in episode.replies()]
    return Played(seconds, sum(reply.completion_tokens or 0 for reply in replies), sum(read))


def tiny() -> Setting:
    tokenizer = tiny_tokenizer()
    model = tiny_model(len(tokenizer), positions=4096)
    return Setting("tiny model (2 x 32)", model, tokenizer, 32, 12, 5)


def smollm() -> Setting:
    folder = fetch_smollm()
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    return Setting("SmolLM2-135M", model, tokenizer, 4, 8, 1)


def main(wanted: list[str]) -> None:
    """Print the table."""
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    table = PlainTable("8 turns, tokens per CPU second")
    for column in ("first prompts", "all read anew", "kept", "ratio", "ids read", "ids read, kept"):
        table.add_column(column, justify="right")
    for make in (tiny, smollm):
        if make.__name__ not in wanted:
            continue
        setting = make()
        converse(setting._replace(conversations=1, new_tokens=1), same=True, kept_tokens=1, seed=0)
        for same in (False, True):
            anew, kept = [], []
            for seed in range(setting.rounds):
                anew.append(converse(setting, same=same, kept_tokens=0, seed=seed))
                kept.append(converse(setting, same=same, kept_tokens=10**6, seed=seed))
            slow, fast = (
                statistics.median(p.sampled / p.seconds for p in played) for played in (anew, kept)
            )
            table.add_row(
                setting.name,
                "the same" if same else "their own",
                f"{slow:.1f}",
                f"{fast:.1f}",
                f"{fast / slow:.2f}",
                f"{statistics.mean(p.read for p in anew):,.0f}",
                f"{statistics.mean(p.read for p in kept):,.0f}",
            )
    Console().print(table)


if __name__ == "__main__":
    main(sys.argv[1:] or ["tiny", "smollm"])
