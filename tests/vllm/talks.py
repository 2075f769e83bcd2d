"""A game, its episodes and what must hold for their tokens, whichever way vLLM is reached."""

from __future__ import annotations

import asyncio

import pytest
import torch
from transformers import AutoModelForCausalLM

from playpen import Ask, Conversation, Episode, Exchange, Game, Instance, Message, Role, Success
from playpen.conversation import Reply
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


def replies(player: Player, *conversations: Conversation) -> list[Reply]:
    async def ask():
        return await asyncio.gather(*(player.reply(c) for c in conversations))

    return asyncio.run(ask())


def generated(player: Player, *conversations: Conversation) -> list[list[int]]:
    return [reply.tokens.sampled for reply in replies(player, *conversations)]


def rows_of(episodes: list[Episode]):
    for episode in episodes:
        assert episode.failure is None, episode.failure
        for role in dict.fromkeys(reply.role for reply in episode.replies()):
            yield from episode.trajectory(role).rows


def check_fed(episodes: list[Episode], fed: list[list[int]]) -> None:
    """Every reply's prompt and sampled ids, as the rows have them, are what the engine was fed.

    Args:
        episodes: all that was played.
        fed: for each request, in any order, the ids that were sent and the ids that came back.
    """
    expected = [row.ids[:end] for row in rows_of(episodes) for _, start, end in row.spans]
    assert sorted(fed) == sorted(ids for ids in expected if ids)


def plain_logprobs(model, ids: list[int], temperature: float) -> torch.Tensor:
    """Log-probability of each id but the first, by one forward pass without any cache."""
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0].float()
    every = torch.log_softmax(logits[:-1] / temperature, dim=-1)
    return every.gather(-1, torch.tensor(ids[1:])[:, None])[:, 0]


def check_logprobs(
    model: AutoModelForCausalLM, episodes: list[Episode], temperature: float, within: float = 1e-4
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
