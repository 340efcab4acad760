"""A convolution of signals and one of volumes, forward and backward, next to PyTorch's.

    python benchmarks/ranks.py [ROUNDS]

Two threads each. The runs alternate; the median of each is printed, and their ratio. The gradient of
the input is computed too.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import netspec
from netspec.kernels import parallel
from netspec.runtime.engine.program import Program, make_plan

ROUNDS = 31
# The shape of one sample, the batch, the channels of the output, and PyTorch's layer.
CASES: dict[str, tuple[tuple[int, ...], int, int, Any]] = {
    "signal": ((64, 1000), 32, 64, torch.nn.Conv1d),
    "picture": ((16, 32, 32), 64, 32, torch.nn.Conv2d),
    "volume": ((16, 8, 32, 32), 8, 32, torch.nn.Conv3d),
}


def numpy_step(sample: tuple[int, ...], batch: int, outs: int) -> Callable[[], None]:
    """Return a step of the NumPy program, with random numbers in its arrays."""
    text = f"net A {{ input x: {list(sample)}\n output x -> conv({outs}, 3, pad = 1) }}"
    graph = netspec.loads(text).graph
    plan = make_plan(graph, training=True, input_gradients=True)
    program = Program(graph, plan, np.dtype(np.float32))
    rng = np.random.default_rng(0)
    p = {q.name: rng.standard_normal(q.shape, np.float32) / 20 for q in graph.trainable()}
    g = {name: np.zeros_like(array) for name, array in p.items()}
    b = program.bind(batch)
    for buffer in plan.inputs.values():
        b[buffer.name] = rng.standard_normal((batch, *sample), np.float32)
    for buffer in plan.output_gradients.values():
        b[buffer.name][...] = rng.standard_normal(b[buffer.name].shape, np.float32)

    def step() -> None:
        program.forward(b, p)
        program.backward(b, p, g)

    return step


def torch_step(sample: tuple[int, ...], batch: int, outs: int, layer: Any) -> Callable[[], None]:
    """Return a step of PyTorch's layer."""
    module = layer(sample[0], outs, 3, padding=1)
    x = torch.randn(batch, *sample, requires_grad=True)
    dy = torch.randn_like(module(x))

    def step() -> None:
        module.zero_grad()
        x.grad = None
        module(x).backward(dy)

    return step


def time_of(step: Callable[[], None]) -> float:
    """Return the seconds that a step takes."""
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def main() -> None:
    """Print the times of each case."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    torch.set_num_threads(2)
    parallel.set_threads(2)
    for name, (sample, batch, outs, layer) in CASES.items():
        steps = numpy_step(sample, batch, outs), torch_step(sample, batch, outs, layer)
        times = [[time_of(step) for step in steps] for _ in range(rounds)]
        ours, theirs = (statistics.median(column) for column in zip(*times, strict=True))
        print(
            f"{name:8} NumPy {ours * 1e3:7.1f} ms  PyTorch {theirs * 1e3:7.1f} ms"
            f"  ratio {ours / theirs:.2f}"
        )


if __name__ == "__main__":
    main()
