"""Modules of PyTorch that are given more than their values: states, and keys that are hidden."""

from __future__ import annotations

import re
from typing import Any

import pytest

import netspec
from netspec import NetspecError

torch = pytest.importorskip("torch")
nn = torch.nn


class Decoder(nn.Module):
    """A recurrent layer that begins with what a picture's features give."""

    def __init__(self, kind: str, layers: int = 1) -> None:
        super().__init__()
        self.cell = getattr(nn, kind)(4, 3, layers, batch_first=True)
        self.h, self.c = nn.Linear(5, 3 * layers), nn.Linear(5, 3 * layers)
        self.layers = layers

    def state(self, x: Any) -> Any:
        if self.layers == 1:
            return x.unsqueeze(0)
        return x.view(-1, self.layers, 3).transpose(0, 1).contiguous()

    def forward(self, words: Any, picture: Any) -> Any:
        state = self.state(self.h(picture))
        if isinstance(self.cell, nn.LSTM):
            state = state, self.state(self.c(picture))
        return self.cell(words, state)[0]


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_a_recurrent_layer_may_begin_with_given_states(kind: str, layers: int) -> None:
    example = torch.randn(2, 6, 4), torch.randn(2, 5)
    net = netspec.from_torch(Decoder(kind, layers), example, prove="full")
    text = net.written.module.source.text
    states = r"\w+, \w+" if kind == "LSTM" else r"\w+"
    assert re.search(rf"\(words, {states}\) -> cell: {kind.lower()}\(3", text)
    assert "unsqueeze" not in text


class Behind(nn.Module):
    """The axis of layers is cut from a state that has several."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRU(4, 3, batch_first=True)

    def forward(self, words: Any, states: Any) -> Any:
        return self.cell(words, states.transpose(0, 1)[:1].contiguous())[0]


def test_a_state_whose_axis_of_layers_was_not_put_there_is_refused() -> None:
    with pytest.raises(NetspecError, match="import/inexpressible"):
        netspec.from_torch(Behind(), (torch.randn(2, 6, 4), torch.randn(2, 2, 3)))


class Padded(nn.Module):
    """Keys that are padding are hidden."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(9, 4)
        self.mha = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, tokens: Any) -> Any:
        x, hidden = self.words(tokens), tokens == 0
        return self.mha(x, x, x, key_padding_mask=hidden, need_weights=False)[0]


def test_hidden_keys_are_the_last_value_of_multihead_attention() -> None:
    net = netspec.from_torch(Padded(), torch.randint(1, 9, (2, 5)), prove="full")
    assert "-> mha: multihead_attention(2)" in net.written.module.source.text


class Masked(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mha = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, x: Any, hidden: Any) -> Any:
        return self.mha(x, x, x, key_padding_mask=hidden, need_weights=False)[0]


def test_booleans_that_are_given_are_not_turned_round() -> None:
    example = torch.randn(2, 5, 4), torch.zeros(2, 5, dtype=torch.bool)
    with pytest.raises(NetspecError, match="`hidden` holds booleans"):
        netspec.from_torch(Masked(), example)
