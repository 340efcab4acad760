"""The printed NumPy program: what a reader sees."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import netspec

NETWORKS = Path(__file__).parents[2] / "networks"
# What runs below a comment, by the op that the comment names.
RUNS = {
    "conv": r"conv\.|conv\w*\(", "max_pool": r"pool\.max_", "relu": r"relu(_grad)?\w*\(",
    "linear": r"linear\.",
}  # fmt: skip


@pytest.mark.parametrize("training", [True, False])
def test_comments_name_what_stands_below_them(training: bool) -> None:
    """LeNet's pools are computed before its ReLUs, and the comments say so."""
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
