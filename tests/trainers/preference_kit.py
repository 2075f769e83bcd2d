"""What the tests of preference learning share: a game, voices, a tiny model, a gradient check."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from playpen import Abort, Ask, Draw, Experiment, Game, Instance, Lose, Play, Reply, Role, Success
from playpen.chat_format import ChatFormat
from playpen.conversation import Conversation
from playpen.episode import Episode
from playpen.hookspecs import GameSpec
from playpen.player import Player
from playpen.plugins import registry
from playpen.rollout import Job, make_jobs, rollout
from playpen.training import (
    GamesTable,
    LearnerTable,
    RolloutTable,
    TrainConfig,
)
from playpen_trainers.tiny import make_tiny_model, word_tokenizer

NUMBERS = ("four", "five", "six")
WORDS = [
    "one", "two", "three", "aside", *NUMBERS, "alpha", "beta", "gamma", "delta", "hidden", "boom",
]  # fmt: skip

# --- a game --------------------------------------------------------------------------------------


class Talk(Game):
    """a is asked, asked aside, and asked again after b; "alpha" wins, "boom" breaks the rules."""

    name = "talk"
    roles = (Role("a"), Role("b"))

    def play(self, instance: Instance) -> Play:
        number = instance.get("number", "four")
        if instance.get("chance"):
            [number] = yield Draw(list(NUMBERS))
        said: list[str] = []
        for role, question, keep in [
            ("a", f"one {number}", True),
            ("a", "aside", False),
            ("b", "two", True),
            ("a", "three", True),
        ]:
            reply = yield Ask(role, question, keep)
            said.append(reply.text)
            if "boom" in reply.text:
                return Abort("boom", "boom", role)
        if "alpha" in said[0]:
            return Success(100)
        return Success(50) if "alpha" in said[3] else Lose()

    def generate(
        self, split: str, *, seed: int = 0, level: str | None = None, n: int | None = None
    ) -> dict[str, Any]:
        items = [
            {"game_id": number, "card": f"{split} {number}", "number": NUMBERS[number % 3]}
            for number in range(n or 32)
        ]
        return {"experiments": [{"name": "only", "game_instances": items}]}

    def levels(self) -> tuple[str, ...]:
        return ("only",)

    def fingerprint(self, instance: Instance) -> str:
        return str(instance["card"])


def register_talk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `get_game` find the game while a test runs."""
    spec = GameSpec(
        name="talk", path="tests.trainers.preference_kit:Talk", summary="talk", roles=("a", "b")
    )
    monkeypatch.setitem(registry().games, "talk", [(spec, "tests")])


def instances(count: int = 1, *, chance: bool = False) -> list[Instance]:
    return [
        Instance("talk", Experiment("x", {}), {"game_id": 0, "card": number, "chance": chance})
        for number in range(count)
    ]


# --- players -------------------------------------------------------------------------------------


def chat_format(words: Sequence[str] = WORDS) -> ChatFormat:
    return ChatFormat(word_tokenizer(words))


class Voice(Player):
    """Says what a function says, and leaves tokens as a model would."""

    def __init__(self, say: Callable[[Conversation], str], chat: ChatFormat | None = None) -> None:
        self._say = say
        self._chat = chat or chat_format()

    def reply(self, conversation: Conversation) -> Reply:
        text = self._say(conversation)
        return Reply(text, tokens=self._chat.trace(conversation.messages, text))


def by_chance(*options: str) -> Callable[[Conversation], str]:
    """Says one of the options, drawn with the seed of the reply."""
    return lambda conversation: options[conversation.seed % len(options)]


class Seats:
    """A stand-in for `Seating`: one player for all roles; remembers what was played."""

    def __init__(self, *learned: str) -> None:
        self._learned = list(learned) or ["a", "b"]
        self.batches: list[list[Job]] = []

    def learned(self, game: Game) -> list[str]:
        return self._learned

    def run(self, jobs: Sequence[Job]) -> None:
        self.batches.append(list(jobs))
        asyncio.run(rollout(jobs, lambda episode: None))


def jobs_of(
    player: Player, found: Sequence[Instance], samples: int = 1, *, seed: int = 0
) -> list[Job]:
    by_role, names = {"a": player, "b": player}, {"a": "learner", "b": "learner"}
    return list(make_jobs(Talk(), found, by_role, names, episodes=samples * len(found), seed=seed))


def episodes_of(
    player: Player, found: Sequence[Instance], samples: int = 1, *, seed: int = 0
) -> list[Episode]:
    planned = jobs_of(player, found, samples, seed=seed)
    Seats().run(planned)
    return [job.episode for job in planned]


