"""How far apart two arrays are, as all comparisons of netspec measure it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Distance:
    """How far apart two arrays are.

    Attributes:
        gap: the largest |a - b|.
        peak: the largest finite |a|.
        index: where the gap is.
    """

    gap: float
    peak: float
    index: tuple[int, ...]

    @property
    def size(self) -> float:
        """The gap relative to max(1, the largest)."""
        return self.gap / max(1.0, self.peak)

    @property
    def share(self) -> float:
        """The gap relative to the largest, however small that is."""
        if self.gap == 0 or self.peak == 0:
            return 0.0 if self.gap == 0 else float("inf")
        return self.gap / self.peak


def distance(a: Array, b: Array) -> Distance:
    """Measure how far apart two arrays are.

    Equal infinities and equal NaNs agree. An infinity or NaN is infinitely far from anything else,
    and so are arrays of different shapes.
    """
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape:
        return Distance(float("inf"), 0.0, (0,) * a.ndim)
    if a.size == 0:
        return Distance(0.0, 0.0, ())
    apart, peak = distances(a, b)
    index = np.unravel_index(int(apart.argmax()), apart.shape)
    return Distance(float(apart[index]), peak, tuple(int(i) for i in index))


def difference(a: Array, b: Array) -> tuple[float, tuple[int, ...]]:
    """The least `tol` with |a - b| <= tol * max(1, max|a|), and the index of the largest |a - b|, as
    `distance` measures it.
    """
    found = distance(a, b)
    return found.size, found.index


def distances(a: Array, b: Array) -> tuple[Array, float]:
    """|a - b| of arrays of one shape, by the rules of `difference`, and the largest finite |a|."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        apart = np.where(same, 0.0, np.abs(a - b))
    finite = np.abs(a[np.isfinite(a)])
    return np.where(np.isnan(apart), np.inf, apart), float(finite.max(initial=0.0))


def spread(array: Array) -> float:
    """Return how far numbers (N, ...) of different images at the same place are apart, at most."""
    finite = np.where(np.isfinite(array), array, 0.0).astype(np.float64)
    return float(np.ptp(finite, axis=0).max(initial=0)) if len(array) else 0.0


def share_of_spread(array: Array) -> float:
    """Return the same as a part of the largest finite number."""
    peak = distance(array, array).peak
    return spread(array) / (peak or 1.0)
