"""Traces of the reference and of the compiled programs for a case."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netspec.compiler.ir.graph import Graph
from netspec.compiler.ir.layout import Layout
from netspec.compiler.ir.plan import Buffer, KernelStep, Plan
from netspec.runtime.engine.program import Program, make_plan
from netspec.runtime.engine.reference import Reference
from netspec.tools.agreement.case import Trial
from netspec.tools.agreement.quantities import LOSS, Item, Trace

Array = NDArray[Any]
MakeProgram = Callable[[Graph, Plan, "np.dtype[Any]"], Program]


def trace_reference(graph: Graph, case: Trial) -> Trace:
    """Return everything that the reference computes, in float64."""
    run = Reference(graph, case.parameters, training=case.training, masks=case.masks)
    outputs = run.forward(case.inputs)
    loss, loss_gradients = case.objective.reference(outputs)
    gradients = run.backward(loss_gradients)
    trace: Trace = {Item("value", node.name): run.values[node.name] for node in graph.nodes}
    trace |= _ends(graph, outputs, loss, loss_gradients, run.parameters)
    trace |= {Item("gradient", name): g for name, g in run.value_gradients.items()}
    trace |= {Item("contribution", *edge): g for edge, g in run.contributions.items()}
    trace |= {Item("parameter", name): g for name, g in gradients.items()}
    return trace


def trace_reference_outputs(graph: Graph, case: Trial) -> Trace:
    """Return the outputs alone that the reference computes, in float64."""
    run = Reference(graph, case.parameters, training=case.training, masks=case.masks)
    return {Item("output", name): array for name, array in run.forward(case.inputs).items()}


def _ends(graph: Graph, outputs: Any, loss: float, loss_gradients: Any, parameters: Any) -> Trace:
    trace: Trace = {LOSS: np.array(loss)}
    trace |= {Item("output", name): array for name, array in outputs.items()}
    trace |= {Item("loss gradient", name): array for name, array in loss_gradients.items()}
    buffers = (p.name for p in graph.parameters.values() if not p.trainable)
    return trace | {Item("buffer", name): parameters[name] for name in buffers}


# ------------------------------------------------------------------------------- compiled programs


def plan_unfused(graph: Graph, training: bool) -> Plan:
    """Return a plan that keeps every activation, every gradient and every term of a gradient."""
    return make_plan(graph, training=training, input_gradients=True, keep_activations=True)


def plan_fused(graph: Graph, training: bool) -> Plan:
    """Return a plan with the fusion used in training, which keeps all results that are left to see."""
    plan = make_plan(graph, training=training, input_gradients=True)
    written = {w for step in plan.steps for w in step.writes if isinstance(w, Buffer)}
    return dataclasses.replace(plan, kept=frozenset(written & set(where_seen(plan).values())))


def plan_as_run(graph: Graph, training: bool, *, backward: bool | None = None) -> Plan:
    """Return the plan that a model runs: nothing is kept, and memory is reused.

    By default it includes the backward pass in training; `backward` overrides this.
    """
    return make_plan(graph, training=training, backward=training if backward is None else backward)


def where_seen(plan: Plan) -> dict[Item, Buffer]:
    """Return where each activation and gradient is stored, if it is kept."""
    items = {Item("value", name): b for name, b in plan.activations.items()}
    items |= {Item("gradient", name): b for name, b in plan.activation_gradients.items()}
    items |= {Item("contribution", *edge): b for edge, b in plan.contributions.items()}
    return items


def trace_program(
    graph: Graph,
    plan: Plan,
    case: Trial,
    dtype: str,
    *,
    before: Trial | None = None,
    make: MakeProgram = Program,
) -> Trace:
    """Run a program and return its outputs, gradients and buffers, and whatever its plan keeps.

    Args:
        graph: the net.
        plan: its plan.
        case: the batch.
        dtype: `float64` or `float32`.
        before: another batch to run through the program first, so that numbers left over from it
            show.
        make: makes the program.
    """
    program = make(graph, plan, np.dtype(dtype))
    if before is not None:
        old = {name: _as(array, program.dtype) for name, array in before.parameters.items()}
        step(program, before, old, {q.name: np.zeros(q.shape, dtype) for q in graph.trainable()})
    p = {name: _as(array, program.dtype) for name, array in case.parameters.items()}
    g = {q.name: np.zeros(q.shape, program.dtype) for q in graph.trainable()}
    loss, loss_gradients, b = step(program, case, p, g)
    outputs = {name: b[buffer.name].copy() for name, buffer in plan.outputs.items()}
    trace = _ends(graph, outputs, loss, loss_gradients, p)
    for item, buffer in where_seen(plan).items():
        if buffer in plan.kept and (item.kind != "value" or item.name not in graph.inputs):
            trace[item] = first_channels(b[buffer.name].copy(), layout_of(graph, plan, item))
    if plan.output_gradients:
        trace |= {Item("parameter", name): array for name, array in g.items()}
        for name, buffer in plan.input_gradients.items():
            trace[Item("gradient", name)] = b[buffer.name].copy()
    return trace


def step(
    program: Program, case: Trial, p: dict[str, Array], g: dict[str, Array]
) -> tuple[float, dict[str, Array], dict[str, Array]]:
    """Run a forward and a backward pass with parameters `p`; fills `g`.

    Returns the loss, its gradients by output, and the program's buffers.
    """
    plan = program.plan
    b = program.bind(case.batch)
    for name, buffer in plan.inputs.items():
        b[buffer.name] = np.array(case.inputs[name], program.dtype, order="C")
    for name, buffer in _masks(plan).items():
        b[buffer.name][...] = stored(case.masks[name], plan.layouts[name])
    program.forward(b, p)
    outputs = {name: b[buffer.name] for name, buffer in plan.outputs.items()}
    loss, loss_gradients = case.objective.program(outputs)
    if plan.output_gradients:
        for name, buffer in plan.output_gradients.items():
            b[buffer.name][...] = loss_gradients[name]
        program.backward(b, p, g)
    return loss, loss_gradients, b


def draw_masks(graph: Graph, plan: Plan, batch: int, seed: int) -> dict[str, Array]:
    """Return the random masks of a plan by node, N, C, H, W, drawn as the program itself draws them."""
    program = Program(graph, plan, np.dtype(np.float64))
    b = program.bind(batch)
    program.sample(b, np.random.default_rng([seed, 3]))
    return masks_in(b, plan)


def masks_in(buffers: Mapping[str, Array], plan: Plan) -> dict[str, Array]:
    """Return the random masks that a program has drawn, by node, N, C, H, W."""
    return {
        name: first_channels(buffers[buffer.name].copy(), plan.layouts[name])
        for name, buffer in _masks(plan).items()
    }


def _masks(plan: Plan) -> dict[str, Buffer]:
    """Return the buffer that each node fills with random numbers."""
    return {
        step.node: written
        for step in plan.sample
        if isinstance(step, KernelStep)
        for written in step.writes
        if isinstance(written, Buffer)
    }


def layout_of(graph: Graph, plan: Plan, item: Item) -> Layout:
    """Return the layout of a value, a gradient or a contribution."""
    if item.kind == "contribution":
        return plan.layouts[graph.by_name[item.name].inputs[item.index]]
    return plan.layouts[item.name]


def _as(array: Array, dtype: np.dtype[Any]) -> Array:
    return array.copy() if array.dtype.kind == "i" else array.astype(dtype)


def first_channels(array: Array, layout: Layout) -> Array:
    """Convert a stored array to N, C, H, W."""
    return array.transpose(0, *layout.inverse)


def stored(array: Array, layout: Layout) -> Array:
    """Convert an array N, C, H, W to the stored form."""
    return array.transpose(0, *layout.order)
