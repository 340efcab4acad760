"""The printed NumPy program: what a reader sees."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import netspec
from netspec.compiler.numpy_backend import emit, emit_elementwise

NETWORKS = Path(__file__).parents[2] / "networks"
# The statements below a comment, by the op that the comment names.
RUNS = {
    "conv": r"conv\.|conv\w*\(", "max_pool": r"pool\.max_", "relu": r"relu(_grad)?\w*\(",
    "linear": r"linear\.",
}  # fmt: skip


@pytest.mark.parametrize("training", [True, False])
def test_comments_name_what_stands_below_them(training: bool) -> None:
    """The pools of LeNet are computed before its ReLUs, and the comments say so."""
    text = netspec.load(NETWORKS / "lenet.net").source("numpy", training=training)
    told = re.findall(r"# line \d+: \S+ = (\w+).*\n    (.*)", text)
    assert [op for op, _ in told][:3] == ["conv", "max_pool", "relu"]
    for op, below in told:
        if op in RUNS:
            assert re.match(RUNS[op], below), f"{op}: {below}"


def test_formulas_that_differ_in_sizes_alone_share_a_function() -> None:
    text = netspec.load(NETWORKS / "zoo/densenet121.net", layers=[2, 4, 2, 2]).source("numpy")
    functions = re.findall(r"^def (\w+)\(.*\n    \"\"\"(.*)", text, re.MULTILINE)
    assert len(functions) <= 14
    assert len(set(functions)) == len(functions)
    assert {"batch_norm_relu", "relu_grad", "batch_norm_grad"} <= {name for name, _ in functions}


def test_many_formulas_under_one_name_are_written_twice_at_most(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A formula is written once under the wanted name, to compare it, and once under its own name."""
    layers = "".join(f" -> leaky_relu(0.{i:03}) -> linear(2)" for i in range(1, 60))
    net = netspec.loads(f"net N {{\n    input x: [2]\n    output x{layers}\n}}\n")
    written = []
    monkeypatch.setattr(emit, "emit", lambda step, name: written.append(name) or real(step, name))
    real = emit_elementwise.emit
    text = net.source("numpy")
    functions = re.findall(r"^def (leaky_relu\w*)\(", text, re.MULTILINE)
    assert functions[:3] == ["leaky_relu", "leaky_relu_2", "leaky_relu_3"]
    assert len(functions) == len(set(functions)) == 117
    assert len(written) <= 2 * 117
