"""Measures which emitter of elementwise steps is faster: NumPy's ufuncs over tiles, or numexpr.

    python benchmarks/emitters.py [--threads N]     writes EMITTERS.md

Each op runs alone, forward and backward, on float32 arrays of several sizes, and the emitters take
turns. A number is numexpr's time as a multiple of NumPy's.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import netspec
from netspec.compiler.ir.expression import FUNCTIONS, Apply, walk
from netspec.compiler.ir.plan import ElementwiseStep, Plan
from netspec.compiler.numpy_backend.pipeline import make_plan
from netspec.kernels import parallel
from netspec.runtime.engine import threads
from netspec.runtime.engine.program import Program
from netspec.runtime.models.emitters.choice import THIS_MACHINE, question
from netspec.tools.bench.machine import machine
from netspec.tools.bench.report import machine_text
from netspec.tools.bench.timing import time_round

HERE = Path(__file__).parent
SIZES = (1 << 10, 1 << 13, 1 << 16, 1 << 19, 1 << 22)
OPS = (
    "relu", "relu6", "leaky_relu(0.1)", "hardswish", "hardsigmoid", "sigmoid", "tanh", "silu",
    "elu", "selu", "sum of four products", "gelu(approximate = tanh)", "gelu",
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
        " NumPy's, by the elements of the array. Where it is below 1, numexpr wins. The last column says"
        " for how many of the sizes a model takes numexpr on this machine, by the times that it once"
        " measured itself; a dash stands where numexpr lacks a function.",
        "",
        f"Machine: {machine_text(here)}. Threads: {options.threads}, median of {options.rounds} rounds.",
        "",
        "| step | " + " | ".join(f"{size:,}" for size in SIZES) + " | chosen |",
        "|---" * (len(SIZES) + 2) + "|",
        *rows,
    ]
    (HERE / "EMITTERS.md").write_text("\n".join(lines) + "\n", "utf-8")


def net_of(op: str, size: int) -> netspec.Net:
    if op == "sum of four products":
        inputs = "".join(f"    input x{i}: [{size}]\n" for i in range(8))
        total = " + ".join(f"x{2 * i} * x{2 * i + 1}" for i in range(4))
        return netspec.loads(f"net One {{\n{inputs}    output {total}\n}}")
    return netspec.loads(f"net One {{\n    input x: [{size}]\n    output x -> {op}\n}}")


def chosen(op: str, index: int) -> str:
    """Return for how many of the sizes a model chooses numexpr."""
    plan = make_plan(net_of(op, 1).graph, training=True, input_gradients=True)
    steps = (plan.forward, plan.backward)[index]
    step = next((s for s in steps if isinstance(s, ElementwiseStep)), None)
    asked = [step and question(step, size, "float32") for size in SIZES]
    answers = [THIS_MACHINE.emitter(each) if each else "numpy" for each in asked]
    return f"{answers.count('numexpr')} of {len(SIZES)}"


def forced(steps: tuple[Any, ...], emitter: Any) -> tuple[Any, ...] | None:
    """Return the steps with one emitter for all elementwise ones; None if it lacks a function."""
    ours = [step for step in steps if isinstance(step, ElementwiseStep)]
    used = [FUNCTIONS[e.function] for s in ours for e in walk(s.formula) if isinstance(e, Apply)]
    if emitter == "numexpr" and not (ours and all(function.in_numexpr for function in used)):
        return None
    return tuple(dataclasses.replace(s, emitter=emitter) if s in ours else s for s in steps)


def measure(op: str, size: int, rounds: int) -> tuple[float | None, float | None]:
    """Return numexpr's time over NumPy's, forward and backward; None where numexpr cannot run the
    op.
    """
    graph = net_of(op, size).graph
    plan = make_plan(graph, training=True, input_gradients=True)
    found: list[float | None] = []
    for part in ("forward", "backward"):
        runs = []
        for emitter in ("numpy", "numexpr"):
            steps = forced(getattr(plan, part), emitter)
            if steps is not None:
                runs.append(runner(graph, dataclasses.replace(plan, **{part: steps}), part))
        if len(runs) < 2:
            found.append(None)
            continue
        ratios = []
        for _ in range(rounds):
            numpy, numexpr = (time_round(run, 0.03).seconds for run in runs)
            ratios.append(numexpr / numpy)
        found.append(median(ratios))
    return found[0], found[1]


def runner(graph: Any, plan: Plan, part: str) -> Callable[[], None]:
    """Return a recorded program for one direction."""
    program = Program(graph, plan, np.dtype("f4"), replays=True)
    buffers = program.bind(1)
    rng = np.random.default_rng(0)
    for buffer in (*plan.inputs.values(), *plan.output_gradients.values()):
        buffers[buffer.name][...] = rng.standard_normal(buffers[buffer.name].shape)
    program.forward(buffers, {})

    def run() -> None:
        if part == "forward":
            program.forward(buffers, {})
        else:
            program.backward(buffers, {}, {})

    for _ in range(16):
        run()
    return run


if __name__ == "__main__":
    main()
