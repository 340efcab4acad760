"""`~mask` in a PyTorch model: a choice with its values exchanged, and no choice for the mask alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import netspec

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

LAST = {
    "filled": (lambda own, a, x: a.masked_fill(~own.mask, 0.5), "where(mask, l, otherwise = 0.5)"),
    "values": (lambda own, a, x: torch.where(~(a > 0), x, a), "where(l, l, x)"),
    "a number behind": (lambda own, a, x: torch.where(~own.mask, a, -1e4),
                        "where(mask, l, then = -10000.0)"),
    "at least": (lambda own, a, x: torch.where(a >= 0.5, a, x), "where(y, x, l)"),
    "a factor": (lambda own, a, x: a * ~(x > 0), "x -> where(then = 0.0, otherwise = 1.0)"),
}  # fmt: skip


class Chosen(torch.nn.Module):  # type: ignore[misc,name-defined]
    def __init__(self, chosen: Callable[[Any, Any, Any], Any]) -> None:
        super().__init__()
        self.chosen, self.l = chosen, torch.nn.Linear(4, 4)
        self.register_buffer("mask", torch.tensor([True, False, False, True]))

    def forward(self, x: Any) -> Any:
        return self.chosen(self, self.l(x), x)


def text_of(chosen: Callable[[Any, Any, Any], Any]) -> str:
    """The text of a model, which the import has proved."""
    written = netspec.from_torch(Chosen(chosen), torch.randn(2, 4)).written
    assert written is not None
    return written.module.source.text


@pytest.mark.parametrize("what", LAST)
def test_a_condition_that_is_turned_round_exchanges_the_values(what: str) -> None:
    chosen, written = LAST[what]
    text = text_of(chosen)
    assert written in text
    assert text.count("where") == 1


def test_a_turned_condition_that_is_read_twice_stays() -> None:
    def both(own: Any, a: Any, x: Any) -> Any:
        hidden = ~(a > x)
        return torch.where(hidden, a, x) * torch.where(hidden, x, 2.0)

    text = text_of(both)
    assert text.count("where(then = 0.0, otherwise = 1.0)") == 1
    assert text.count("where(") == 3
