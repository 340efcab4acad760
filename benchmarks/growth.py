"""Measures how time grows with the batch, the depth, the width and the number of layers.

python benchmarks/growth.py [--threads N] writes GROWTH.md and growth.png (needs Matplotlib)

A training step is forward, softmax cross-entropy, backward and SGD in float32; each time is the
least of several rounds. A straight line is fitted to the times beyond the overhead, which are those
of at least four times the first.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import netspec
from netspec.compiler.numpy_backend.pipeline import make_plan
from netspec.kernels import parallel
from netspec.runtime.engine.program import Program
from netspec.tools.bench.flops import step_flops
from netspec.tools.bench.machine import machine
from netspec.tools.bench.peers.ours import prepare
from netspec.tools.bench.report import machine_text
from netspec.tools.bench.timing import time_round
from netspec.tools.bench.workload import Workload

HERE = Path(__file__).parent
NETWORKS = HERE.parent / "networks"
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
DEPTHS = (8, 14, 20, 32, 44, 56, 80, 110)
WIDTHS = (8, 16, 24, 32, 48, 64, 96, 128)
# These nets are only compiled, so they are deeper than anyone trains.
LAYERS = (20, 56, 110, 200, 302, 404)


@dataclass(frozen=True)
class Series:
    """Measured values over a size, and the straight line fitted to them."""

    title: str
    over: str
    unit: str
    sizes: Sequence[int]
    values: Sequence[float]

    def past_overhead(self) -> list[bool]:
        """For each size, whether the line is fitted to its value."""
        return [value >= 4 * self.values[0] for value in self.values]

    def line(self) -> tuple[float, float]:
        """The intercept and slope, by least squares of the relative distances."""
        past = self.past_overhead()
        sizes, values = np.array(self.sizes, float)[past], np.array(self.values)[past]
        rows = np.stack([np.ones_like(sizes), sizes], axis=1) / values[:, None]
        (start, slope), *_ = np.linalg.lstsq(rows, np.ones_like(values), rcond=None)
        return float(start), float(slope)

    def off(self) -> list[float]:
        """The distance of each value from the line, as a share of the line."""
        start, slope = self.line()
        return [
            value / (start + slope * size) - 1
            for size, value in zip(self.sizes, self.values, strict=True)
        ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--threads", type=int, default=parallel.threads())
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()

    def step(name: str, batch: int, **arguments: Any) -> float:
        net = netspec.load(NETWORKS / f"{name}.net", **arguments)
        case = Workload(net, batch, True, options.threads)
        run = prepare(case).step
        for _ in range(16):  # recorded, and tried with threads and without
            run()
        return min(time_round(run, 0.2).seconds for _ in range(options.rounds)) * 1e3

    def gflops(width: int) -> float:
        net = netspec.load(NETWORKS / "resnet.net", depth=8, width=width)
        return (
            step_flops(net.graph, 32, train=True) / step("resnet", 32, depth=8, width=width) / 1e6
        )

    def series(title: str, over: str, unit: str, sizes: Sequence[int], one: Callable[[int], float]):
        values = []
        for size in sizes:
            values.append(one(size))
            print(f"{title}, {over} {size}: {values[-1]:.3f} {unit}", flush=True)
        return Series(title, over, unit, sizes, values)

    found = [
        series("LeNet", "batch", "ms", BATCHES, lambda n: step("lenet", n)),
        series("ResNet-8", "batch", "ms", BATCHES, lambda n: step("resnet", n, depth=8)),
        series("ResNet, batch 16", "depth", "ms", DEPTHS, lambda n: step("resnet", 16, depth=n)),
        series("ResNet-8, batch 32", "width", "GFLOP/s", WIDTHS, gflops),
        series("ResNet, compiled", "depth", "ms", LAYERS, compile_time),
    ]
    others = {name: compile_time_of(name) for name in ("zoo/resnet50", "zoo/densenet121")}
    (HERE / "GROWTH.md").write_text(report(found, others, options), "utf-8")
    draw(found, HERE / "growth.png")


def compile_time(depth: int) -> float:
    """Return the milliseconds from the file to a program for training that is ready to run."""
    return compile_time_of("resnet", depth=depth)


def compile_time_of(name: str, **arguments: Any) -> float:
    times = []
    for _ in range(3):
        begin = time.perf_counter()
        net = netspec.load(NETWORKS / f"{name}.net", **arguments)
        Program(net.graph, make_plan(net.graph, training=True), np.dtype("f4"))
        times.append(time.perf_counter() - begin)
    return min(times) * 1e3


def report(found: Sequence[Series], others: dict[str, float], options: argparse.Namespace) -> str:
    """Return the text of GROWTH.md."""
    here = machine()
    lines = [
        "# How time grows",
        "",
        "Written by `python benchmarks/growth.py`, which says how.",
        "",
        f"Machine: {machine_text(here)}. Threads: {options.threads}, least of {options.rounds} rounds."
        + (f" Load before the start: {here.load:.1f}." if here.load is not None else ""),
        "",
        "![time over batch, depth, width and layers](growth.png)",
    ]
    for each in found:
        start, slope = each.line()
        is_time = each.unit == "ms"
        lines += ["", f"## {each.title}: {each.unit} over {each.over}", ""]
        if is_time:
            lines += [f"The line: {start:.2f} ms + {slope:.3f} ms * {each.over}.", ""]
            head = (each.over, each.unit, "off the line")
            pairs = zip(each.off(), each.past_overhead(), strict=True)
            last = [f"{share:+.0%}" if past else "overhead" for share, past in pairs]
        else:
            head = (each.over, each.unit, "to the one before")
            befores = [each.values[0], *each.values]
            last = [f"{a / b - 1:+.0%}" for a, b in zip(each.values, befores, strict=False)]
        lines += ["| " + " | ".join(head) + " |", "|---|---|---|"]
        rows = zip(each.sizes, each.values, last, strict=True)
        lines += [f"| {size} | {value:,.2f} | {share} |" for size, value, share in rows]
    lines += ["", "## Others, compiled", "", "| net | ms |", "|---|---|"]
    lines += [f"| {name} | {taken:,.0f} |" for name, taken in others.items()]
    return "\n".join(lines) + "\n"


def draw(found: Sequence[Series], path: Path) -> None:
    """Draw each series with its line."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(found), figsize=(4 * len(found), 3.4))
    for axis, each in zip(axes, found, strict=True):
        axis.plot(each.sizes, each.values, "o", color="tab:blue")
        if each.unit == "ms":
            start, slope = each.line()
            ends = np.array([0, max(each.sizes)])
            axis.plot(ends, start + slope * ends, color="tab:gray", linewidth=1)
        axis.set(title=each.title, xlabel=each.over, ylabel=each.unit, ylim=(0, None))
    figure.tight_layout()
    figure.savefig(path, dpi=90)


if __name__ == "__main__":
    main()
