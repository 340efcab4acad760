"""Sizes that `forward` of a generated PyTorch module reads from its tensors."""

from __future__ import annotations

import inspect
import re

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

import netspec  # noqa: E402
from tests.helpers.torch_support import check_against, check_equal, classes  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")

# The number of positions is what a reshape leaves: no expression of the file says it.
POSITIONS = """
block Rows(kind) x {
    y = x -> reshape([-1, x.features]) -> linear(x.features)
    return (y -> Never) if kind == "never" else y
}
block Never x { return x -> relu }
block Residual(kind) x { return x + (x -> Rows(kind) -> drop_path(0.2)) }
net N(size = 8, patch = 2, width = 6, depth = 2, kind = "rows") {
    input image: [3, size, size]
    x = image
        -> conv(width, patch, stride = patch) -> reshape([width, -1]) -> permute([2, 1])
    for i in range(depth) { x = x -> b{i}: Residual(kind) }
    output x -> mean(1)
}
"""


def test_a_size_that_is_another_number_in_other_runs_is_read() -> None:
    net = netspec.loads(POSITIONS)
    source = net.source("torch")
    assert not re.search(r"\b16\b", source.split("class ", 1)[1].partition("Parameters")[0])
    check_equal(net)
    module = classes(source)["N"]
    given = {"patch": 3, "width": 4, "depth": 1}
    assert given.keys() <= inspect.signature(module).parameters.keys()
    check_against(module(**given).double(), netspec.loads(POSITIONS, size=12, **given).graph)


def test_the_shape_of_a_value_is_written_as_that() -> None:
    source = netspec.loads(POSITIONS).source("torch")
    assert ".shape,\n" in source or ".shape)" in source
    assert "out.shape[0], out.shape[1], out.shape[2])" not in source
