"""Compares the speed of naive loops with the fast kernels, as the course's notebook does.

The sizes are the notebook's: a convolution of 100 x 3 x 31 x 31 with 25 filters 3x3, stride 2 and
padding 1, and a 2x2 max pool of 100 x 3 x 32 x 32.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netspec.kernels.course import fast, naive
from netspec.text.table import Column, table_lines, text_column

Array = NDArray[Any]

IMAGES = 100
# A fast function ends before a clock is exact, so the best of several runs counts.
FAST_RUNS = 5


@dataclass(frozen=True)
class LayerTiming:
    """One direction of one layer.

    Attributes:
        layer, direction: for example `conv` and `forward`.
        naive, fast: seconds.
        differences: max |a - b| / max(1, max |a|) of what they gave, by name.
    """

    layer: str
    direction: str
    naive: float
    fast: float
    differences: dict[str, float]

    @property
    def speed_up(self) -> float:
        """The ratio of the two times."""
        return self.naive / self.fast


@dataclass(frozen=True)
class Workload:
    """A layer with the notebook's sizes.

    Attributes:
        layer: functions `{layer}_forward` and `{layer}_backward` of both modules.
        about: the sizes, in words.
        arguments: the arguments of forward, all float64.
        dout: the gradient of the output.
        gradients: the names of backward's results.
    """

    layer: str
    about: str
    arguments: tuple[Any, ...]
    dout: Array
    gradients: tuple[str, ...]


def workloads(images: int = IMAGES) -> tuple[Workload, ...]:
    """Return the notebook's two workloads, for a number of images."""
    rng = np.random.default_rng(231)
    conv = Workload(
        "conv",
        f"{images} x 3 x 31 x 31, 25 filters 3x3, stride 2, pad 1",
        (
            rng.standard_normal((images, 3, 31, 31)),
            rng.standard_normal((25, 3, 3, 3)),
            rng.standard_normal(25),
            {"stride": 2, "pad": 1},
        ),
        rng.standard_normal((images, 25, 16, 16)),
        ("dx", "dw", "db"),
    )
    pool = Workload(
        "max_pool",
        f"{images} x 3 x 32 x 32, 2x2, stride 2",
        (
            rng.standard_normal((images, 3, 32, 32)),
            {"pool_height": 2, "pool_width": 2, "stride": 2},
        ),
        rng.standard_normal((images, 3, 16, 16)),
        ("dx",),
    )
    return conv, pool


def measure(workload: Workload) -> Iterator[LayerTiming]:
    """Time forward, then backward."""
    slow_out, slow_cache, slow_time = _forward(naive, workload, 1)
    out, cache, fast_time = _forward(fast, workload, FAST_RUNS)
    yield LayerTiming(
        workload.layer, "forward", slow_time, fast_time, {"out": _difference(slow_out, out)}
    )
    slow, slow_time = _backward(naive, workload, slow_cache, 1)
    quick, fast_time = _backward(fast, workload, cache, FAST_RUNS)
    differences = {
        name: _difference(a, b) for name, a, b in zip(workload.gradients, slow, quick, strict=True)
    }
    yield LayerTiming(workload.layer, "backward", slow_time, fast_time, differences)


def table(workload: Workload, rows: list[LayerTiming]) -> str:
    """Format the rows of one layer as a table."""
    numbers = map(Column, ("naive", "fast", "speed-up"))
    columns = [text_column(""), *numbers, text_column("difference")]
    cells = [
        (
            row.direction,
            f"{row.naive:.3f} s",
            f"{1e3 * row.fast:.3f} ms",
            f"{row.speed_up:,.0f}x",
            ", ".join(f"{name} {value:.1e}" for name, value in row.differences.items()),
        )
        for row in rows
    ]
    return "\n".join([f"{workload.layer}: {workload.about}", *table_lines(columns, cells)])


def _forward(module: ModuleType, workload: Workload, runs: int) -> tuple[Array, Any, float]:
    function = getattr(module, f"{workload.layer}_forward")
    (out, cache), seconds = _timed(lambda: function(*workload.arguments), runs)
    return out, cache, seconds


def _backward(
    module: ModuleType, workload: Workload, cache: Any, runs: int
) -> tuple[tuple[Array, ...], float]:
    function = getattr(module, f"{workload.layer}_backward")
    result, seconds = _timed(lambda: function(workload.dout, cache), runs)
    return (result if isinstance(result, tuple) else (result,)), seconds


def _timed(work: Callable[[], Any], runs: int) -> tuple[Any, float]:
    """Return the result, and the seconds of the fastest run."""
    best = float("inf")
    for _ in range(runs):
        start = time.perf_counter()
        result = work()
        best = min(best, time.perf_counter() - start)
    return result, best


def _difference(a: Array, b: Array) -> float:
    return float(np.abs(a - b).max() / max(1.0, np.abs(a).max()))
