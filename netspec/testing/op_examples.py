"""Evaluates a net of one call with the compiled program and with the reference.

The generic tests of ops use it: the project's own and `netspec test-op`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netspec.compiler.ir.graph import Graph, Shape
from netspec.compiler.ir.plan import Plan
from netspec.net import loads
from netspec.runtime.engine.program import Program, make_plan
from netspec.runtime.engine.reference import Reference
from netspec.runtime.models.numpy_model import draw_parameter
from netspec.tools.agreement.case import draw_inputs
from netspec.tools.agreement.difference import distance
from netspec.tools.agreement.numpy_trace import masks_in

Array = NDArray[Any]


def require(holds: object, message: str) -> None:
    """Raise an `AssertionError` unless something holds, also where Python leaves `assert` out."""
    if not holds:
        raise AssertionError(message)


# Inputs and parameters are about 1. A difference that is more than this times the rounding of such
# numbers, and more than this share of the largest, is one though the largest is small.
_ROUNDINGS = {"float64": 1e4, "float32": 1e2}
_SHARES = {"float64": 1e-6, "float32": 1e-2}


def agreement(a: Any, b: Any, among: float = 1.0) -> float:
    """Return the least `tol` with |a - b| <= tol * max(1, max|a|); of arrays whose numbers are all small,
    with |a - b| <= tol * max|a|, if rounding is not all that there is.

    Args:
        a: the first array.
        b: the other one.
        among: the largest numbers whose rounding may be in them. A gradient may be 0 in exact arithmetic,
            as that of a bias in front of a batch norm, and a sum of large numbers.
    """
    kinds = {np.asarray(array).dtype.name for array in (a, b)}
    kind = "float32" if "float32" in kinds else "float64"
    found = distance(np.asarray(a, np.float64), np.asarray(b, np.float64))
    require(np.shape(a) == np.shape(b), f"arrays of shapes {np.shape(a)} and {np.shape(b)}")
    is_seen = found.gap > _ROUNDINGS[kind] * float(np.finfo(kind).eps) * max(1.0, among)
    return found.share if is_seen and found.share > _SHARES[kind] else found.size


def net_of(call: str, inputs: tuple[Shape, ...], uses: str | None = None) -> str:
    """Return a `.net` text that applies one call to inputs of the given shapes.

    `uses` names the file of ops, or the package, that the text uses.
    """
    head = "" if uses is None else f'use "{uses}"\n'
    names = [f"x{i}" for i in range(len(inputs))]
    lines = [f"input {name}: {list(shape)}" for name, shape in zip(names, inputs, strict=True)]
    source = names[0] if len(names) == 1 else f"({', '.join(names)})"
    body = "\n    ".join([*lines, f"output {source} -> {call}"])
    return f"{head}net Example() {{\n    {body}\n}}\n"


def graph_of(call: str, inputs: tuple[Shape, ...], uses: str | None = None) -> Graph:
    """Return the graph of `net_of`."""
    # A file of ops may have changed since.
    return _own_graph(call, inputs) if uses is None else loads(net_of(call, inputs, uses)).graph


@functools.cache
def _own_graph(call: str, inputs: tuple[Shape, ...]) -> Graph:
    return loads(net_of(call, inputs)).graph


def random_parameters(graph: Graph, seed: int = 0) -> dict[str, Array]:
    """Return parameters away from 0 and 1, where mistakes hide.

    Statistics have values that they can have.
    """
    rng = np.random.default_rng(seed)
    values = {}
    for p in graph.parameters.values():
        if p.role == "counter":
            values[p.name] = np.array(3)
        elif p.name.endswith("running_var"):
            values[p.name] = rng.uniform(0.5, 2.0, p.shape)
        elif not p.is_saved:
            values[p.name] = draw_parameter(p, seed)
        else:
            values[p.name] = draw_parameter(p, seed) + rng.normal(0, 0.3, p.shape)
    return values


def random_inputs(graph: Graph, batch: int, seed: int = 0) -> dict[str, Array]:
    """Return random inputs, positive where an op needs that."""
    rng = np.random.default_rng([seed, 7])
    return draw_inputs(graph, batch, rng)


def random_output_gradients(graph: Graph, batch: int, seed: int = 0) -> dict[str, Array]:
    """Return a random gradient for each output."""
    rng = np.random.default_rng([seed, 8])
    return {
        name: rng.standard_normal((batch, *graph.shape_of(value)))
        for name, value in graph.outputs.items()
    }


@dataclass
class Run:
    """The results of one evaluation: outputs, gradients of parameters and inputs, and the buffers
    after it.
    """

    outputs: dict[str, Array]
    gradients: dict[str, Array]
    input_gradients: dict[str, Array]
    parameters: dict[str, Array]
    masks: dict[str, Array]


def run_program(
    graph: Graph,
    parameters: Mapping[str, Array],
    inputs: Mapping[str, Array],
    dy: Mapping[str, Array],
    *,
    training: bool,
    dtype: Any = np.float64,
    plan: Plan | None = None,
) -> Run:
    """Run one forward and backward pass of the compiled program. The masks are in N, C, H, W."""
    plan = plan or make_plan(graph, training=training, input_gradients=True)
    program = Program(graph, plan, np.dtype(dtype))
    batch = len(next(iter(inputs.values())))
    p = {
        name: np.array(a, np.int64 if a.dtype.kind == "i" else dtype)
        for name, a in parameters.items()
    }
    g = {q.name: np.zeros(q.shape, dtype) for q in graph.trainable()}
    buffers = program.bind(batch)
    for name, buffer in plan.inputs.items():
        buffers[buffer.name] = np.ascontiguousarray(inputs[name], dtype)
    program.sample(buffers, np.random.default_rng(5))
    masks = masks_in(buffers, plan)
    program.forward(buffers, p)
    outputs = {name: buffers[b.name].copy() for name, b in plan.outputs.items()}
    for name, buffer in plan.output_gradients.items():
        buffers[buffer.name][...] = dy[name]
    program.backward(buffers, p, g)
    dx = {name: buffers[b.name].copy() for name, b in plan.input_gradients.items()}
    return Run(outputs, g, dx, p, masks)


def run_reference(
    graph: Graph,
    parameters: Mapping[str, Array],
    inputs: Mapping[str, Array],
    dy: Mapping[str, Array],
    *,
    training: bool,
    masks: Mapping[str, Array] | None = None,
) -> Run:
    """Run one forward and backward pass of the reference."""
    reference = Reference(graph, parameters, training=training, masks=masks)
    outputs = reference.forward(inputs)
    gradients = reference.backward(dy)
    dx = {n: reference.value_gradients[n] for n in graph.inputs if n in reference.value_gradients}
    return Run(outputs, gradients, dx, reference.parameters, dict(masks or {}))


def assert_equal_runs(a: Run, b: Run, tol: float, *, growth: float = 1.0) -> None:
    """Check that outputs, gradients and buffers of two runs agree.

    Args:
        a: the first run.
        b: the other one.
        tol: how far numbers may be apart, as `agreement` measures it.
        growth: how much larger numbers inside of the net may be than those compared, as behind a batch
            norm of values that are nearly equal.
    """
    for what in ("outputs", "gradients", "input_gradients", "parameters"):
        ours, theirs = getattr(a, what), getattr(b, what)
        only = ", ".join(sorted(set(ours) ^ set(theirs)))
        require(not only, f"one run alone has {what} of {only}")
        among = max(
            (float(np.nanmax(np.abs(v), initial=0.0)) for v in theirs.values()), default=1.0
        )
        for name in ours:
            error = agreement(ours[name], theirs[name], growth * among)
            require(error <= tol, f"{what} of {name} differ by {error:.2e}")
