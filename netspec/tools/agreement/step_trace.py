"""The trace of a program that reuses memory, recorded step by step.

At the end of a run most of its arrays have been overwritten. So it is run once for each step, up to
and including that step, and what the step wrote is copied.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netspec.compiler.ir.graph import Graph
from netspec.compiler.ir.plan import Buffer, GradientRef, Operand, Plan
from netspec.runtime.engine.program import Program
from netspec.tools.agreement.case import Trial, another
from netspec.tools.agreement.numpy_trace import first_channels, layout_of, step, where_seen
from netspec.tools.agreement.quantities import Item, Trace

Array = NDArray[Any]


def trace_by_steps(graph: Graph, plan: Plan, case: Trial) -> Trace:
    """Return the values, gradients and contributions of a plan, each as it was when it was complete."""
    seen: dict[Operand, list[Item]] = {}
    for item, buffer in where_seen(plan).items():
        seen.setdefault(buffer, []).append(item)
    for parameter in graph.trainable():
        seen[GradientRef(parameter.name)] = [Item("parameter", parameter.name)]
    trace: Trace = {}
    for shortened, written in _prefixes(plan):
        items = [(operand, item) for operand in written for item in seen.get(operand, ())]
        if not items:
            continue
        program = Program(graph, plan, np.dtype(np.float64), shortened)
        arrays: dict[Operand, Array] = {}
        for batch in (another(case), case):
            p = {name: array.copy() for name, array in case.parameters.items()}
            g = {q.name: np.zeros(q.shape) for q in graph.trainable()}
            _, _, b = step(program, batch, p, g)
            arrays = {o: g[o.name] if isinstance(o, GradientRef) else b[o.name] for o, _ in items}
        for operand, item in items:
            found = arrays[operand].copy()
            is_value = isinstance(operand, Buffer)
            trace[item] = first_channels(found, layout_of(graph, plan, item)) if is_value else found
    return trace


def _prefixes(plan: Plan) -> Iterator[tuple[Plan, tuple[Operand, ...]]]:
    """Yield the plan up to each step, with what that step writes."""
    for i, last in enumerate(plan.forward):
        yield dataclasses.replace(plan, forward=plan.forward[: i + 1], backward=()), last.writes
    for i, last in enumerate(plan.backward):
        yield dataclasses.replace(plan, backward=plan.backward[: i + 1]), last.writes
