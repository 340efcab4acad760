"""Numbers of a model that no file can say, or that a trace says in another way than a person."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

import netspec
from netspec import NetspecError

torch = pytest.importorskip("torch")
nn = torch.nn
F = torch.nn.functional

Function = Callable[[Any], Any]
INF, NAN = math.inf, math.nan
HIDDEN = torch.tensor([True, False, False, False, True])


class Behind(nn.Module):
    """A function behind a layer."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        self.function, self.fc = function, nn.Linear(5, 5)

    def forward(self, x: Any) -> Any:
        return self.function(self.fc(x))


def text_of(module: Any, *example: Any, **options: Any) -> str:
    torch.manual_seed(0)
    given = example if example else (torch.randn(2, 5),)
    found = netspec.from_torch(module, given[0] if len(given) == 1 else given, **options)
    return str(found.written.module.source.text)


INFINITE: dict[str, tuple[Function, str]] = {
    "an end of a range": (lambda x: x.clamp(-1, INF), "high = 3.4e+38"),
    "both ends": (lambda x: F.hardtanh(x, -INF, INF), "low = -3.4e+38"),
    "a full tensor": (lambda x: torch.minimum(x, torch.full((5,), INF)), "[3.4e+38] * 5"),
    "one like another": (lambda x: torch.maximum(x, torch.full_like(x, -INF)), "number = -3.4e+38"),
    "a choice": (lambda x: torch.where(x > 0, x, -INF).softmax(-1), "otherwise = -3.4e+38"),
    "a new one": (
        lambda x: torch.where(x > 0, x, x.new_full((), -INF)).softmax(-1), "otherwise = -3.4e+38",
    ),
    "a mask": (lambda x: x.masked_fill(HIDDEN, -INF).softmax(-1), "then = -3.4e+38"),
    "a mask of what goes out": (lambda x: x.masked_fill(HIDDEN, -INF), "then = -3.4e+38"),
    "a mask of a maximum": (
        lambda x: x.masked_fill(HIDDEN, -INF).amax(-1, keepdim=True), "then = -3.4e+38",
    ),
    "a frame": (lambda x: F.pad(x[:, None], (1, 1), value=-INF).amax(-1), "value = -3.4e+38"),
    "a quotient": (lambda x: x / INF, "/ 3.4e+38"),
    "a comparison": (lambda x: x * (x > -INF), "- (-3.4e+38)"),
    "a threshold": (lambda x: F.softplus(x, threshold=INF), "threshold = 3.4e+38"),
}  # fmt: skip


@pytest.mark.parametrize("what", INFINITE)
def test_an_infinite_number_is_the_largest(what: str) -> None:
    function, written = INFINITE[what]
    assert written in text_of(Behind(function))


NO_NUMBER = "one of its arguments is no number"
WITHOUT: dict[str, tuple[Function, str]] = {
    "an end": (lambda x: x.clamp(min=NAN), NO_NUMBER),
    "a table": (lambda x: x + torch.full((5,), NAN), NO_NUMBER),
    "a choice": (lambda x: torch.where(x > 0, x, NAN), NO_NUMBER),
    "one like another": (lambda x: torch.where(x > 0, x, torch.full_like(x, NAN)), NO_NUMBER),
    "a mask": (lambda x: x.masked_fill(x > 0, NAN), NO_NUMBER),
    "a product": (lambda x: x * NAN, NO_NUMBER),
    "what a layer refuses": (
        lambda x: F.layer_norm(x, (5,), eps=INF), "`eps` must be a number in (0, 1]",
    ),
    "what no layer does": (lambda x: x.nan_to_num(0.0, INF, -INF), "netspec has no such layer"),
    "what is infinite then": (lambda x: x * INF, "the net computes something else"),
}  # fmt: skip


@pytest.mark.parametrize("what", WITHOUT)
def test_what_is_no_number_is_an_error_of_the_import(what: str) -> None:
    function, message = WITHOUT[what]
    with pytest.raises(NetspecError) as caught:
        text_of(Behind(function))
    assert message in str(caught.value)


def test_a_norm_whose_epsilon_is_no_number_is_an_error_of_the_import() -> None:
    with pytest.raises(NetspecError, match=NO_NUMBER):
        text_of(nn.Sequential(nn.BatchNorm1d(5, eps=NAN)))


class Added(nn.Module):
    def __init__(self, first: float, *, is_learned: bool) -> None:
        super().__init__()
        held = torch.tensor([first, 0.5, 0.25, 2, 1])
        if is_learned:
            self.p = nn.Parameter(held)
        else:
            self.register_buffer("p", held)

    def forward(self, x: Any) -> Any:
        return (x + self.p).softmax(-1)


