"""What the tests of preference learning share: a game, voices, a tiny model, rows, trainers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
import torch
import transformers
from safetensors.torch import load_file
from tests.trainers.gradients import check_gradient, trained_tokens
from tests.trainers.recorder import untrained

from playpen import (
    Abort,
    Ask,
    Draw,
    Experiment,
    Game,
    Instance,
    Lose,
    Play,
    Reply,
    Role,
    Success,
    get_game,
    make_player,
)
from playpen import play as play_episodes
from playpen.cast import make_cast
from playpen.chat_format import ChatFormat
from playpen.conversation import Conversation
from playpen.episode import Episode
from playpen.hookspecs import GameSpec
from playpen.instance_sets import parse_instances
from playpen.player import Player
from playpen.plugins import registry
from playpen.rewards import Rewards, ScoreReward
from playpen.rollout import Job, make_jobs, rollout
from playpen.runner import create_run, play_run
from playpen.training import (
    GamesTable,
    LearnerTable,
    RolloutTable,
    TrainConfig,
)
from playpen_trainers.dpo import DPO
from playpen_trainers.kto import KTO
from playpen_trainers.preferences.dialogue_pairs import dialogue_pairs
from playpen_trainers.preferences.returns import RoleReturn, role_returns
from playpen_trainers.preferences.rows import TokenPair, UnpairedRow
from playpen_trainers.preferences.trainer import PreferenceTrainer
from playpen_trainers.preferences.unpaired_rows import unpaired_rows
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


HERE = "program:tests.trainers.preference_kit"


def wins(conversation: Conversation) -> str:
    """A program that wins as a."""
    return "alpha beta"


def loses(conversation: Conversation) -> str:
    """A program that loses."""
    return "delta"


def mixed(conversation: Conversation) -> str:
    """A program that wins, loses, and breaks the rules."""
    return ("alpha", "delta", "boom")[conversation.seed % 3]


def recording(folder: Path, program: str, *, split: str = "train", count: int = 6) -> str:
    """A run in which a program of this module plays both roles on each of some instances."""
    game = Talk()
    instances = parse_instances(game.generate(split, n=count), game, split=split)
    play_run(create_run(folder, {"talk": instances}, make_cast([(None, f"{HERE}:{program}")])))
    return str(folder)


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
    player: Player, instances: Sequence[Instance], samples: int = 1, *, seed: int = 0
) -> list[Job]:
    by_role, names = {"a": player, "b": player}, {"a": "learner", "b": "learner"}
    return list(
        make_jobs(Talk(), instances, by_role, names, episodes=samples * len(instances), seed=seed)
    )


def episodes_of(
    player: Player, instances: Sequence[Instance], samples: int = 1, *, seed: int = 0
) -> list[Episode]:
    planned = jobs_of(player, instances, samples, seed=seed)
    Seats().run(planned)
    return [job.episode for job in planned]


def scripted(*lines: str, chat: ChatFormat | None = None) -> list[Episode]:
    """Episodes of one instance; each line holds the replies, separated by commas."""
    episodes: list[Episode] = []
    for number, line in enumerate(lines):
        replies = iter(text.strip() for text in line.split(","))

        def say(conversation: Conversation, replies: Any = replies) -> str:
            return str(next(replies))

        # Only the last one is played; those before it give it its number.
        *_, job = jobs_of(Voice(say, chat), instances(), number + 1)
        Seats().run([job])
        assert job.episode.failure is None, job.episode.failure
        episodes.append(job.episode)
    return episodes


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


# --- trainers ------------------------------------------------------------------------------------

CHAT = chat_format()
LINES = (
    "alpha beta, hidden, gamma, delta",
    "beta, hidden, gamma, alpha",
    "beta, hidden, gamma, ",
    "delta, boom",
    "boom",
    ", beta, gamma, delta",
)
"""Episodes of one to three turns of a, with empty replies and side questions."""


def token_pairs() -> list[TokenPair]:
    """Pairs of all that `LINES` allow."""
    rows = dialogue_pairs(CHAT, _returns(aborted=-1.0), match="all")
    assert len({len(row.chosen) for row in rows}) > 3
    return rows


def labelled_rows() -> list[UnpairedRow]:
    """Rows of `LINES`, wanted and not."""
    rows = unpaired_rows(CHAT, _returns())
    assert len({len(row.completion) for row in rows}) > 3
    return rows


def _returns(**options: Any) -> list[RoleReturn]:
    rewards = Rewards([ScoreReward(ScoreReward.Options(**options))])
    return role_returns([(e, ("a",)) for e in scripted(*LINES)], rewards, share_fault=False)


class Case(NamedTuple):
    """A trainer that learns from preferences.

    Attributes:
        name: of the trainer.
        kind: its class.
        rows: gives rows for it.
        sides: the columns that hold what follows a prompt.
    """

    name: str
    kind: type[PreferenceTrainer[Any]]
    rows: Callable[[], list[Any]]
    sides: tuple[str, ...]

    def expected(self, rows: Sequence[Any]) -> list[list[bool]]:
        """Which tokens the role says itself in the batch of some rows, one side after another."""
        return [
            own_tokens(CHAT, row.prompt, getattr(row, side)) for side in self.sides for row in rows
        ]

    def untrained(
        self, base: Path, output: Path, rows: Sequence[Any], **options: Any
    ) -> transformers.Trainer:
        """TRL's trainer with these rows, just before it would train."""
        output.mkdir()
        lines = [msgspec.json.encode(line) for line in ({}, *rows)]
        (output / self.kind.row_file).write_bytes(b"\n".join(lines))
        return untrained(self.name, config(base, games=GamesTable(), trainer=options), output)

    def learned(self, output: Path) -> list[Any]:
        """The rows that a training made."""
        _, *lines = (output / self.kind.row_file).read_bytes().splitlines()
        return [msgspec.json.decode(line, type=self.kind.row_type) for line in lines]


