"""The order in which a program computes its visible results, and the nodes that each step covers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from netspec.compiler.ir.graph import Graph
from netspec.compiler.ir.plan import ElementwiseStep, GradientRef, Operand, Plan, Step
from netspec.tools.agreement.compare import ComparedItem, Side, checkpoints
from netspec.tools.agreement.numpy_trace import where_seen
from netspec.tools.agreement.quantities import Item, in_order


def program_order(graph: Graph, plan: Plan, sides: Sequence[Side]) -> list[ComparedItem]:
    """Return every item that the plan computes, at the step that finishes it.

    A fused step covers several nodes, so a fault in it may be on the line of any of them.
    """
    items: dict[Operand, Item] = {}
    for item, buffer in where_seen(plan).items():
        items.setdefault(buffer, item)  # an array with several names is compared once
    for parameter in graph.trainable():
        items[GradientRef(parameter.name)] = Item("parameter", parameter.name)
    for name, buffer in plan.input_gradients.items():
        items[buffer] = Item("gradient", name)
    between = [
        i for i in in_order(graph) if i.kind in ("buffer", "output", "loss", "loss gradient")
    ]
    return [
        *_finished(graph, plan.forward, items),
        *checkpoints(graph, between, sides),
        *_finished(graph, plan.backward, items),
    ]


def _finished(
    graph: Graph, steps: Sequence[Step], items: dict[Operand, Item]
) -> Iterator[ComparedItem]:
    last = {written: i for i, step in enumerate(steps) for written in step.writes}
    for i, step in enumerate(steps):
        names = step.nodes if isinstance(step, ElementwiseStep) else (step.node,)
        nodes = tuple(graph.by_name[name] for name in names if name in graph.by_name)
        for written in step.writes:
            if written in items and last[written] == i:
                yield ComparedItem(items[written], nodes)
