"""The speed the machine can reach: a large matrix product in float32."""

from __future__ import annotations

import time
from dataclasses import dataclass

SIZE = 1024
REPEATS = 12


@dataclass(frozen=True)
class Ceiling:
    """GFLOP/s of sgemm with as many threads as the peers have: the median and the best."""

    sustained: float
    best: float


def sgemm(threads: int) -> list[float]:
    """Return the GFLOP/s of some products of two square matrices, by NumPy's BLAS."""
    import numpy as np
    from threadpoolctl import threadpool_limits

    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((SIZE, SIZE), np.float32) for _ in range(2))
    out = np.empty_like(a)
    reached = []
    with threadpool_limits(threads, user_api="blas"):
        np.matmul(a, b, out=out)
        for _ in range(REPEATS):
            start = time.perf_counter()
            np.matmul(a, b, out=out)
            reached.append(2 * SIZE**3 / (time.perf_counter() - start) / 1e9)
    return reached


def ceiling(reached: list[float]) -> Ceiling:
    """Return the ceiling of all measurements."""
    from statistics import median

    return Ceiling(median(reached), max(reached))
