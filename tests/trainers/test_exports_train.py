"""Exported datasets train: each format goes through the trainer of TRL that it is for."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import datasets
import pytest
import torch
from tests.core.command_line import HERE, good
from tests.core.tiny_model import PLAIN, save_tiny_model
from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer, SFTConfig, SFTTrainer

from playpen.store import Run

MARKED = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}{{ '\n' }}{% if m['role'] == 'assistant' %}"
    "{% generation %}{{ m['content'] }}<|im_end|>{% endgeneration %}"
    "{% else %}{{ m['content'] }}<|im_end|>{% endif %}{{ '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant{{ '\n' }}{% endif %}"
)
"""Marks what the assistant generated, as `assistant_only_loss` needs it."""

END = "<|im_end|>"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two runs of taboo on the same instances: all are won in one and lost in the other."""
    folder = tmp_path_factory.mktemp("runs")
    won, lost = folder / "won", folder / "lost"
    for path, guesser in ((won, "program:oracle"), (lost, f"{HERE}:wrong")):
        players = ("-p", "describer=program:oracle", "-p", f"guesser={guesser}")
        good("play", "taboo", *players, "-n", "4", "-o", path)
    return won, lost


def dataset(runs: Iterable[Path], folder: Path, form: str) -> datasets.Dataset:
    """The exported runs, loaded as anybody would."""
    out = folder / f"out-{form}"
    good("data", "export", *runs, "--format", form, "-o", out)
    return datasets.load_dataset(str(out), split="train", cache_dir=str(folder / "cache"))


def arguments(kind: Any, folder: Path, **options: Any) -> Any:
    return kind(
        output_dir=str(folder / "training"),
        max_steps=2,
        learning_rate=1e-2,
        per_device_train_batch_size=4,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        max_length=None,
        **options,
    )


def trainer_of(kind: Any, args: Any, data: datasets.Dataset, template: str = PLAIN) -> Any:
    """A trainer of a tiny model, which TRL loads itself: twice, where it needs a reference."""
    model = save_tiny_model(Path(args.output_dir) / "model", template=template, positions=4096)
    return kind(model=str(model), args=args, train_dataset=data)


def check_training(trainer: Any) -> None:
    """Train for two steps: the losses are finite, and all weights move."""
    before = {name: weight.clone() for name, weight in trainer.model.named_parameters()}
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert len(losses) == 2
    assert all(math.isfinite(loss) for loss in losses)
    after = dict(trainer.model.named_parameters())
    assert [name for name, weight in before.items() if torch.equal(weight, after[name])] == []


def trained_texts(trainer: Any) -> Counter[str]:
    """The stretches of text that carry loss, as the trainer has prepared its rows."""
    stretches: Counter[str] = Counter()
    for row in trainer.train_dataset:
        stretch: list[int] = []
        for token, label in [*zip(row["input_ids"], row["labels"], strict=True), (0, -100)]:
            if label != -100:
                assert label == token
                stretch.append(token)
            elif stretch:
                stretches[trainer.processing_class.decode(stretch)] += 1
                stretch = []
    return stretches


def said(runs: Iterable[Path]) -> Iterator[str]:
    """Everything that was replied in some runs."""
    for run in runs:
        for episode in Run.open(run).episodes():
            yield from (reply.reply.text for reply in episode.replies())


def rendered(messages: Iterable[dict[str, str]]) -> str:
    return "".join(f"<|im_start|>{m['role']}\n{m['content']}{END}\n" for m in messages)


def test_sft_learns_every_reply_of_the_won_episodes_and_nothing_else(runs, tmp_path):
    data = dataset(runs, tmp_path, "sft")
    trainer = trainer_of(SFTTrainer, arguments(SFTConfig, tmp_path), data)
    assert trained_texts(trainer) == Counter(f"{text}{END}\n" for text in said(runs[:1]))
    check_training(trainer)


@pytest.mark.parametrize("form", ["messages", "parquet"])
def test_whole_conversations_are_learned_from_with_assistant_only_loss(runs, tmp_path, form):
    data = dataset(runs, tmp_path, form)
    args = arguments(SFTConfig, tmp_path, assistant_only_loss=True)
    trainer = trainer_of(SFTTrainer, args, data, MARKED)
    assert trained_texts(trainer) == Counter(f"{text}{END}" for text in said(runs))
    check_training(trainer)


def test_dpo_prefers_the_winners_dialogue(runs, tmp_path):
    data = dataset(runs, tmp_path, "dpo")
    trainer = trainer_of(DPOTrainer, arguments(DPOConfig, tmp_path), data)
    decode = trainer.processing_class.decode
    won, lost = ({e.instance: e for e in Run.open(run).episodes()} for run in runs)
    assert sorted(data["instance"]) == sorted(won)
    for row, prepared in zip(data, trainer.train_dataset, strict=True):
        for side, episodes in (("chosen", won), ("rejected", lost)):
            # The whole conversation of the guesser, cut where the first reply begins.
            conversation = episodes[row["instance"]].conversation(row["role"])
            text = rendered({"role": m.role, "content": m.content} for m in conversation)
            assert decode(prepared["prompt_ids"] + prepared[f"{side}_ids"]) == text
        assert decode(prepared["prompt_ids"]).endswith("<|im_start|>assistant\n")
    check_training(trainer)


def test_kto_wants_the_winners_dialogues(runs, tmp_path):
    data = dataset(runs, tmp_path, "kto")
    trainer = trainer_of(KTOTrainer, arguments(KTOConfig, tmp_path), data)
    decode = trainer.processing_class.decode
    wanted: Counter[tuple[str, bool]] = Counter()
    for run in runs:
        for episode in Run.open(run).episodes():
            for role in episode.players:
                conversation = episode.conversation(role)
                text = rendered({"role": m.role, "content": m.content} for m in conversation)
                wanted[text, episode.success] += 1
    assert (
        Counter(
            (decode(row["prompt_ids"] + row["completion_ids"]), row["label"])
            for row in trainer.train_dataset
        )
        == wanted
    )
    check_training(trainer)
