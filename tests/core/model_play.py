"""A game, its roll-outs, and what a model is fed meanwhile: for tests of the engine."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest
import torch
import transformers
from tests.core.tiny_model import tiny_tokenizer

from playpen import Ask, Conversation, Episode, Exchange, Game, Instance, Message, Role, Success
from playpen.episode import Said
from playpen.instance import Experiment
from playpen.player import Player


class Talk(Game):
    """Two roles talk for some rounds; one has a fixed exchange before, and side questions."""

    name = "talk"
    roles = (Role("first"), Role("second"))

    def play(self, instance):
        yield Exchange("second", "hello", "welcome")
        for number in range(instance["rounds"]):
            said = yield Ask("first", "guess the word " * (1 + instance["game_id"] % 3))
            yield Ask("first", "really?", keep=False)
            yield Ask("second", f"{said.text!r} was said in round {number}")
        return Success()


def instances(number: int, rounds: int = 3) -> list[Instance]:
    experiment = Experiment("talks", {"rounds": rounds})
    return [Instance("talk", experiment, {"game_id": i, "puzzle": i}) for i in range(number)]


def conversation(text: str = "guess", seed: int = 0, **settings) -> Conversation:
    return Conversation("first", [Message("user", text)], sampling_seed=seed, **settings)


def rows_of(episodes: list[Episode]):
    for episode in episodes:
        assert episode.failure is None, episode.failure
        for role in dict.fromkeys(reply.role for reply in episode.replies()):
            yield from episode.trajectory(role).rows


def replies(player: Player, *conversations: Conversation):
    async def ask():
        return await asyncio.gather(*(player.reply(c) for c in conversations))

    return asyncio.run(ask())


def generated(player: Player, *conversations: Conversation) -> list[list[int]]:
    return [reply.tokens.sampled for reply in replies(player, *conversations)]


def plain_logprobs(model, ids: list[int], temperature: float) -> torch.Tensor:
    """Log-probability of each id but the first, by one forward pass without any cache."""
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0].float()
    every = torch.log_softmax(logits[:-1] / temperature, dim=-1)
    return every.gather(-1, torch.tensor(ids[1:])[:, None])[:, 0]


class Spy:
    """Records what a model is fed; can hold it up."""

    def __init__(self, model, on_call: Callable[[int], None] = lambda calls: None) -> None:
        self._on_call = on_call
        self.fed: list[list[list[int]]] = []
        self.go = threading.Event()
        self.go.set()
        self.entered = threading.Event()
        self._handle = model.register_forward_pre_hook(self._called, with_kwargs=True)

    def _called(self, module, args, kwargs):
        self.fed.append(kwargs["input_ids"].tolist())
        self._on_call(len(self.fed))
        self.entered.set()
        assert self.go.wait(timeout=30)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.go.set()
        self._handle.remove()


def said(episodes: list[Episode]):
    return [
        [(event.role, event.reply) for event in e.events if isinstance(event, Said)]
        for e in episodes
    ]


def check_logprobs(
    model, episodes: list[Episode], temperature: float, within: float = 1e-4
) -> None:
    """The sampler's log-probabilities are those of a plain forward pass of transformers."""
    checked = 0
    for row in rows_of(episodes):
        if not any(row.mask):
            continue
        expected = plain_logprobs(model, row.ids, temperature)
        for place, (sampled, logprob) in enumerate(zip(row.mask, row.logprobs, strict=True)):
            if sampled:
                assert logprob == pytest.approx(float(expected[place - 1]), abs=within)
                checked += 1
    assert checked > 100


def architectures() -> list[transformers.PreTrainedConfig]:
    sizes = {
        "vocab_size": len(tiny_tokenizer()),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "initializer_range": 0.2,
        "eos_token_id": 2,
        "pad_token_id": 0,
        "bos_token_id": None,
    }
    mixed = ["sliding_attention", "full_attention"]
    return [
        transformers.MistralConfig(**sizes, sliding_window=12),
        transformers.Gemma3TextConfig(**sizes, head_dim=8, sliding_window=12, layer_types=mixed),
        transformers.Lfm2Config(**sizes, layer_types=["conv", "full_attention"]),
        transformers.GPT2Config(
            vocab_size=sizes["vocab_size"],
            n_embd=32,
            n_layer=2,
            n_head=4,
            initializer_range=0.2,
            eos_token_id=2,
            bos_token_id=None,
        ),
    ]
