"""Measures the time to check a generated net against its number of layers, and fits a straight
line.

python benchmarks/check_scaling.py [LAYERS ...]
"""

from __future__ import annotations

import sys
import time

from netspec.compiler.driver import Request, compile_request
from netspec.diagnostics import Source

SIZES = (1000, 2000, 5000, 10000, 20000)
REPEATS = 3


def generated(layers: int) -> str:
    """Return a net of `layers` layers without a loop: convolutions, activations and sums."""
    lines = ["net Long {", "    input x: [4, 8, 8]"]
    for i in range(layers // 3):
        lines += [f"    y = x -> c{i}: conv(4, 3, pad = 1) -> relu", "    x = x + y"]
    lines += ["    output x" + " -> relu" * (layers % 3), "}"]
    return "\n".join(lines)


def seconds(layers: int) -> float:
    """Return the least time of a few checks."""
    source = Source("long.net", generated(layers))
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        result = compile_request(Request(source=source))
        times.append(time.perf_counter() - start)
        (graph,) = result.graphs.values()
        assert not result.diagnostics
        assert len(graph.nodes) == layers
    return min(times)


def main(sizes: list[int]) -> None:
    times = [seconds(size) for size in sizes]
    count = len(sizes)
    mean_x, mean_y = sum(sizes) / count, sum(times) / count
    spread = sum((x - mean_x) ** 2 for x in sizes)
    products = ((x - mean_x) * (y - mean_y) for x, y in zip(sizes, times, strict=True))
    slope = sum(products) / spread if spread else 0.0
    start = mean_y - slope * mean_x
    print(f"{'layers':>8} {'seconds':>9} {'us/layer':>9} {'line':>9}")
    for size, taken in zip(sizes, times, strict=True):
        line = start + slope * size
        print(f"{size:8,} {taken:9.3f} {taken / size * 1e6:9.1f} {line:9.3f}")
    rest = sum((y - start - slope * x) ** 2 for x, y in zip(sizes, times, strict=True))
    whole = sum((y - mean_y) ** 2 for y in times)
    fit = 1 - rest / whole if whole else 1.0
    print(f"\ntime = {start:.3f} s + {slope * 1e6:.1f} us a layer, R^2 = {fit:.4f}")


if __name__ == "__main__":
    main([int(size) for size in sys.argv[1:]] or list(SIZES))
