"""What the values of a net are on given data, buffer by buffer of its plan."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netspec.compiler.ir.graph import Graph
from netspec.compiler.ir.plan import Buffer, Plan
from netspec.kernels.arrays import chunks
from netspec.runtime.engine.program import Program

Array = NDArray[Any]

# Images that are computed at once, with every value kept.
BATCH = 64


def values_of(
    graph: Graph, plan: Plan, parameters: Mapping[str, Array], inputs: Mapping[str, Array]
) -> Iterator[dict[str, Array]]:
    """Yield the arrays of all buffers by name, in single precision, for one part of a batch after the
    other.

    Args:
        graph: the net.
        plan: a plan of it in evaluation.
        parameters: its parameters and buffers, by name.
        inputs: (N, ...) by name.
    """
    written = {w for step in plan.steps for w in step.writes if isinstance(w, Buffer)}
    kept = dataclasses.replace(plan, kept=frozenset(written))
    program = Program(graph, kept, np.dtype(np.float32))
    numbers = {
        n: np.asarray(a, a.dtype if a.dtype.kind == "i" else "f") for n, a in parameters.items()
    }
    buffers = [*plan.inputs.values(), *sorted(written, key=lambda buffer: buffer.name)]
    for part in chunks(len(next(iter(inputs.values()))), BATCH):
        given = {
            name: np.array(array[part], np.float32, order="C") for name, array in inputs.items()
        }
        b = program.bind(part.stop - part.start)
        for name, buffer in plan.inputs.items():
            b[buffer.name] = given[name]
        program.forward(b, numbers)
        yield {buffer.name: b[buffer.name].copy() for buffer in buffers if buffer.batched}


def ranges_of(parts: Iterator[dict[str, Array]]) -> dict[str, tuple[float, float]]:
    """Return the smallest and the largest finite number of each buffer."""
    found: dict[str, tuple[float, float]] = {}
    for values in parts:
        for name, array in values.items():
            finite = array[np.isfinite(array)]
            low, high = found.get(name, (0.0, 0.0))
            found[name] = (
                min(low, float(finite.min(initial=0))),
                max(high, float(finite.max(initial=0))),
            )
    return found
