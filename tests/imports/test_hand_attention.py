"""Attention that modules write out comes in as one layer, and what only looks like it as written."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

import netspec

torch = pytest.importorskip("torch")
nn = torch.nn
F = torch.nn.functional

Scores = Callable[["Written", Any, Any, Any], Any]
ROOT = math.sqrt(4)


class Written(nn.Module):
    """Two heads of four features, whose attention a function writes out."""

    def __init__(self, attend: Scores, saved: bool = True) -> None:
        super().__init__()
        self.attend = attend
        self.qkv, self.out = nn.Linear(8, 24), nn.Linear(8, 8)
        self.drop = nn.Dropout(0.2)
        self.near = nn.Parameter(torch.randn(5, 5))
        lower = torch.tril(torch.ones(6, 6)).view(1, 1, 6, 6)
        self.register_buffer("mask", lower, persistent=saved)
        self.register_buffer("low", torch.full((5, 5), -1e9).triu(1), persistent=saved)

    def forward(self, x: Any) -> Any:
        b, t, _ = x.shape
        q, k, v = (p.view(b, t, 2, 4).transpose(1, 2) for p in self.qkv(x).split(8, dim=2))
        y = self.attend(self, q, k, v)
        return self.out(y.transpose(1, 2).reshape(b, t, 8))


def shown(own: Written, t: int) -> Any:
    return own.mask[:, :, :t, :t]


def softmax(x: Any) -> Any:
    return F.softmax(x, dim=-1)


TOGETHER: dict[str, tuple[Scores, str]] = {
    "a product": (lambda o, q, k, v: softmax(q @ k.transpose(-2, -1) / ROOT) @ v, ""),
    "a scaled query": (lambda o, q, k, v: softmax(q * 0.5 @ k.transpose(2, 3)) @ v, ""),
    "both scaled": (
        lambda o, q, k, v: softmax(q * 0.5**0.5 @ (k * 0.5**0.5).transpose(2, 3)) @ v, "",
    ),
    "a key in other axes": (
        lambda o, q, k, v: softmax(torch.matmul(q, k.permute(0, 1, 3, 2)) * 0.5) @ v, "",
    ),
    "a sum of Einstein's": (
        lambda o, q, k, v: torch.einsum(
            "bhij,bhjd->bhid", softmax(torch.einsum("bhid,bhjd->bhij", q, k) / ROOT), v
        ),
        "",
    ),
    "dropout": (
        lambda o, q, k, v: o.drop(softmax(q @ k.transpose(-2, -1) / ROOT)) @ v, "dropout = 0.2",
    ),
    "a mask that is stored": (
        lambda o, q, k, v: softmax(
            (q @ k.transpose(-2, -1) / ROOT).masked_fill(shown(o, 5) == 0, float("-inf"))
        ) @ v,
        "causal = true",
    ),
    "a mask in place": (
        lambda o, q, k, v: softmax(
            (q @ k.transpose(-2, -1) / ROOT).masked_fill_(~shown(o, 5).bool(), -1e9)
        ) @ v,
        "causal = true",
    ),
    "a choice": (
        lambda o, q, k, v: o.drop(softmax(
            torch.where(shown(o, 5) > 0, q @ k.transpose(-2, -1) / ROOT, float("-inf"))
        )) @ v,
        "causal = true, dropout = 0.2",
    ),
    "a choice the other way": (
        lambda o, q, k, v: softmax(torch.where(
            shown(o, 5) == 0, torch.tensor(-1e9), q @ k.transpose(-2, -1) / ROOT
        )) @ v,
        "causal = true",
    ),
    "a table that is added": (
        lambda o, q, k, v: softmax(q @ k.transpose(-2, -1) / ROOT + o.low) @ v, "causal = true",
    ),
    "a table that is computed": (
        lambda o, q, k, v: softmax(
            torch.triu(torch.full((5, 5), float("-inf")), diagonal=1) + q @ k.transpose(2, 3) / ROOT
        ) @ v,
        "causal = true",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", TOGETHER)
def test_attention_that_is_written_out_is_one_layer(what: str) -> None:
    attend, options = TOGETHER[what]
    torch.manual_seed(0)
    text = text_of(Written(attend))
    assert "softmax" not in text
    assert "matmul" not in text
    (call,) = (line for line in text.splitlines() if "attention(" in line)
    inside = call.partition("attention(")[2].partition(")")[0]
    assert ", ".join(inside.split(", ")[3:]) == options


def twice(own: Written, q: Any, k: Any, v: Any) -> Any:
    scores = q @ k.transpose(-2, -1) / ROOT
    return softmax(scores) @ v + scores.sum(-1, keepdim=True)


APART: dict[str, Scores] = {
    "another scale": lambda o, q, k, v: softmax(q @ k.transpose(-2, -1)) @ v,
    "another axis": lambda o, q, k, v: F.softmax(q @ k.transpose(-2, -1) / ROOT, dim=-2) @ v,
    "an earlier key alone": lambda o, q, k, v: softmax(
        (q @ k.transpose(-2, -1) / ROOT).masked_fill(o.mask[:, :, 1:6, :5] == 0, -1e9)
    ) @ v,
    "a mask that hides little": lambda o, q, k, v: softmax(
        (q @ k.transpose(-2, -1) / ROOT).masked_fill(shown(o, 5) == 0, -3.0)
    ) @ v,
    "scores that are read again": twice,
    "a bias that is learned": lambda o, q, k, v: softmax(
        q @ k.transpose(2, 3) / ROOT + o.near
    ) @ v,
}  # fmt: skip


@pytest.mark.parametrize("what", APART)
def test_what_only_looks_like_attention_stays_as_it_is_written(what: str) -> None:
    torch.manual_seed(0)
    text = text_of(Written(APART[what]))
    assert "softmax" in text
    assert "attention(" not in text


def test_a_mask_that_no_file_saves_is_gone_without_a_trace() -> None:
    attend, _ = TOGETHER["a mask that is stored"]
    assert "mask" not in text_of(Written(attend, saved=False))


def text_of(module: Any) -> str:
    net = netspec.from_torch(module, torch.randn(2, 5, 8), prove="full")
    assert net.written is not None
    return str(net.written.module.source.text)


def by_places(x: Any, times: int) -> Any:
    return x.repeat_interleave(times, dim=1)


def as_llama(x: Any, times: int) -> Any:
    b, heads, t, d = x.shape
    return x[:, :, None, :, :].expand(b, heads, times, t, d).reshape(b, heads * times, t, d)


class Grouped(nn.Module):
    """Queries of four heads, of which two share a key and a value."""

    def __init__(self, repeat: Callable[[Any, int], Any], heads: int, *, is_written: bool) -> None:
        super().__init__()
        self.repeat, self.heads, self.is_written = repeat, heads, is_written
        self.q, self.k, self.v = nn.Linear(8, 8), nn.Linear(8, 2 * heads), nn.Linear(8, 2 * heads)

    def forward(self, x: Any) -> Any:
        b, t, _ = x.shape
        q = self.q(x).view(b, t, 4, 2).transpose(1, 2)
        held = (p.view(b, t, self.heads, 2).transpose(1, 2) for p in (self.k(x), self.v(x)))
        k, v = (self.repeat(p, 4 // self.heads) for p in held)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        if self.is_written:
            later = torch.ones(t, t, dtype=torch.bool).triu(1)
            scores = q @ k.transpose(-2, -1) / math.sqrt(2)
            y = softmax(scores.masked_fill(later, -math.inf)) @ v
        return y.transpose(1, 2).reshape(b, t, 8)


@pytest.mark.parametrize("is_written", [True, False])
@pytest.mark.parametrize("heads", [1, 2])
@pytest.mark.parametrize("repeat", [by_places, as_llama])
def test_heads_that_share_keys_are_not_repeated(
    repeat: Callable[[Any, int], Any], heads: int, is_written: bool
) -> None:
    torch.manual_seed(0)
    module = Grouped(repeat, heads, is_written=is_written)
    net = netspec.from_torch(module, torch.randn(2, 5, 8), prove="full")
    text = net.written.module.source.text
    assert "attention(" in text
    assert "expand" not in text


def test_heads_that_are_repeated_in_another_order_stay_so() -> None:
    torch.manual_seed(0)
    module = Grouped(lambda x, times: x.repeat(1, times, 1, 1), 2, is_written=False)
    with pytest.raises(netspec.NetspecError, match="`repeat` cannot be expressed"):
        netspec.from_torch(module, torch.randn(2, 5, 8))