def test_stored_numbers_that_are_infinite_or_none() -> None:
    assert "[-3.4e+38, 0.5, 0.25, 2, 1]" in text_of(Added(-INF, is_learned=False))
    for number, is_learned in ((NAN, False), (NAN, True), (INF, True)):
        with pytest.raises(NetspecError, match="import/inexpressible"):
            text_of(Added(number, is_learned=is_learned))


class Scores(nn.Module):
    """Attention with scores of its own."""

    def __init__(self, masked: Callable[[Scores, Any], Any]) -> None:
        super().__init__()
        self.masked, self.q, self.k = masked, nn.Linear(8, 8), nn.Linear(8, 8)
        self.register_buffer("near", torch.randn(5, 5), persistent=False)
        self.register_buffer("shown", torch.ones(5, 5, dtype=torch.bool).tril())

    def forward(self, x: Any) -> Any:
        scores = self.q(x) @ self.k(x).transpose(-1, -2)
        return self.masked(self, scores).softmax(-1) @ x


MASKED: dict[str, Callable[[Scores, Any], Any]] = {
    "unscaled": lambda own, s: s.masked_fill(torch.ones(5, 5).triu(1).bool(), -INF),
    "with a bias": lambda own, s: (s / 8**0.5 + own.near).masked_fill(
        ~torch.ones(5, 5, dtype=torch.bool).tril(), -INF
    ),
    "a stored mask of booleans, turned round": lambda own, s: s.masked_fill(~own.shown, -INF),
    "a stored mask of booleans": lambda own, s: torch.where(own.shown, s, -INF),
    "booleans as numbers": lambda own, s: s + (1 - own.shown.float()) * -1e9,
}


@pytest.mark.parametrize("what", MASKED)
def test_masks_of_scores_come_in(what: str) -> None:
    text = text_of(Scores(MASKED[what]), torch.randn(2, 5, 8), prove="full")
    assert "softmax(axis = 2)" in text


REPEATED: dict[str, tuple[Function, str]] = {
    "each place": (
        lambda x: x.repeat_interleave(3, 1),
        "unsqueeze(2) -> expand([5, 3]) -> reshape([15])",
    ),
    "the only place": (
        lambda x: torch.repeat_interleave(x.view(-1, 5, 1), 3, dim=-1), "expand([5, 3])",
    ),
    "once": (lambda x: x.repeat_interleave(1, 1), "output x -> fc: linear(5)  # [5]"),
}  # fmt: skip


@pytest.mark.parametrize("what", REPEATED)
def test_places_are_repeated_one_by_one(what: str) -> None:
    function, written = REPEATED[what]
    assert written in text_of(Behind(function), prove="full")


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (lambda x: x.repeat_interleave(2, 0), "it goes over the images of the batch"),
        (lambda x: x.repeat_interleave(2), "its `dim` is not a fixed whole number"),
    ],
)
def test_images_are_not_repeated(function: Function, why: str) -> None:
    with pytest.raises(NetspecError, match=why):
        text_of(Behind(function))


QUOTIENTS: dict[str, tuple[Function, str]] = {
    "of 1": (lambda x: 1.0 / x.exp(), "output 1.0 / fc"),
    "of 2": (lambda x: 2 / x.exp(), "output 2.0 / fc"),
    "a reciprocal": (lambda x: x.exp().reciprocal(), "output 1.0 / fc"),
    "a product by 1": (lambda x: x.exp() * 1.0, "output x -> fc: linear(5) -> exp "),
    "a power": (lambda x: x.exp() ** -1, "output fc ** (-1"),
}


@pytest.mark.parametrize("what", QUOTIENTS)
def test_quotients_are_written_as_people_write_them(what: str) -> None:
    function, written = QUOTIENTS[what]
    assert written in text_of(Behind(function))


class Start(nn.Module):
    def __init__(self, values: Any) -> None:
        super().__init__()
        self.weight = nn.Parameter(values)

    def forward(self, x: Any) -> Any:
        return x * self.weight


@pytest.mark.parametrize(
    ("make", "rule"),
    [
        (lambda: torch.randn(500) * 0.04, "normal(0.04)"),
        (lambda: torch.randn(500) * 0.04 + 0.19, "normal(0.04, 0.19)"),
        (lambda: torch.rand(500), "normal(0.3, 0.51)"),
        (lambda: torch.full((500,), 0.1), "constant(0.1)"),
    ],
)
def test_what_numbers_are_spread_around_is_kept(make: Callable[[], Any], rule: str) -> None:
    torch.manual_seed(1)
    assert f"weight: [500] = {rule}" in text_of(Start(make()), torch.randn(2, 500))
