"""Generation that reads each token once gives what is computed from the whole window."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netspec
from netspec.diagnostics import NetspecError
from netspec.runtime.models import numpy_model
from netspec.runtime.models.continuing import why_not_continued
from netspec.runtime.models.generation import Sampling, generate
from tests.helpers.zoo import WRITERS

ZOO = Path(__file__).parents[2] / "networks/zoo"
SMALL: dict[str, dict[str, Any]] = {
    "gpt2": {"vocabulary": 13, "width": 12, "layers": 2, "heads": 3, "positions": 20},
    "char_lstm": {"vocabulary": 13, "width": 6, "layers": 2},
    "llama": {"vocabulary": 13, "width": 16, "layers": 2, "heads": 4, "shared": 2, "hidden": 24},
}
# Prompts with the number of tokens that follow in a window of 20: read token by token, read at once,
# the longest that fits, and longer than the window. Some go on behind the window.
PROMPTS = [([7], 21), ([*range(12), *range(6)], 4), ([5, 6] * 10, 2), ([*range(13), *range(13)], 1)]
OWN = {
    "rnn": "embedding(13, 5) -> rnn(6, layers = 2) -> linear(13)",
    "rnn with relu": 'embedding(13, 5) -> rnn(6, nonlinearity = "relu", bias = false) -> linear(13)',
    "gru": "embedding(13, 5) -> gru(6) -> linear(13)",
    "scan": "embedding(13, 5) -> cell: Cell(6) -> linear(13)",
    "reductions": "embedding(13, 6) -> Gated -> softmax(axis = -1) -> linear(13)",
    "a layer by itself": "embedding(13, 6) -> linear(13)",
}
BLOCKS = """
scan block Cell(width) x {
    state h: [width] = constant(0.25)
    state best: [width] = zeros
    h = tanh((x -> ih: linear(width)) + (h -> hh: linear(width)))
    best = maximum(best, h)
    return h + best
}
block Gated x {
    a, b = x -> split(2, axis = -1)
    scale = rsqrt(mean(x ** 2, -1, keep = true) + 1e-5)
    y = (a, (b -> sigmoid)) -> concat(2)
    z = einsum("btd,btd->btd", y * scale, x) -> reshape([-1, 2, 3]) -> layer_norm(axes = 1)
    return z -> permute([2, 1, 3]) -> permute([2, 1, 3]) -> reshape([-1, 6])
}
"""


def own(name: str) -> netspec.Net:
    body = f"net A {{ input tokens: int[T]\n output tokens -> {OWN[name]} }}"
    return netspec.loads(BLOCKS + body, T=20)


def nets() -> Iterator[tuple[str, Callable[[], netspec.Net]]]:
    for name in WRITERS:
        yield name, lambda name=name: netspec.load(ZOO / f"{name}.net", **SMALL[name], T=20)
    for name in OWN:
        yield name, lambda name=name: own(name)


NETS = dict(nets())


def with_values(net: netspec.Net, target: str) -> Any:
    """Return a model whose scores are far apart."""
    model = net.compile(target, dtype="float64")
    rng = np.random.default_rng(0)
    state = model.state_dict()
    model.load_state_dict({n: rng.standard_normal(a.shape) * 0.7 for n, a in state.items()})
    return model


@pytest.mark.parametrize(
    ("name", "target"),
    [
        *((name, "numpy") for name in NETS),
        *(
            pytest.param(name, "c", marks=[pytest.mark.heavy] if name in ("gpt2", "llama") else [])
            for name in NETS
            if name != "scan"
        ),
        *((name, "torch") for name in (*WRITERS, "gru", "scan")),
    ],
)
def test_the_same_tokens_as_from_the_whole_window(name: str, target: str) -> None:
    if target == "torch":
        pytest.importorskip("torch", reason="PyTorch is not installed")
    model = with_values(NETS[name](), target)
    passes, whole = 0, model.forward

    def forward(window: Any) -> Any:
        nonlocal passes
        passes += 1
        return whole(window)

    model.forward = forward
    for prompt, length in PROMPTS if target == "numpy" else PROMPTS[1:]:
        sampling = Sampling(temperature=0.8, seed=len(prompt))
        expected = [*generate(model.graph, whole, prompt, length, sampling)]
        passes = 0  # of the whole window
        assert [*model.generate(prompt, length, sampling)] == expected
        # One token for each place that is left; behind that the window is computed.
        assert passes == length - min(length, max(0, 20 - len(prompt) + 1))


@pytest.mark.parametrize(("name", "target"), [("llama", "torch"), ("scan", "numpy")])
def test_scores_are_those_of_the_whole_window(name: str, target: str) -> None:
    if target == "torch":
        pytest.importorskip("torch", reason="PyTorch is not installed")
    model = with_values(NETS[name](), target)
    tokens = np.random.default_rng(3).integers(0, 13, 20)
    whole = model.forward(tokens[None])[0]
    reader = model._continued()
    ends = [17, 18, 19, 20]
    parts = itertools.pairwise([0, *ends])
    for start, end in parts:
        found = reader.scores(tokens[start:end].tolist())
        assert np.abs(found - whole[end - 1]).max() <= 1e-12 * max(1, np.abs(whole).max())


def test_a_graph_is_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = with_values(own("scan"), "numpy")
    made = []
    program_of = numpy_model.program_of
    monkeypatch.setattr(numpy_model, "program_of", lambda *a: made.append(a) or program_of(*a))
    first, second = ([*model.generate([1, 2], 5)] for _ in range(2))
    assert first == second
    assert len(made) == 1
    model.freeze(())  # which allots the parameters anew
    assert [*model.generate([1, 2], 5)] == first


WHOLE = [
    (
        "mean(x, 1, keep = true) + x",
        r"`mean\(1, keep = true\)` at <text>:4:\d+ has one value for all",
    ),
    ("x -> permute([2, 1]) -> conv(4, 3, pad = 1) -> permute([2, 1])", "a position from others"),
    ("x -> roll(1, 1)", "a position from others"),
    ("x -> cumsum(1)", "a position from others"),
    ("x -> softmax(axis = 1)", "a position from others"),
    ("attention(x, x, x)", "is not causal"),
    ("attention(x, x, x, x -> sum(2), masked = true, causal = true)", "has a mask"),
    ("x -> lstm(2, bidirectional = true)", "goes over the positions backward too"),
    ("(x, first) -> gru(4)", "begins with a state that is computed"),
    ("matmul(matmul(x, x -> permute([2, 1])), x)", "another place for each two positions"),
    ("x -> reshape([20, 4])", "one length alone"),
    ("x -> permute([2, 1]) -> reshape([-1, 4])", "a position from others"),
    ("x -> permute([2, 1]) -> scale -> permute([2, 1])", "for each position"),
    ("x -> permute([2, 1]) -> linear(20) -> permute([2, 1])", "one value for all positions"),
]


@pytest.mark.parametrize(("text", "why"), WHOLE)
def test_what_is_computed_from_the_whole_window_says_why(text: str, why: str) -> None:
    net = netspec.loads(
        "net A { input tokens: int[T]\n parameter first: [4] = zeros\n"
        f" x = tokens -> embedding(13, 4)\n y = {text}\n"
        " output y -> linear(13) }",
        T=20,
    )
    found = why_not_continued(net.graph)
    assert found is not None
    assert re.search(why, found), found
    model = with_values(net, "numpy")
    assert model._continued() is None
    assert len([*model.generate([1, 2], 3)]) == 3


def test_a_token_that_is_unknown_has_its_place() -> None:
    model = with_values(NETS["gpt2"](), "numpy")
    with pytest.raises(NetspecError, match=r"holds 13 at \[0, 2\]"):
        next(model.generate([1, 2, 13]))


def test_damaged_weights_are_said() -> None:
    model = with_values(NETS["char_lstm"](), "numpy")
    model.parameters["head.bias"][:] = np.nan
    with pytest.raises(NetspecError, match="not finite"):
        next(model.generate([1, 2]))