def scripted(*lines: str, chat: ChatFormat | None = None) -> list[Episode]:
    """Episodes of one instance; each line holds the replies, separated by commas."""
    found: list[Episode] = []
    for number, line in enumerate(lines):
        replies = iter(text.strip() for text in line.split(","))

        def say(conversation: Conversation, replies: Any = replies) -> str:
            return str(next(replies))

        # Only the last one is played; those before it give it its number.
        *_, job = jobs_of(Voice(say, chat), instances(), number + 1)
        Seats().run([job])
        assert job.episode.failure is None, job.episode.failure
        found.append(job.episode)
    return found


# --- a model -------------------------------------------------------------------------------------


def tiny_base(folder: Path, *, context: int = 96) -> Path:
    """A model that has learned nothing, and knows the words of the game."""
    make_tiny_model(folder, WORDS, hidden_size=64, layers=1, context=context)
    return folder


def config(base: Path, **changes: Any) -> TrainConfig:
    """The configuration of a short training; `trainer` holds options of it."""
    trainer = {"per_device_train_batch_size": 4, "learning_rate": 1e-3, "max_steps": 2}
    values: dict[str, Any] = {
        "learner": LearnerTable(player=f"hf:{base}"),
        "games": GamesTable(names=["talk"], per_level=16, levels=["only"]),
        "rollout": RolloutTable(max_new_tokens=3),
        **changes,
    }
    return TrainConfig(**{**values, "trainer": {**trainer, **changes.get("trainer", {})}})


# --- gradients -----------------------------------------------------------------------------------


def spoken(chat: ChatFormat, ids: Sequence[int], after: int = 0) -> list[bool]:
    """Which tokens the role says itself, from place `after` on, read off the text."""
    found: list[bool] = []
    speaking = False
    for number, token in enumerate(chat.tokenizer.convert_ids_to_tokens(list(ids))):
        found.append(speaking and number >= after)
        if token in ("<assistant>", "<end>"):
            speaking = token == "<assistant>"
    return found


def own_tokens(chat: ChatFormat, prompt: Sequence[int], rest: Sequence[int]) -> list[bool]:
    """Which tokens of a row of the game its role says itself, after what is only read.

    The replies before a side question are only read.
    """
    ids = [*prompt, *rest]
    tokens = chat.tokenizer.convert_ids_to_tokens(ids)
    last = max(place for place, token in enumerate(tokens) if token == "<assistant>")
    return spoken(chat, ids, last if tokens[last - 2] == "aside" else len(prompt))


def trained_tokens(trainer: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Which tokens of the rows of a batch get a gradient through the trainer's `compute_loss`.

    The output head works position by position.  So the gradient with respect to the last hidden
    states is not zero just where the probability of the next token enters the loss.
    """
    model = trainer.model
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    states: list[torch.Tensor] = []

    def keep(module: Any, inputs: Any, output: Any) -> None:
        if output.last_hidden_state.requires_grad:
            output.last_hidden_state.retain_grad()
            states.append(output.last_hidden_state)

    model.train()
    hook = base.base_model.register_forward_hook(keep)
    try:
        loss = trainer.compute_loss(model, trainer._prepare_inputs(dict(batch)))
        assert torch.isfinite(loss)
        loss.backward()
    finally:
        hook.remove()
    model.zero_grad()
    [state] = states
    assert state.grad is not None
    assert torch.isfinite(state.grad).all()
    found = state.grad.abs().amax(dim=-1) > 0
    return torch.cat([torch.zeros_like(found[:, :1]), found[:, :-1]], dim=1)


def check_gradient(
    trainer: Any, batch: dict[str, torch.Tensor], expected: Sequence[Sequence[bool]]
) -> None:
    """Assert that exactly the expected tokens are trained; short rows are filled up."""
    found = trained_tokens(trainer, batch)
    size = found.size(1)
    wanted = torch.tensor([[*row, *[False] * (size - len(row))][:size] for row in expected])
    wrong = (found != wanted).nonzero().tolist()
    assert not wrong, f"(row, token) wrongly trained, or wrongly not trained: {wrong}"


def shifted(batch: dict[str, torch.Tensor], by: int) -> dict[str, torch.Tensor]:
    """The batch with its mask moved by some tokens."""
    return {**batch, "completion_mask": batch["completion_mask"].roll(by, dims=1)}


def stir(model: Any, size: float = 0.05) -> None:
    """Move the weights that are trained, so that the model is no longer its own reference."""
    torch.manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.add_(size * torch.randn_like(weight))


def log_probability(model: Any, ids: Sequence[int], trained: Sequence[bool]) -> float:
    """Sum of the log-probabilities of the trained tokens of a row."""
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([ids])).logits[0]
    logps = torch.log_softmax(logits[:-1], dim=-1)
    return sum(
        float(logps[place - 1, token])
        for place, (token, wanted) in enumerate(zip(ids, trained, strict=True))
        if wanted
    )
