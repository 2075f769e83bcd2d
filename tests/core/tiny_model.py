"""A tiny random Llama with a small tokenizer and a chat template, saved like a real checkpoint.

Nothing is downloaded.  The tokenizer is a byte-level BPE trained on a few sentences, so ids that
the random model samples seldom survive a round trip through text: tests of token fidelity bite.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

SPECIAL_TOKENS = ("<|pad|>", "<|im_start|>", "<|im_end|>", "<|stop|>")

CORPUS = [
    "Guess the secret number between one and one hundred.",
    "higher lower correct guess clue word answer round player",
    "The player said something, and the game master answered.",
    "Describe the word without using it: <think>a long thought</think>",
]

PLAIN = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""Only appends: every message as it is."""

TRIMMING = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] | trim }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""Trims white space around every message."""

FORGETFUL = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% if m['role'] == 'assistant' and not loop.last %}"
    "{{ m['content'].split('</think>')[-1] | trim }}{% else %}{{ m['content'] }}{% endif %}"
    "<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""Drops the reasoning of earlier replies: it rewrites history."""

OPENING = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{{ m['content'].split('</think>')[-1] | trim }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}"
)
"""Opens the reasoning in the prompt and drops it from history."""


def tiny_tokenizer(template: str | None = PLAIN) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer of about 400 ids."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<|pad|>",
        eos_token="<|im_end|>",
        additional_special_tokens=["<|im_start|>", "<|stop|>"],
    )
    wrapped.chat_template = template
    return wrapped


def tiny_model(
    vocabulary: int, *, seed: int = 0, positions: int = 512, hidden: int = 32, heads: int = 4
) -> LlamaForCausalLM:
    """A random Llama of about 60 thousand parameters, the same for the same seed and sizes."""
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=2,
        num_attention_heads=heads,
        num_key_value_heads=heads // 2,
        max_position_embeddings=positions,
        # With the usual 0.02 all logits are nearly equal, and everything looks the same.
        initializer_range=0.2,
        bos_token_id=None,
        eos_token_id=2,
        pad_token_id=0,
    )
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config).eval()
        # A random model would nearly never end a turn.
        model.lm_head.weight[config.eos_token_id] *= 3
        return model


def save_tiny_model(
    directory: Path, *, template: str | None = PLAIN, seed: int = 0, **options: Any
) -> Path:
    """Save model and tokenizer as a checkpoint directory (safetensors), and return it.

    Args:
        directory: created if missing.
        template: chat template, `None` for a base model without one.
        seed: of the weights.
        options: for `tiny_model`.
    """
    tokenizer = tiny_tokenizer(template)
    tiny_model(len(tokenizer), seed=seed, **options).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory
