"""Tiny models with random weights: a Llama with a word-level tokenizer, for demos and tests."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

PAD, UNKNOWN, USER, ASSISTANT, END = "<pad>", "<unknown>", "<user>", "<assistant>", "<end>"
CHAT_TEMPLATE = (
    "{% for message in messages %}<{{ message.role }}> {{ message.content }}<end>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def word_tokenizer(words: Iterable[str]) -> PreTrainedTokenizerFast:
    """A tokenizer whose tokens are the given words, separated by white space."""
    special = [PAD, UNKNOWN, USER, ASSISTANT, END]
    vocabulary = {word: number for number, word in enumerate([*special, *sorted(set(words))])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens(special)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        unk_token=UNKNOWN,
        eos_token=END,
        additional_special_tokens=[USER, ASSISTANT],
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )


def make_tiny_model(
    folder: Path,
    words: Iterable[str],
    *,
    hidden_size: int = 128,
    layers: int = 2,
    context: int = 256,
    seed: int = 0,
) -> int:
    """Make a model that has learned nothing, saved as an ``hf:`` player.

    Args:
        folder: where to save it.
        words: its vocabulary.
        hidden_size: width; the heads have 32 dimensions each.
        layers: depth.
        context: longest sequence in tokens.
        seed: of the initial weights.

    Returns:
        The number of its weights.
    """
    tokenizer = word_tokenizer(words)
    torch.manual_seed(seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=hidden_size,
            intermediate_size=2 * hidden_size,
            num_hidden_layers=layers,
            num_attention_heads=hidden_size // 32,
            max_position_embeddings=context,
            # With the usual 0.02 so small a model stays on the plateau of word frequencies.
            initializer_range=0.1,
            tie_word_embeddings=False,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
        )
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return int(model.num_parameters())
