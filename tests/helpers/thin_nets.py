"""Random nets of pictures of height or width 1 between permutes, NumPy against PyTorch.

python -m tests.helpers.thin_nets --nets 3000 --seed 0
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Iterator

import netspec
from netspec.testing.op_examples import (
    agreement,
    random_inputs,
    random_output_gradients,
    random_parameters,
    run_program,
)
from tests.helpers.torch_support import load, module_of, run_module

Shape = list[int]
MOST = 400  # largest number of elements in a value
TOLERANCE = 1e-8


class _Writer:
    """Writes one net. `shape` is the shape of the current value."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.shape = [self.rng.randint(2, 5) for _ in range(3)]
        self.shape[self.rng.choice([0, 1, 2])] = 1

    def text(self) -> str:
        inputs = f"input image: [{', '.join(map(str, self.shape))}]"
        lines = [f"x = image -> {self.permute()}"]
        for _ in range(self.rng.randint(1, 6)):
            lines.append(self.line())
        if self.rng.random() < 0.5:
            lines.append(f"x = x -> {self.permute()}")
        body = "\n    ".join([inputs, *lines, "output x"])
        return f"net Thin {{\n    {body}\n}}\n"

    def permute(self) -> str:
        axes = self.rng.sample([1, 2, 3], 3)
        # More often than not the height or width becomes 1, which is the case of interest.
        if 1 in self.shape and self.rng.random() < 0.7:
            one = self.shape.index(1) + 1
            rest = [axis for axis in axes if axis != one]
            axes = [rest[0], one, rest[1]] if self.rng.random() < 0.5 else [*rest, one]
        self.shape = [self.shape[axis - 1] for axis in axes]
        return f"permute({axes})"

    def line(self) -> str:
        kind, before = self.rng.random(), list(self.shape)
        c, h, w = before
        if kind < 0.1:
            return f"x = concat(x, x -> {self.rng.choice(['relu', 'tanh'])})" + self.wider(2)
        if kind < 0.2:
            return f"x = x {self.rng.choice('+*')} (x -> {self.same()})"
        if kind < 0.25:
            return f"x = x -> reshape([{w}, {h}, {c}])" + self.turned(w, h, c)
        if kind < 0.3:
            turned = f"x -> {self.same()} -> permute([1, 3, 2])"
            self.shape = [c, h, h]
            return f"x = matmul(x, {turned})"
        if kind < 0.45:
            return f"x = x -> {self.permute()}"
        return f"x = x -> {self.same()}"

    def wider(self, by: int) -> str:
        self.shape[0] *= by
        if self.shape[0] > 8:
            self.shape[0] = 3
            return " -> conv(3, 1)"
        return ""

    def turned(self, *shape: int) -> str:
        self.shape = list(shape)
        return ""

    def same(self) -> str:
        """Return a layer that keeps the shape."""
        c, h, w = self.shape
        layers = [
            "batch_norm", "batch_norm", "batch_norm", "batch_norm(affine = false)", "layer_norm",
            "group_norm(1)", "relu", "tanh", "silu", f"conv({c}, 1)", f"conv({c}, 3, pad = 1)",
            f"conv({c}, 3, pad = 1, groups = {c})", f"conv_transpose({c}, 3, pad = 1)",
            "max_pool(3, stride = 1, pad = 1)", "avg_pool(3, stride = 1, pad = 1)", "scale",
            f"adaptive_avg_pool([{h}, {w}])", f"adaptive_max_pool([{h}, {w}])", "prelu",
            f"pad(1) -> slice(axis = 2, start = 1, stop = {h + 1})"
            f" -> slice(axis = 3, start = 1, stop = {w + 1})",
            "upsample(2) -> max_pool(2)", "local_response_norm(3)", "softmax(axis = 1)",
            f"channel_shuffle({c})",
        ]  # fmt: skip
        if h * w > 1:
            layers += ["instance_norm", "instance_norm(affine = true)"] * 2
        return self.rng.choice(layers)


def thin_net(seed: int) -> str:
    """Return a file with one net."""
    return _Writer(seed).text()


def check_net(seed: int) -> Iterator[str]:
    """Yield the differences between the net's NumPy program and its PyTorch module, for 1 to 3
    images.
    """
    net = netspec.loads(thin_net(seed))
    graph = net.graph
    module = module_of(net)
    batch = 1 + seed % 3
    inputs, dy = random_inputs(graph, batch), random_output_gradients(graph, batch)
    least = max(node.op.least_training_batch(*graph.shapes_into(node)) for node in graph.nodes)
    for training in (True, False):
        if training and batch < least:
            continue
        parameters = random_parameters(graph)
        load(module, parameters)
        ours = run_program(graph, parameters, inputs, dy, training=training)
        theirs = run_module(module, graph, inputs, dy, training=training)
        for kind in ("outputs", "gradients", "input_gradients", "parameters"):
            for name, array in getattr(ours, kind).items():
                size = agreement(array, getattr(theirs, kind)[name])
                if not size <= TOLERANCE:
                    yield f"seed {seed}, training {training}, {kind} {name}: {size:g}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nets", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    sound, wrong = 0, 0
    for seed in range(options.seed, options.seed + options.nets):
        try:
            found = list(check_net(seed))
        except netspec.NetspecError as error:
            print(f"seed {seed}: {error}", file=sys.stderr)
            continue
        sound += 1
        wrong += bool(found)
        print("\n".join(found), end="\n" if found else "")
        if (seed + 1) % 100 == 0:
            print(f"up to seed {seed}: {sound} sound, {wrong} differ", flush=True)
    print(f"{sound} nets of {options.nets} are sound; {wrong} differ")
    return wrong > 0


if __name__ == "__main__":
    sys.exit(main())
