"""Peak bytes of arrays in a training step: netspec's NumPy program and eager PyTorch, side by side.

    python benchmarks/memory.py [--net networks/resnet.net] [--set depth=20] [--batch 128]

Both count everything that some steps of SGD hold: parameters, gradients and so on. Arrays of NumPy
are counted when they are allocated, as PyTorch's profiler does for tensors. A second figure is
everything that `tracemalloc` sees, including the recorded calls of the program. The batch itself is
made beforehand, and not counted for either.
"""

from __future__ import annotations

import argparse
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import netspec
from netspec.compiler.numpy_backend.memory_use import footprint
from netspec.compiler.numpy_backend.pipeline import make_plan
from netspec.compiler.overrides import parse_setting

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.helpers.array_allocations import peak_of_arrays

MIB = 1 << 20
# The first two steps record the program.
STEPS = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--net", type=Path, default=Path("networks/resnet.net"))
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--batch", type=int, default=128)
    options = parser.parse_args()
    net = netspec.load(options.net, **dict(parse_setting(text) for text in options.set))
    planned = footprint(net.graph, make_plan(net.graph, training=True), options.batch)
    print(
        f"{net.name}, batch {options.batch}, float32, MiB at the peak of {STEPS} training steps\n"
    )
    rows = {
        "netspec, planned": planned.total,
        "netspec, arrays": counted(net, options.batch, peak_of_arrays),
        "netspec, everything": counted(net, options.batch, peak_of),
        "PyTorch, profiled": profiled(net, options.batch),
    }
    for title, count in rows.items():
        shown = "not installed" if count is None else f"{count / MIB:10.1f}"
        print(f"{title:20}{shown}")
    print(f"\narena {planned.arena / MIB:.1f}, at least {planned.least / MIB:.1f}", end="")
    print(f" (ratio {planned.ratio:.3f}), scratch {planned.scratch / MIB:.1f}")


def batch_of(net: netspec.Net, count: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    shape = next(iter(net.graph.inputs.values()))
    return rng.standard_normal((count, *shape)).astype("f4"), rng.integers(0, 10, count)


def numpy_steps(net: netspec.Net, x: np.ndarray, y: np.ndarray) -> None:
    from netspec.runtime.optim.losses import make_loss
    from netspec.runtime.optim.optimizers import make_optimizer

    model, loss = net.compile("numpy"), make_loss("softmax")
    flat = model.flat_parameters, model.flat_gradients
    optimizer = make_optimizer("sgd", *flat, model.members)
    for _ in range(STEPS):
        model.gradients_(x, y, loss=loss)
        optimizer.step(0.01)


def counted(net: netspec.Net, batch: int, peak: Callable[[Callable[[], Any]], int]) -> int:
    """Return the bytes at the peak of the steps."""
    numpy_steps(net, *batch_of(net, 2))  # so that all imports happen before
    x, y = batch_of(net, batch)
    return peak(lambda: numpy_steps(net, x, y))


def peak_of(work: Callable[[], Any]) -> int:
    """Return the most bytes that `tracemalloc` sees at once: arrays, and all of Python's objects."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        work()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def profiled(net: netspec.Net, batch: int) -> int | None:
    """Return the bytes at the peak that PyTorch's profiler sees."""
    try:
        import torch
    except ImportError:
        return None
    from torch.profiler import ProfilerActivity, profile

    from netspec.runtime.models.torch_build import build_module

    def steps(x: np.ndarray, y: np.ndarray) -> None:
        module = build_module(net)
        optimizer = torch.optim.SGD(module.parameters(), lr=0.01)
        for _ in range(STEPS):
            optimizer.zero_grad()
            scores = module(torch.from_numpy(x))
            torch.nn.functional.cross_entropy(scores, torch.from_numpy(y)).backward()
            optimizer.step()

    steps(*batch_of(net, 2))
    x, y = batch_of(net, batch)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        steps(x, y)
    events = [e for e in seen.profiler.kineto_results.events() if e.name() == "[memory]"]
    alive = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        alive += event.nbytes()
        peak = max(peak, alive)
    return peak


if __name__ == "__main__":
    main()
