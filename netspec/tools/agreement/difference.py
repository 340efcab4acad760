"""How far apart two arrays are, as all comparisons of netspec measure it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def difference(a: Array, b: Array) -> tuple[float, tuple[int, ...]]:
    """The least `tol` with |a - b| <= tol * max(1, max|a|), and the index of the largest |a - b|.

    Equal infinities and equal NaNs agree. An infinity or NaN is infinitely far from anything else,
    and so are arrays of different shapes.
    """
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape:
        return float("inf"), (0,) * a.ndim
    if a.size == 0:
        return 0.0, ()
    apart, peak = distances(a, b)
    index = np.unravel_index(int(apart.argmax()), apart.shape)
    return float(apart[index]) / max(1.0, peak), tuple(int(i) for i in index)


def distances(a: Array, b: Array) -> tuple[Array, float]:
    """|a - b| of arrays of one shape, by the rules of `difference`, and the largest finite |a|."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        apart = np.where(same, 0.0, np.abs(a - b))
    finite = np.abs(a[np.isfinite(a)])
    return np.where(np.isnan(apart), np.inf, apart), float(finite.max(initial=0.0))
