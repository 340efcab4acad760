"""Where each emitter of elementwise steps wins: NumPy's ufuncs over tiles, or numexpr.

    python benchmarks/emitters.py [--threads N]     writes EMITTERS.md

Each op alone, forward and backward, over float32 arrays of several sizes, both ways in alternation.
A number is numexpr's time as a multiple of NumPy's.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import netspec
from netspec.compiler.expression import FUNCTIONS, Apply, walk
from netspec.compiler.plan import ElementwiseStep, Plan
from netspec.compiler.planning import make_plan
from netspec.kernels import parallel
from netspec.runtime import threads
from netspec.runtime.bench.machine import machine
from netspec.runtime.bench.report import machine_text
from netspec.runtime.bench.timing import time_round
from netspec.runtime.executor import Program

HERE = Path(__file__).parent
SIZES = (1 << 10, 1 << 13, 1 << 16, 1 << 19, 1 << 22)
OPS = (
    "relu", "relu6", "leaky_relu(0.1)", "hardswish", "hardsigmoid", "sigmoid", "tanh", "silu",
    "elu", "selu", "gelu(approximate = tanh)", "gelu",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--threads", type=int, default=parallel.threads())
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    threads.limit(options.threads)
    rows = []
    for op in OPS:
        found = [measure(op, size, options.rounds) for size in SIZES]
        for index, direction in enumerate(("forward", "backward")):
            cells = [one[index] for one in found]
            shown = ["-" if c is None else f"**{c:.2f}**" if c < 1 else f"{c:.2f}" for c in cells]
            rows.append(
                f"| `{op}`, {direction} | " + " | ".join(shown) + f" | {chosen(op, index)} |"
            )
            print(rows[-1], flush=True)
    here = machine()
    lines = [
        "# Where each emitter wins",
        "",
        "Written by `python benchmarks/emitters.py`, which says how: numexpr's time as a multiple of"
        " NumPy's, by the elements of the array. Where it is below 1, numexpr wins. The last column is"
        " what `choose-emitters` takes; a dash stands where numexpr lacks a function.",
        "",
        f"Machine: {machine_text(here)}. Threads: {options.threads}, median of {options.rounds} rounds.",
        "",
        "| step | " + " | ".join(f"{size:,}" for size in SIZES) + " | chosen |",
        "|---" * (len(SIZES) + 2) + "|",
        *rows,
    ]
    (HERE / "EMITTERS.md").write_text("\n".join(lines) + "\n", "utf-8")


def net_of(op: str, size: int) -> netspec.Net:
    return netspec.loads(f"net One {{\n    input x: [{size}]\n    output x -> {op}\n}}")


def chosen(op: str, index: int) -> str:
    plan = make_plan(net_of(op, 8).graph, training=True, input_gradients=True)
    steps = (plan.forward, plan.backward)[index]
    return next((s.emitter for s in steps if isinstance(s, ElementwiseStep)), "-")


def forced(plan: Plan, emitter: Any) -> Plan | None:
    """The plan with every elementwise step by one emitter; None where it lacks a function."""

    def by(step: Any) -> Any:
        if isinstance(step, ElementwiseStep):
            return dataclasses.replace(step, emitter=emitter)
        return step

    steps = [s for s in (*plan.forward, *plan.backward) if isinstance(s, ElementwiseStep)]
    used = [FUNCTIONS[e.function] for s in steps for e in walk(s.formula) if isinstance(e, Apply)]
    if emitter == "numexpr" and not all(function.in_numexpr for function in used):
        return None
    return dataclasses.replace(
        plan, forward=tuple(map(by, plan.forward)), backward=tuple(map(by, plan.backward))
    )


def measure(op: str, size: int, rounds: int) -> tuple[float | None, float | None]:
    """numexpr's time over NumPy's, forward and backward; None where it cannot."""
    graph = net_of(op, size).graph
    plan = make_plan(graph, training=True, input_gradients=True)
    plans = [forced(plan, emitter) for emitter in ("numpy", "numexpr")]
    runs = []
    for each in plans:
        if each is None:
            return None, None
        program = Program(graph, each, np.dtype("f4"), replays=True)
        buffers = program.bind(1)
        for buffer in (*each.inputs.values(), *each.output_gradients.values()):
            buffers[buffer.name][...] = np.random.default_rng(0).standard_normal((1, size))
        runs.append(
            (
                lambda p=program, b=buffers: p.forward(b, {}),
                lambda p=program, b=buffers: p.backward(b, {}, {}),
            )
        )
    found = []
    for ways in zip(*runs, strict=True):
        for _ in range(3):
            for way in ways:
                way()
        ratios = []
        for _ in range(rounds):
            numpy, numexpr = (time_round(way, 0.03).seconds for way in ways)
            ratios.append(numexpr / numpy)
        found.append(median(ratios))
    return found[0], found[1]


if __name__ == "__main__":
    main()
