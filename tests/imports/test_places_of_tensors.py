"""Tensors of a model where it holds and reads them: in modules that compute nothing, and twice."""

from __future__ import annotations

from typing import Any

import pytest

import netspec
from netspec import NetspecError

torch = pytest.importorskip("torch")
nn = torch.nn


class RmsNorm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(8))

    def forward(self, x: Any) -> Any:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * self.weight


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.mlp = RmsNorm(), nn.Linear(8, 8)

    def forward(self, x: Any, bias: Any) -> Any:
        return x + self.mlp(self.norm(x)) + bias


class Stack(nn.Module):
    """Blocks that are given one buffer, as it is converted for each of them."""

    def __init__(self, *, is_saved: bool) -> None:
        super().__init__()
        self.h = nn.ModuleList(Block() for _ in range(2))
        self.register_buffer("bias", torch.randn(5, 8), persistent=is_saved)

    def forward(self, x: Any) -> Any:
        for block in self.h:
            x = block(x, self.bias.to(x.dtype))
        return x


@pytest.mark.parametrize("is_saved", [True, False])
def test_a_buffer_that_is_converted_to_its_own_kind_is_one_tensor(is_saved: bool) -> None:
    net = netspec.from_torch(Stack(is_saved=is_saved), torch.randn(2, 5, 8))
    text = net.written.module.source.text
    assert text.count("bias: [5, 8]") == 1
    assert "block RmsNorm" in text


class Shifted(nn.Module):
    """A tensor that has no name in a file, behind blocks that are sound."""

    def __init__(self) -> None:
        super().__init__()
        self.norms = nn.ModuleList(RmsNorm() for _ in range(2))
        self.held = nn.ParameterDict({"shift": nn.Parameter(torch.randn(8))})

    def forward(self, x: Any) -> Any:
        for norm in self.norms:
            x = norm(x)
        return x + self.held["shift"]


def test_the_cause_is_told_and_not_what_lacks_a_name_without_blocks() -> None:
    with pytest.raises(NetspecError) as caught:
        netspec.from_torch(Shifted(), torch.randn(2, 5, 8))
    (error,) = caught.value.diagnostics
    assert "`held.shift` is a tensor whose name has dots" in error.message
    assert error.notes[0].endswith('return x + self.held["shift"]')


class Factors(nn.Module):
    """Factors for each channel that a module only holds, and for each place of an axis."""

    def __init__(self, shape: tuple[int, ...], factors: tuple[int, ...], first: bool) -> None:
        super().__init__()
        self.gain = nn.ParameterDict({"weight": nn.Parameter(torch.full(shape, 0.5))})
        self.factors, self.first = factors, first

    def forward(self, x: Any) -> Any:
        weight = self.gain["weight"].reshape(self.factors)
        return weight * x if self.first else x * weight


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(("x", "factors"), [((4, 5, 6), (4, 1, 1)), ((5, 4), (4,)), ((4,), (4,))])
def test_factors_that_a_module_holds_are_a_scale(
    x: tuple[int, ...], factors: tuple[int, ...], first: bool
) -> None:
    net = netspec.from_torch(Factors((4,), factors, first), torch.randn(2, *x), prove="full")
    assert "x -> gain: scale(start = 0.5)" in net.written.module.source.text


@pytest.mark.parametrize(
    ("shape", "factors", "x"),
    [((4,), (4, 1), (4, 4)), ((1,), (1,), (5, 4)), ((5, 4), (5, 4), (5, 4))],
)
def test_other_factors_are_refused_by_name(
    shape: tuple[int, ...], factors: tuple[int, ...], x: tuple[int, ...]
) -> None:
    with pytest.raises(NetspecError, match=r"`gain\.weight` is a tensor whose name has dots"):
        netspec.from_torch(Factors(shape, factors, False), torch.randn(2, *x))
