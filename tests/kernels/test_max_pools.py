"""Max pools of pictures with NaN: it is a maximum, and gets the gradient of its window."""

from __future__ import annotations

import numpy as np
import pytest

import netspec
from netspec.testing.op_examples import run_program, run_reference

POOLS = [
    "max_pool(2)", "max_pool(3, stride = 2, pad = 1)", "max_pool(3, stride = 1, pad = 1)",
    "max_pool(2, stride = 3)", "max_pool(2, dilation = 2)", "adaptive_max_pool(4)",
    "global_max_pool",
]  # fmt: skip


@pytest.mark.parametrize("pool", POOLS)
def test_nan_gets_the_gradient_of_the_windows_it_is_in(pool: str) -> None:
    graph = netspec.loads(f"net N {{\n input x: [3, 8, 8]\n output x -> {pool}\n}}").graph
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 3, 8, 8)).round(1)  # with maxima that are there twice
    x[0, 0, 1, 1] = x[0, 1, 2, 3] = x[1, 2, 4, 4] = np.nan
    x[1, 0, 4, 4] = x[1, 0, 4, 5] = np.inf
    name = next(iter(graph.outputs))
    dy = {name: rng.standard_normal((2, *graph.shape_of(graph.outputs[name])))}
    runs = [run(graph, {}, {"x": x}, dy, training=True) for run in (run_program, run_reference)]
    ours, exact = (run.input_gradients["x"] for run in runs)
    np.testing.assert_allclose(ours, exact, atol=1e-12)
    assert ours[np.isnan(x)].any()