DPO_CASE = Case("dpo", DPO, token_pairs, ("chosen", "rejected"))
KTO_CASE = Case("kto", KTO, labelled_rows, ("completion",))


def batch_of(trainer: Any) -> dict[str, torch.Tensor]:
    """All rows of a trainer in one batch."""
    batch: dict[str, torch.Tensor] = trainer.data_collator(list(trainer.train_dataset))
    return batch


def check_same_batch(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        assert torch.equal(ours[name], value), name


def check_users_words_are_trained(trainer: Any) -> None:
    """Assert that TRL's own trainer takes all for the model's words that follows the prompt."""
    [batch] = trainer.get_train_dataloader()
    trained = trained_tokens(trainer, batch)[0]
    said = CHAT.tokenizer.convert_ids_to_tokens(batch["input_ids"][0][trained].tolist())
    assert said == ["alpha", "<end>", "<user>", "three", "<end>", "<assistant>", "delta", "<end>"]
    with pytest.raises(AssertionError, match="wrongly trained"):
        check_gradient(trainer, batch, [spoken(CHAT, ids) for ids in batch["input_ids"].tolist()])


def check_plays(final: Path) -> None:
    """Assert that a checkpoint is a player whose tokens are known."""
    game = get_game("talk")
    [instance] = parse_instances(game.generate("validation", n=1), game)
    [episode] = play_episodes(game, make_player(f"hf:{final}?max_new_tokens=3"), [instance])
    assert episode.failure is None and episode.trajectory("a") is not None


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """The weights of a checkpoint, or of its adapter."""
    [file] = folder.glob("*model.safetensors")
    return load_file(file)


# --- gradients -----------------------------------------------------------------------------------


def spoken(chat: ChatFormat, ids: Sequence[int], after: int = 0) -> list[bool]:
    """Which tokens the role says itself, from place `after` on, read off the text."""
    said: list[bool] = []
    speaking = False
    for number, token in enumerate(chat.tokenizer.convert_ids_to_tokens(list(ids))):
        said.append(speaking and number >= after)
        if token in ("<assistant>", "<end>"):
            speaking = token == "<assistant>"
    return said


def own_tokens(chat: ChatFormat, prompt: Sequence[int], rest: Sequence[int]) -> list[bool]:
    """Which tokens of a row of the game its role says itself, after what is only read.

    The replies before a side question are only read.
    """
    ids = [*prompt, *rest]
    tokens = chat.tokenizer.convert_ids_to_tokens(ids)
    last = max(place for place, token in enumerate(tokens) if token == "<assistant>")
    return spoken(chat, ids, last if tokens[last - 2] == "aside" else len(prompt))


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
