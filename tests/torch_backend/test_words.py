"""Arguments that are words, which conditions ask for."""

from __future__ import annotations

import inspect

import pytest

pytest.importorskip("torch")

import netspec
from tests.helpers.torch_support import check_against, check_text, classes

BY_WORD = """
block B(hidden, act) x {
    y = x -> fc1: linear(hidden)
    y = (y -> gelu) if act == "gelu" else (y -> relu)
    return x + (y -> fc2: linear(x.features))
}
net T(depth = 24, width = 8, act = "gelu") {
    input x: [5, width]
    for i in range(depth) { x = x -> blocks.{i}: B(2 * width, act) }
    output x
}"""

# Nothing calls `Scaled` as the net is: what it would be has no class.
UNCALLED = """
block Scaled x {
    parameter weight: [x.features] = ones
    return x * (weight -> unsqueeze(1))
}
inline block Norm(kind, label) x {
    return (x -> {label}: Scaled) if kind == "scaled" else (x -> {label}: layer_norm)
}
block B(hidden, norm, act) x {
    y = x -> Norm(norm, "norm1") -> fc1: linear(hidden)
    if act == "swiglu" {
        y = (y -> silu) * (y -> gate: linear(hidden))
    } else if act == "gelu" {
        y = y -> gelu
    } else {
        y = y -> relu
    }
    return x + (y -> fc2: linear(x.features))
}
net U(depth = 20, width = 8, norm = "layer", act = "gelu") {
    input x: [5, width]
    for i in range(depth) { x = x -> blocks.{i}: B(2 * width, norm, act) }
    output x -> Norm(norm, "norm")
}"""

# 225 pixels give as many patches as 224: that shows nothing of what depends on the size.
PATCHES = """
block ByHead(heads) x {
    return x -> reshape([-1, heads, x.features // heads]) -> permute([2, 1, 3])
}
block Mixed(heads) x {
    v = x -> ByHead(heads)
    scores = einsum("bhqd,bhkd->bqkh", v, v) -> softmax(axis = 2)
    y = einsum("bqkh,bhkd->bqhd", scores, v)
    return y -> reshape([-1, x.features])
}
block Residual(heads, act) x {
    y = (x -> gelu) if act == "gelu" else (x -> relu)
    return x + (y -> Mixed(heads) -> drop_path(0.0))
}
net P(size = 33, patch = 8, width = 8, heads = 2, act = "gelu") {
    input image: [3, size, size]
    parameter places: [1, (size // patch) ** 2, width] = normal(0.1)
    x = image -> conv(width, patch, stride = patch) -> reshape([width, -1]) -> permute([2, 1])
    output x + places -> Residual(heads, act) -> mean(1)
}"""


def test_a_word_is_an_argument_of_the_class():
    net = netspec.loads(BY_WORD)
    source = net.source("torch")
    assert source.count("\nclass ") == 2
    assert "for i in range(depth):" in source
    made = classes(source)["T"]
    assert list(inspect.signature(made).parameters) == ["depth", "width", "act"]
    for given in ({}, {"act": "relu", "depth": 3}, {"act": "other", "width": 4}):
        check_against(made(**given).double(), netspec.loads(BY_WORD, **given).graph)


@pytest.mark.parametrize("text", [UNCALLED, UNCALLED.replace(" -> unsqueeze(1)", "")])
def test_a_case_that_would_call_what_nothing_calls_is_left_out(text):
    """Nor does one stay that cannot be built."""
    net = netspec.loads(text)
    source = net.source("torch")
    assert source.count("\nclass ") == 2
    assert "for i in range(depth):" in source
    made = classes(source)["U"]
    assert list(inspect.signature(made).parameters) == ["depth", "width", "act"]
    for given in ({"depth": 2}, {"act": "swiglu", "depth": 3, "width": 4}):
        check_against(made(**given).double(), netspec.loads(text, **given).graph)


def test_the_case_of_another_word_when_it_is_given():
    check_text(UNCALLED.replace('norm = "layer"', 'norm = "scaled"').replace("20", "2"))


def test_a_size_with_which_no_layer_changes_is_not_enough():
    """What the class takes, it takes rightly."""
    net = netspec.loads(PATCHES)
    made = classes(net.source("torch"))["P"]
    taken = inspect.signature(made).parameters
    assert "act" in taken
    for given in ({"size": 24}, {"size": 40}, {"patch": 4}, {"width": 12}, {"act": "relu"}):
        if given.keys() <= taken.keys():
            check_against(made(**given).double(), netspec.loads(PATCHES, **given).graph)
