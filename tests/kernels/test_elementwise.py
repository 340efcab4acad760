"""The functions that fused elementwise code calls."""

from __future__ import annotations

import math

import numpy as np
import pytest

from netspec.kernels import elementwise

ODD = [math.nan, math.inf, -math.inf, -0.0, 0.0, 1e-45, 3.4e38]


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("into", ["new", "spare", "then", "otherwise"])
def test_every_bit_is_selected_into_any_memory(dtype, into):
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 3, 101)).astype(dtype)
    for x in (a, b):
        x.reshape(-1)[rng.permutation(x.size)[: 5 * len(ODD)]] = ODD * 5
    condition = rng.random(a.shape) < 0.5
    expected = np.where(condition, a, b)
    mask, spare, out = (np.full(a.shape, np.nan, dtype) for _ in range(3))
    then, otherwise = a.copy(), b.copy()
    out = {"new": out, "spare": spare, "then": then, "otherwise": otherwise}[into]
    elementwise.select(condition, then, otherwise, mask, spare, out=out)
    assert out.tobytes() == expected.tobytes()


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("value", [*ODD, 0.1, 1, -1.5])
def test_numbers_and_rows_are_selected_too(dtype, value):
    x = np.arange(12.0).reshape(3, 4).astype(dtype)
    row, condition = x[1] * 10, x % 2 == 0
    mask, spare, out = (np.empty_like(x) for _ in range(3))
    for then, otherwise in ((value, x), (x, value), (row, value), (value, 2.0), (x, row)):
        elementwise.select(condition, then, otherwise, mask, spare, out=out)
        expected = np.where(condition, np.asarray(then, dtype), np.asarray(otherwise, dtype))
        assert out.tobytes() == expected.tobytes()
