"""Slopes where a value equals the number that it is compared with."""

from __future__ import annotations

import numpy as np
import pytest

import netspec
from netspec.testing.op_examples import run_program, run_reference

CASES = {
    "maximum(x, 0)": [0, 0, 1, 1, 0],
    "maximum(0, x)": [0, 0, 1, 1, 0],
    "minimum(x, 0)": [1, 0, 0, 0, 0],
    "minimum(1, x)": [1, 1, 1, 0, 0],
    "clip(x, 0, 1)": [0, 0, 1, 0, 0],
    "clip(x, low = 1)": [0, 0, 0, 0, 0],
}


@pytest.mark.parametrize("call", CASES)
def test_at_the_end_of_a_range_and_for_nan_the_slope_is_0_as_in_pytorch(call: str):
    graph = netspec.loads(f"net A {{\n input x: [5]\n output {call}\n}}").graph
    x = {"x": np.array([[-1.0, 0.0, 0.5, 1.0, np.nan]])}
    dy = {"output": np.ones((1, 5))}
    for run in (run_reference, run_program):
        found = run(graph, {}, x, dy, training=False).input_gradients["x"]
        np.testing.assert_array_equal(found, [CASES[call]])
