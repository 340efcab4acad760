"""Times a step of an LSTM, forward and backward, next to PyTorch's `nn.LSTM`, in alternation.

python benchmarks/recurrent.py [--rounds 15] [--layer lstm] [--threads 2]

Both compute the same on the same cores: batch 32, 64 steps, 256 to 256 features, float32, with the
gradients of the input and of all parameters. Where other programs share the cores, the times of a round
still stand next to each other; the smallest of all rounds disturb least.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

import netspec
from netspec.kernels import parallel
from netspec.runtime.engine.program import Program, make_plan

BATCH, STEPS, WIDE = 32, 64, 256
LAYERS = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}


def numpy_step(
    layer: str,
    weights: dict[str, NDArray[np.float32]],
    x: NDArray[np.float32],
    dy: NDArray[np.float32],
) -> Callable[[], NDArray[np.float32]]:
    """Return the step of the NumPy program; it gives the value."""
    net = netspec.loads(f"net N {{ input x: [{STEPS}, {WIDE}]\n output x -> {layer}({WIDE}) }}")
    plan = make_plan(net.graph, training=True, input_gradients=True)
    program = Program(net.graph, plan, np.dtype(np.float32), replays=True)
    buffers = program.bind(BATCH)
    buffers[plan.inputs["x"].name] = x
    buffers[plan.output_gradients["output"].name][...] = dy
    parameters = {f"{layer}1.{name}": value for name, value in weights.items()}
    gradients = {name: np.empty_like(value) for name, value in parameters.items()}

    def step() -> NDArray[np.float32]:
        program.forward(buffers, parameters)
        program.backward(buffers, parameters, gradients)
        return buffers[plan.outputs["output"].name]

    return step


def torch_step(module: nn.Module, x: torch.Tensor, dy: torch.Tensor) -> Callable[[], torch.Tensor]:
    """Return the step of PyTorch's module; it gives the value."""
    given = x.requires_grad_()

    def step() -> torch.Tensor:
        module.zero_grad()
        given.grad = None
        y: torch.Tensor = module(given)[0]
        y.backward(dy)
        return y

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--layer", choices=LAYERS, default="lstm")
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    parallel.set_threads(given.threads)
    module = LAYERS[given.layer](WIDE, WIDE, batch_first=True)
    weights = {name: p.detach().numpy() for name, p in module.named_parameters()}
    rng = np.random.default_rng(0)
    x, dy = rng.standard_normal((2, BATCH, STEPS, WIDE)).astype(np.float32)
    ours = numpy_step(given.layer, weights, x, dy)
    theirs = torch_step(module, torch.tensor(x), torch.tensor(dy))
    assert np.abs(ours() - theirs().detach().numpy()).max() < 1e-5
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(given.rounds):
        for step, taken in zip((ours, theirs), times, strict=True):
            start = time.perf_counter()
            step()
            taken.append(1e3 * (time.perf_counter() - start))
    print(f"{given.layer}, batch {BATCH}, {STEPS} steps, {WIDE} to {WIDE}, {given.threads} threads")
    for what, found in (("median", statistics.median), ("least", min)):
        numpy, pytorch = map(found, times)
        print(f"{what:8} {numpy:7.1f} ms NumPy {pytorch:7.1f} ms PyTorch {numpy / pytorch:6.2f}")


if __name__ == "__main__":
    main()
