"""The error function, compared with SciPy's."""

from __future__ import annotations

import numpy as np
import pytest

from netspec.kernels.erf import BLOCK, erf

X = np.concatenate(
    [np.linspace(-8, 8, 10001), np.logspace(-300, 0, 301), [np.inf, -np.inf, 0.0, -0.0, 1e30]]
)


@pytest.mark.parametrize(("dtype", "tolerance"), [("f8", 2e-15), ("f4", 4e-7)])
def test_the_error_function_is_scipys(dtype: str, tolerance: float) -> None:
    special = pytest.importorskip("scipy.special")
    with np.errstate(under="ignore"):
        x = X.astype(dtype)
    with np.errstate(all="raise"):
        found = erf(x, out=np.empty_like(x))
    assert found.dtype == dtype
    assert np.abs(found - special.erf(x)).max() <= tolerance
    assert (np.signbit(found) == np.signbit(x)).all()
    far = np.abs(x) > (6 if dtype == "f8" else 4)
    assert (np.abs(found[far]) == 1).all()


def test_nan_stays_nan() -> None:
    assert np.isnan(erf(np.array([np.nan, 1.0]), out=np.empty(2))).tolist() == [True, False]


def test_in_place_and_by_blocks() -> None:
    x = np.random.default_rng(0).normal(size=(3, BLOCK - 1))
    whole = erf(x, out=np.empty_like(x))
    one_by_one = [erf(row, out=np.empty_like(row)) for row in x]
    assert np.array_equal(whole, one_by_one)
    assert erf(x, out=x) is x
    assert np.array_equal(x, whole)


def test_rows_and_numbers_are_broadcast() -> None:
    row = np.array([0.5, -1.0])
    found = erf(row, out=np.empty((3, 2)))
    assert np.array_equal(found, np.tile(erf(row, out=np.empty(2)), (3, 1)))
    assert erf(0.5, out=np.empty(1))[0] == found[0, 0]
