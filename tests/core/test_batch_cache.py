"""Keys and values of rows that join, grow and leave, against a plain list of each row's own."""

from __future__ import annotations

import random

import pytest
import torch
from tests.core.tiny_model import tiny_model
from transformers import DynamicCache

from playpen.players.transformers_engine.batch_cache import BatchCache
from playpen.players.transformers_engine.gqa import grouped

LAYERS, HEADS, SIZE = 2, 3, 4


def columns(rows: int, width: int) -> torch.Tensor:
    return torch.randn(rows, HEADS, width, SIZE)


class Rows:
    """`BatchCache`, and what should be in them.

    Attributes:
        expected: for each row, the keys and the values of each layer: heads x ids x size.
    """

    def __init__(self) -> None:
        self.states = BatchCache()
        self.expected: list[list[tuple[torch.Tensor, torch.Tensor]]] = []

    def join(self, rows: int, width: int) -> None:
        added = DynamicCache()
        new = [(columns(rows, width), columns(rows, width)) for _ in range(LAYERS)]
        for layer, (keys, values) in enumerate(new):
            added.update(keys, values, layer)
            self.states.add(added, layer)
        self.expected += [[(keys[row], values[row]) for keys, values in new] for row in range(rows)]

    def grow(self, new: int) -> None:
        grown = [list[tuple[torch.Tensor, torch.Tensor]]() for _ in self.expected]
        for layer in range(LAYERS):
            keys, values = columns(len(grown), new), columns(len(grown), new)
            self.states.update(keys, values, layer)
            for row, before in enumerate(self.expected):
                pair = zip(before[layer], (keys[row], values[row]), strict=True)
                all_keys, all_values = (torch.cat(both, dim=1) for both in pair)
                grown[row].append((all_keys, all_values))
        self.expected = grown

    def leave(self, places: list[int]) -> None:
        order = self.states.leave(places)
        assert sorted(order + places) == list(range(len(self.expected)))
        self.expected = [self.expected[row] for row in order]

    def trim(self) -> None:
        longest = max(row[0][0].shape[1] for row in self.expected)
        self.states.narrow(slice(self.states.get_seq_length() - longest, None))
        assert self.states.get_seq_length() == longest

    def check(self) -> None:
        for number, row in enumerate(self.expected):
            for layer, states in zip(self.states.layers, row, strict=True):
                for held, own in zip((layer.keys, layer.values), states, strict=True):
                    assert held.shape[0] == len(self.expected)
                    assert torch.equal(held[number, :, -own.shape[1] :], own)
                    assert torch.isfinite(held).all()


@pytest.mark.parametrize("seed", range(20))
def test_each_row_keeps_its_states(seed: int) -> None:
    chance = random.Random(seed)
    torch.manual_seed(seed)
    rows = Rows()
    rows.join(chance.randint(1, 3), chance.randint(1, 50))
    for _ in range(40):
        match chance.choice(["join", "grow", "grow", "leave"]):
            case "join":
                rows.join(chance.randint(1, 3), chance.choice([1, 10, 200]))
            case "grow":
                rows.grow(chance.choice([1, 1, 1, 30, 100]))
            case "leave" if len(rows.expected) > 1:
                places = range(len(rows.expected))
                rows.leave(chance.sample(places, chance.randint(1, len(places) - 1)))
                rows.trim()
        rows.check()


def test_a_half_written_step_can_be_taken_back() -> None:
    """As after an error in the middle of a pass: some layers have one more column."""
    rows = Rows()
    rows.join(2, 5)
    rows.states.update(columns(2, 1), columns(2, 1), 0)
    rows.states.narrow(slice(5))
    assert [layer.get_seq_length() for layer in rows.states.layers] == [5, 5]
    rows.check()
    rows.grow(1)
    rows.check()


def test_tokens_are_written_into_the_same_memory() -> None:
    """Which is what all this is for: nothing is copied for a token."""
    rows = Rows()
    rows.join(2, 5)
    rows.grow(1)
    before = rows.states.layers[0].keys.data_ptr()
    for _ in range(20):
        rows.grow(1)
    assert rows.states.layers[0].keys.data_ptr() == before


@pytest.mark.parametrize("heads", [4, 2])
def test_grouped_attention_gives_what_sdpa_gives(heads: int) -> None:
    model = tiny_model(100, heads=heads)
    lengths = torch.tensor([7, 3, 12])
    width = int(lengths.max())
    mask = (torch.arange(width) >= width - lengths[:, None]).long()
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    ids = torch.randint(5, 100, (3, width), generator=torch.Generator().manual_seed(0))

    def last(*, grouping: bool) -> torch.Tensor:
        """Logits after the last ids, which are fed alone."""
        cache = DynamicCache()
        with torch.no_grad():
            model(
                input_ids=ids[:, :-1],
                attention_mask=mask[:, :-1],
                position_ids=positions[:, :-1],
                past_key_values=cache,
            )
            fed = {
                "input_ids": ids[:, -1:],
                "attention_mask": mask,
                "position_ids": positions[:, -1:],
                "past_key_values": cache,
            }
            if not grouping:
                return model(**fed).logits
            with grouped(model):
                assert model.config._attn_implementation != "sdpa"
                return model(**fed).logits

    assert model.config._attn_implementation == "sdpa"
    torch.testing.assert_close(last(grouping=True), last(grouping=False), atol=1e-5, rtol=1e-5)
    assert model.config._attn_implementation == "sdpa"


def test_another_attention_is_left_alone() -> None:
    model = tiny_model(100)
    model.set_attn_implementation("eager")
    with grouped(model):
        assert model.config._attn_implementation == "eager"
    assert model.config._attn_implementation == "eager"
